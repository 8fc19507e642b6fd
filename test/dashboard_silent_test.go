// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: a page behind a proxy that falls silent, its connections open and nothing on them, says so and finds back.

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes connections on to a server.
type proxy struct {
	net.Listener
	to string

	mu    sync.Mutex
	dumb  *atomic.Bool // of the connections that are made now
	conns []net.Conn
}

// before starts a proxy in front of an address.
func before(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to, dumb: new(atomic.Bool)}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			dumb := p.dumb
			server, err := net.Dial("tcp", p.to)
			if err != nil {
				client.Close()
				p.mu.Unlock()
				continue
			}
			p.conns = append(p.conns, client, server)
			p.mu.Unlock()
			passing.Go(func() { pass(server, client, dumb) })
			passing.Go(func() { pass(client, server, dumb) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		passing.Wait()
	})
	return p
}

// pass copies until one side has ended, or nothing any more once it is dumb.
func pass(to, from net.Conn, dumb *atomic.Bool) {
	_, _ = io.Copy(gagged{to, dumb}, from)
	if !dumb.Load() {
		to.Close()
	}
}

// gagged swallows what is written once it is dumb.
type gagged struct {
	conn net.Conn
	dumb *atomic.Bool
}

func (g gagged) Write(p []byte) (int, error) {
	if g.dumb.Load() {
		return len(p), nil
	}
	return g.conn.Write(p)
}

// fallSilent keeps all connections, those to come as well, and passes nothing on.
func (p *proxy) fallSilent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dumb.Store(true)
}

// recover passes new connections on again. Those from before stay as they are.
func (p *proxy) recover() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dumb = new(atomic.Bool)
}

func TestDashboardFindsBackWhenAProxyFallsSilent(t *testing.T) {
	f, at := watched(t, spec{})
	f.untilExact(3)
	p := before(t, at)
	b := open(t, p.Addr().String())
	b.allowed = []string{"ERR_"} // the ends of connections
	f.onPage(b)
	b.until("the page is live", `document.getElementById("link").dataset.live === "1"`)
	read[bool](b, `window.same = true`)

	p.fallSilent()
	b.says("#banner", "Connection lost, trying again in", "figures are", "old")
	b.says("#link", "not live")

	p.recover()
	b.until("the page is live again", `document.getElementById("banner").hidden`)
	if _, err := f.post("/restart", `{"ids": [1]}`); err != nil {
		t.Fatal(err)
	}
	f.untilExact(3)
	f.onPage(b)
	if !read[bool](b, `window.same === true`) {
		t.Error("the page was loaded again")
	}
	f.stop()
}
