// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// This file keeps what only the address's own host may see.

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const maxToken = 64 << 10

// ours tells of the headers that this package sets itself, or that would change what an answer is.
func ours(name string) bool {
	switch name {
	case "Accept-Encoding", "Connection", "Content-Length", "Host", "If-Match", "If-Modified-Since", "If-None-Match",
		"If-Range", "If-Unmodified-Since", "Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// secrets are what a request carries for the address's own host, and the texts that no message may hold.
type secrets struct {
	header    http.Header
	tokenFile string
	texts     []string
}

// newSecrets takes the user of the address for the same as a header.
func newSecrets(u *url.URL, o Options) (secrets, error) {
	s := secrets{header: http.Header{}, tokenFile: o.TokenFile}
	for _, line := range o.Headers {
		name, value, err := parseHeader(line)
		if err != nil {
			return secrets{}, err
		}
		s.header.Add(name, value)
		s.texts = append(s.texts, value)
	}
	authorized := len(s.header.Values("Authorization"))
	if u.User != nil {
		authorized++
		password, _ := u.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		s.header.Set("Authorization", "Basic "+basic)
		s.texts = append(s.texts, basic, password)
	}
	if o.TokenFile != "" {
		authorized++
	}
	if authorized > 1 {
		return secrets{}, errors.New("has more than one authorization: give either a token-file, or a header, or a user in " +
			"the address")
	}
	s.texts = append(s.texts, u.RawQuery)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		s.texts = append(s.texts, proxySecrets(os.Getenv(name))...)
	}
	return s, nil
}

// proxySecrets are those of a proxy's address: its user as it stands there and as it is sent, which the proxy may repeat.
func proxySecrets(address string) []string {
	if !strings.Contains(address, "://") {
		address = "http://" + address // as net/http reads it
	}
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return nil // net/http uses no proxy then
	}
	password, _ := u.User.Password()
	basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
	_, written, _ := strings.Cut(u.User.String(), ":")
	return []string{basic, u.User.String(), written, password}
}

// CheckHeader refuses what is not "Name: value", and names that are not for the user to set. The error does not repeat
// the value.
func CheckHeader(line string) error {
	_, _, err := parseHeader(line)
	return err
}

func parseHeader(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.ContainsFunc(name, notToken) {
		return "", "", errors.New(`has a header that is not written as "Name: value"`)
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	value = strings.TrimSpace(value)
	switch {
	case strings.ContainsFunc(value, control):
		return "", "", fmt.Errorf("has a control character in the value of the header %s", name)
	case ours(name):
		return "", "", fmt.Errorf("cannot be given the header %s: preforkd sets it itself", name)
	}
	return name, value, nil
}

// notToken tells what cannot stand in a header's name (RFC 9110, 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// add puts all of it into the header of a request.
func (s *secrets) add(h http.Header) error {
	for name, values := range s.header {
		h[name] = slices.Clone(values)
	}
	if s.tokenFile == "" {
		return nil
	}
	token, err := readToken(s.tokenFile)
	if err != nil {
		return fmt.Errorf("cannot be asked: token file %s: %v", s.tokenFile, err)
	}
	if !slices.Contains(s.texts, token) {
		s.texts = append(s.texts, token)
	}
	h.Set("Authorization", "Bearer "+token)
	return nil
}

// drop takes all of it out again.
func (s *secrets) drop(h http.Header) {
	for name := range s.header {
		h.Del(name)
	}
	h.Del("Authorization")
}

// any tells whether there is something to authorize with.
func (s *secrets) any() bool { return len(s.header) > 0 || s.tokenFile != "" }

// hide takes the secrets out of a text. Words as short as a syllable would hide too much.
func (s *secrets) hide(text string) string {
	for _, secret := range s.texts {
		if len(secret) >= 4 {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

func readToken(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO would be waited for
	if err == nil {
		defer f.Close() //nolint:errcheck // only read from
		var content []byte
		if content, err = readRegular(f); err == nil {
			return checkToken(content)
		}
	}
	if pathErr := new(fs.PathError); errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return "", err
}

func readRegular(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("is a directory")
	case !info.Mode().IsRegular():
		return nil, errors.New("is no regular file: a token is read anew for every request")
	}
	return io.ReadAll(io.LimitReader(f, maxToken+1))
}

func checkToken(content []byte) (string, error) {
	token := strings.TrimSpace(string(content))
	switch {
	case len(content) > maxToken:
		return "", errors.New("is larger than 64 KiB: it must hold the token and nothing else")
	case token == "":
		return "", errors.New("is empty")
	case strings.ContainsAny(token, "\r\n"):
		return "", errors.New("has more than one line: it must hold the token and nothing else")
	case strings.ContainsFunc(token, control):
		return "", errors.New("has a control character: it must hold the token and nothing else")
	}
	return token, nil
}
