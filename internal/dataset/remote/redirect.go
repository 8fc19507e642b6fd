// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// This file decides which redirects are followed, and with what.

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const maxRedirects = 10

// refusedError is a refusal of our own or of a proxy, which no further try changes.
type refusedError string

func (e refusedError) Error() string { return string(e) }

// redirect is asked before each redirect is followed. net/http has copied the header of the first request into req,
// whatever was dropped on the way.
func (s *session) redirect(req *http.Request, via []*http.Request) error {
	to := req.URL
	switch {
	case len(via) > maxRedirects:
		return refusedError(fmt.Sprintf("redirects more than %d times", maxRedirects))
	case to.Scheme != "http" && to.Scheme != "https":
		return refusedError("redirects to an address that is neither http nor https")
	case to.Scheme == "http" && via[len(via)-1].URL.Scheme == "https":
		return refusedError(fmt.Sprintf("redirects from https to http://%s, which anybody on the way could change", to.Host))
	}
	// net/http sends on the address with its query, which is where presigned addresses have their signature.
	req.Header.Del("Referer")
	home := origin(via[0].URL)
	for _, r := range append(via[1:len(via):len(via)], req) {
		if origin(r.URL) != home {
			// Also on the way back: the other host chose this request.
			s.secrets.drop(req.Header)
			s.strip = to.Host
		}
	}
	return nil
}

// origin is what must be equal for a request to go to the same server.
func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port == "" && u.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	return u.Scheme + " " + strings.ToLower(u.Hostname()) + " " + port
}
