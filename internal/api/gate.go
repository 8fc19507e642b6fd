// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Basic authentication. A bcrypt costs 60 ms of a core by design, so it is made once for each user and password that
// is right, and one at a time for all that are not: a flood of guesses costs one core and is in nobody's way who has
// been let in before.

import (
	"context"
	"crypto/rand"
	"net/http"

	"golang.org/x/crypto/bcrypt"
)

// maxChecks are the requests whose passwords are checked, or wait for it.
const maxChecks = 8

type gate struct {
	users   *watched[*users]
	key     []byte // of this process alone
	turn    chan struct{}
	places  chan struct{}
	compare func(hash, password []byte) error
}

func newGate(table *watched[*users]) *gate {
	g := &gate{
		users: table, key: make([]byte, 32), turn: make(chan struct{}, 1), places: make(chan struct{}, maxChecks),
		compare: bcrypt.CompareHashAndPassword,
	}
	rand.Read(g.key) // it never fails (Go 1.24)
	return g
}

// refuse answers a request that may not pass, and tells whether it was one.
func (g *gate) refuse(w http.ResponseWriter, r *http.Request) bool {
	name, password, given := r.BasicAuth()
	if !given {
		w.Header().Set("WWW-Authenticate", `Basic realm="preforkd", charset="UTF-8"`)
		http.Error(w, "a user and a password are needed", http.StatusUnauthorized)
		return true
	}
	right, checked := g.check(r.Context(), name, password)
	switch {
	case !checked:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many passwords are being checked; try again", http.StatusTooManyRequests)
	case !right:
		w.Header().Set("WWW-Authenticate", `Basic realm="preforkd", charset="UTF-8"`)
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
	}
	return !right
}

// check tells whether the password is right; not checked where too many wait for that, or ctx has ended.
func (g *gate) check(ctx context.Context, name, password string) (right, checked bool) {
	table := g.users.get()
	hash, known := table.find(g.key, name)
	d := keyed(g.key, hash+password) // hashes are equally long
	if table.wasRight(name, d) && known {
		return true, true
	}
	select {
	case g.places <- struct{}{}:
		defer func() { <-g.places }()
	default:
		return false, false
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return false, false
	}
	if table.wasRight(name, d) && known { // somebody else's turn has shown it
		return true, true
	}
	if g.compare([]byte(hash), []byte(password)) != nil || !known {
		return false, true
	}
	table.remember(name, d)
	return true, true
}
