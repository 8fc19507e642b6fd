// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package remote reads the content of a dataset from an http or https address.
//
// It promises: the bytes that Read gives are those of one version of the content, whole and in order, or there is an
// error. A body that breaks off is resumed where it ended, if the server can prove that the content is the same (a
// strong ETag, or a Last-Modified older than the answer); otherwise the load fails. What the server announces (length,
// SHA-256) is checked. Failures that pass (no connection, 408, 429, 5xx) are tried again with growing pauses; a
// cancelled context ends everything at once. Proxies come from the usual variables, certificates from the system's or
// from SSL_CERT_FILE.
//
// It never shows a secret: user, password and query of the address, the given headers and the token appear in no error
// and no line of the log, and go to no other host, port or scheme than that of the address. It never falls back from
// https to http, never decodes (the bytes are those that the server stores), never writes to disk, and has no limit on
// the time of a whole load, only on silence.
//
// Errors say what follows the name of the source: "404 Not Found: …".
package remote
