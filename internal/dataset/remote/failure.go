// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// This file says what went wrong and what to do, without what nobody else may read.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var urlForm = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]*`)

// show is an address without user, query and fragment.
func show(u *url.URL) string {
	shown := *u
	shown.User, shown.RawQuery, shown.ForceQuery, shown.Fragment, shown.RawFragment = nil, "", false, "", ""
	return shown.String()
}

// reason is the text of an error of net/http, whose own has the address with its query in it.
func (s *session) reason(err error) string {
	for urlErr := new(url.Error); errors.As(err, &urlErr); {
		err = urlErr.Err
	}
	text := err.Error()
	switch {
	case errors.As(err, new(refusedError)):
		return text // ours
	case strings.HasPrefix(text, "failed to parse Location header"):
		return "redirects to an address that cannot be read"
	case strings.Contains(text, "timeout awaiting response headers"):
		return fmt.Sprintf("no answer came within %s", s.answer)
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "the server does not speak TLS on this port: check the address"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		text += ": name the file of its authority in SSL_CERT_FILE"
	}
	text = urlForm.ReplaceAllStringFunc(text, func(found string) string {
		if u, err := url.Parse(found); err == nil {
			return show(u)
		}
		return "…"
	})
	return s.secrets.hide(text)
}

// permanent tells whether the next try would fail in the same way.
func permanent(err error) bool {
	certificate, dns := new(tls.CertificateVerificationError), new(net.DNSError)
	plain := tls.RecordHeaderError{}
	switch {
	case errors.As(err, new(refusedError)), errors.As(err, &certificate), errors.As(err, &plain):
		return true
	case errors.As(err, &dns) && dns.IsNotFound:
		return true
	}
	text := err.Error()
	return strings.Contains(text, "failed to parse Location header") ||
		strings.Contains(text, "server gave HTTP response to HTTPS client")
}

// failure is what is returned when no answer came.
func (s *session) failure(err error) error {
	return errors.New(s.reason(err) + s.times())
}

func (s *session) times() string {
	if s.tried > 1 {
		return fmt.Sprintf(" (tried %d times)", s.tried)
	}
	return ""
}

// status is a code with its standard name: the server's own words may repeat the request.
func status(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprintf("%d %s", code, text)
	}
	return fmt.Sprintf("status %d", code)
}

// refusal is what an answer means that is not the content.
func (s *session) refusal(resp *response) error {
	text := status(resp.StatusCode) + s.times()
	if s.strip != "" {
		text += " from " + s.strip + ", where a redirect leads"
	}
	return errors.New(text + ": " + s.advice(resp.StatusCode))
}

func (s *session) advice(code int) string {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		switch {
		case s.strip != "" && s.secrets.any():
			return "headers and tokens are not sent on to another host; give the address that the redirect leads to"
		case s.secrets.any():
			return "the given header, token or user was not accepted"
		case s.address.RawQuery != "":
			return "the signed address may have expired, or --data-opt NAME.token-file=PATH or NAME.header=… is missing"
		}
		return "give --data-opt NAME.token-file=PATH or NAME.header=…"
	case http.StatusNotFound, http.StatusGone:
		return "check the address"
	case http.StatusProxyAuthRequired:
		return "give user and password in HTTP_PROXY or HTTPS_PROXY"
	}
	switch {
	case passing(code):
		return "try again later"
	case code < http.StatusMultipleChoices:
		return "this is no answer that holds the data"
	}
	return "check the address and the headers"
}

// proxyAnswer turns a proxy's refusal of a tunnel into one that names the proxy.
func proxyAnswer(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	code := resp.StatusCode
	switch {
	case code == http.StatusOK, passing(code):
		return nil // net/http makes an error of the latter
	case code == http.StatusProxyAuthRequired:
		return refusedError(fmt.Sprintf("the proxy %s answered %s: give user and password in HTTPS_PROXY", proxy.Host,
			status(code)))
	}
	return refusedError(fmt.Sprintf("the proxy %s answered %s", proxy.Host, status(code)))
}
