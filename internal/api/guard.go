// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Who may ask: the peer's uid on the control socket; the Host header on loopback listeners; no other site's page;
// who has a password, where there are any.

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// guard wraps what every answer has in common around the mux: the checks, and headers that keep browsers and caches
// from making more of an answer than it is.
func guard(next http.Handler, l *Listener) http.Handler {
	loopback := isLoopback(l.Addr())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Frame-Options", "DENY")
		switch {
		case l.control && !mayControl(r.Context()):
			http.Error(w, "this socket answers its owner and root only", http.StatusForbidden)
		case loopback && !hostAllowed(r.Host, l.host):
			http.Error(w, "unknown Host; use localhost, 127.0.0.1 or the address given to --stats", http.StatusForbidden)
		case r.Header.Get("Sec-Fetch-Site") == "cross-site" && !isPage(r.URL.Path):
			http.Error(w, "another site's page asks for this; open the address itself", http.StatusForbidden)
		case l.secrets.gate != nil && !isProbe(r.URL.Path) && l.secrets.gate.refuse(w, r):
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isPage tells whether a path holds nothing but the dashboard's own files, the same for everybody. A link from
// elsewhere may lead to it.
func isPage(path string) bool { return path == "/" || strings.HasPrefix(path, assets) }

// isProbe tells whether a path answers yes or no to whoever asks: a kubelet and most load balancers have no password.
func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" }

func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// hostAllowed tells whether a Host header names this machine's loopback or the host that was bound. A page whose own
// name was made to resolve to 127.0.0.1 sends that name. A missing header (HTTP/1.0) is no browser's.
func hostAllowed(header, bound string) bool {
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "" || strings.EqualFold(host, "localhost") || strings.EqualFold(host, bound) {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// peerKey is the context key of the uid at the other end of a control connection.
type peerKey struct{}

// withPeer remembers who connected. SO_PEERCRED tells the uid at the time of connect(2) and cannot be forged.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	uid, ok := peerUID(conn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

func peerUID(conn net.Conn) (uint32, bool) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, false
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || failed != nil {
		return 0, false
	}
	return cred.Uid, true
}

// mayControl tells whether the peer is us or root; an unknown peer is refused.
func mayControl(ctx context.Context) bool {
	uid, ok := ctx.Value(peerKey{}).(uint32)
	return ok && (uid == 0 || int(uid) == os.Geteuid())
}
