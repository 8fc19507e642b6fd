// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package web

// The files, and how they are served.

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// policy lets the page run its own scripts and nothing else: text from a worker cannot become code, and no other site can
// frame the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed index.html assets
var files embed.FS

// asset is one file as it is sent.
type asset struct {
	plain, packed []byte // as it is, and by gzip
	kind          string // its media type
	tag           string // what its ETag begins with
}

// Handler serves the page at / and its files below /assets/. Everything else is a 404.
func Handler() http.Handler {
	assets := sync.OnceValue(load) // a fleet at which nobody looks packs nothing
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		name := r.URL.Path
		if name == "/" {
			name = "/index.html"
		}
		a, ok := assets()[name]
		if !ok || r.URL.Path == "/index.html" {
			http.NotFound(w, r)
			return
		}
		h.Set("Content-Type", a.kind)
		h.Add("Vary", "Accept-Encoding")
		// Asked again each time, and answered by 304: a page never runs with the scripts of another version.
		h.Set("Cache-Control", "no-cache")
		body, end := a.plain, `"`
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			body, end = a.packed, `-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("Etag", a.tag+end)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}

// load reads the embedded files, by the path of their address.
func load() map[string]asset {
	assets := make(map[string]asset)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		plain, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(plain) // into memory
		_ = z.Close()
		sum := sha256.Sum256(plain)
		assets["/"+name] = asset{plain: plain, packed: packed.Bytes(), kind: kind(name), tag: `"` + hex.EncodeToString(sum[:8])}
		return nil
	})
	if err != nil {
		panic(err) // what is embedded can be read
	}
	return assets
}

// kind is the media type of a file. Package mime would ask the machine's own tables.
func kind(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "text/plain; charset=utf-8"
}
