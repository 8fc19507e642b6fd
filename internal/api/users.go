// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The htpasswd file: who may read the stats.

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// maxCost bounds a check to about two seconds; htpasswd makes 5 unless it is told otherwise, others 10 or 12.
const maxCost = 15

// digest is a keyed hash: it tells a password that was right before and is of no use to anybody else.
type digest [sha256.Size]byte

// users are those of one content of the file.
type users struct {
	hashes map[string]string
	names  []string // in the order of the file, never empty

	mu    sync.Mutex
	right map[string]digest // by name: the last password that was right
}

func readUsers(path string) (*users, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot use the password file %s: %v", path, err)
	}
	return parseUsers(path, string(text))
}

// parseUsers reads NAME:HASH lines; empty ones and those that begin with # do not count. No error shows more of a
// line than the name: what is in a wrong place may be a password.
func parseUsers(path, text string) (*users, error) {
	shape := regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)
	begun := regexp.MustCompile(`^\$2[aby]\$`)
	u := &users{hashes: map[string]string{}, right: map[string]digest{}}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("cannot use the password file %s, line %d: %s", path, i+1, fmt.Sprintf(format, args...))
		}
		name, hash, colon := strings.Cut(line, ":")
		switch {
		case !colon || name == "":
			return nil, wrong("the line is not NAME:HASH")
		case u.hashes[name] != "":
			return nil, wrong("the user %q is there twice", name)
		case !shape.MatchString(hash) && begun.MatchString(hash):
			return nil, wrong("the hash of %q is damaged: one of bcrypt is $2y$, two digits, $ and 53 letters, digits, dots and "+
				"slashes; make it anew with htpasswd -B -C 10", name)
		case !shape.MatchString(hash):
			return nil, wrong("the hash of %q is not one of bcrypt; make it with htpasswd -B -C 10", name)
		}
		if cost, err := bcrypt.Cost([]byte(hash)); err != nil || cost > maxCost {
			return nil, wrong("the hash of %q has a cost that is not between %d and %d", name, bcrypt.MinCost, maxCost)
		}
		u.hashes[name] = hash
		u.names = append(u.names, name)
	}
	if len(u.names) == 0 {
		return nil, fmt.Errorf("cannot use the password file %s: there is no user in it", path)
	}
	return u, nil
}

// find returns the hash that a password is checked against. An unknown name gets somebody's, always the same one's,
// so that to refuse it costs what it costs to refuse a known one.
func (u *users) find(key []byte, name string) (hash string, known bool) {
	if hash, known = u.hashes[name]; known {
		return hash, true
	}
	sum := keyed(key, name)
	return u.hashes[u.names[binary.BigEndian.Uint64(sum[:])%uint64(len(u.names))]], false
}

// wasRight tells whether this password was right for this user before.
func (u *users) wasRight(name string, d digest) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, ok := u.right[name]
	return hmac.Equal(last[:], d[:]) && ok
}

func (u *users) remember(name string, d digest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.right[name] = d
}

func keyed(key []byte, text string) (d digest) {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	mac.Sum(d[:0])
	return d
}
