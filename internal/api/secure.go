// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// What guards a stats address that others can reach: TLS and passwords. docs/security.md says what each is good for.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
)

// Security names the files that guard a stats address; empty: none. All are read again when they change.
type Security struct {
	Cert, Key string // PEM: the certificate with those that it needs behind it, and its private key; both or neither
	Auth      string // an htpasswd file whose hashes are bcrypt's
}

// Check tells what is wrong with the files. It names the file, and the line where there is one.
func (s Security) Check() error {
	_, err := s.open()
	return err
}

// secrets are the files' contents; what is not asked for is nil.
type secrets struct {
	cert *watched[*tls.Certificate]
	gate *gate
}

func (s Security) open() (secrets, error) {
	var out secrets
	var certErr, authErr error
	switch {
	case (s.Cert == "") != (s.Key == ""):
		certErr = errors.New("cannot serve stats by TLS: a certificate and its key are needed, and only one of them is given")
	case s.Cert != "":
		read := func() (*tls.Certificate, error) { return readPair(s.Cert, s.Key) }
		out.cert, certErr = watch("certificate", read, s.Cert, s.Key)
	}
	if s.Auth != "" {
		var table *watched[*users]
		table, authErr = watch("users", func() (*users, error) { return readUsers(s.Auth) }, s.Auth)
		out.gate = newGate(table)
	}
	return out, errors.Join(certErr, authErr)
}

// readPair reads a certificate and its key, which are replaced one after the other: until both are, they do not match.
func readPair(cert, key string) (*tls.Certificate, error) {
	certText, err := readFile(cert)
	if err != nil {
		return nil, fmt.Errorf("cannot use the certificate %s: %v", cert, err)
	}
	keyText, err := readFile(key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key %s: %v", key, err)
	}
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, fmt.Errorf("cannot use the certificate %s with the key %s: %v", cert, key, err)
	}
	return &pair, nil
}

// ListenSecure is Listen with TLS and passwords. The files are read before anything is bound.
func ListenSecure(address string, s Security) (*Listener, error) {
	secrets, err := s.open()
	if err != nil {
		return nil, err
	}
	l, err := Listen(address)
	if l != nil {
		l.secrets = secrets
	}
	return l, err
}

// connections returns the listener that is served: with TLS, where there is a certificate.
func (l *Listener) connections(log *slog.Logger) net.Listener {
	if l.secrets.gate != nil {
		l.secrets.gate.users.log = log
	}
	cert := l.secrets.cert
	if cert == nil {
		return l.Listener
	}
	cert.log = log
	return tls.NewListener(l.Listener, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.get(), nil },
	})
}

// Warning is a sentence about what a stats address that others can reach lets them do; empty where there is nothing
// to warn of, and for a nil listener.
func (l *Listener) Warning() string {
	if l == nil || l.Addr().Network() != "tcp" || isLoopback(l.Addr()) {
		return ""
	}
	where := "the stats address " + l.Address() + " is not a loopback one: "
	encrypted, guarded := l.secrets.cert != nil, l.secrets.gate != nil
	switch {
	case encrypted && guarded:
		return ""
	case guarded:
		return where + "passwords and stats cross the network unencrypted; give --stats-cert and --stats-key"
	case encrypted:
		return where + "everybody who can reach it can read the stats; give --stats-auth"
	}
	return where + "everybody who can reach it can read the stats, and they cross the network unencrypted; " +
		"give --stats-cert, --stats-key and --stats-auth, or listen on 127.0.0.1 or unix:PATH"
}
