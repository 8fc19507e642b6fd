// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// This file checks the SHA-256 that a server announces.

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// announced is the SHA-256 of the whole content by one of the headers that know it, or nil.
func announced(h http.Header) []byte {
	for _, name := range []string{"Repr-Digest", "Digest"} { // RFC 9530, and RFC 3230 before it
		for item := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
			algorithm, value, _ := strings.Cut(strings.TrimSpace(item), "=")
			if sum := decode(strings.Trim(value, ":")); strings.EqualFold(algorithm, "sha-256") && sum != nil {
				return sum
			}
		}
	}
	// Of an object that was uploaded in parts it is no digest of the content, and ends in "-" and their number.
	return decode(h.Get("X-Amz-Checksum-Sha256"))
}

func decode(text string) []byte {
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		return nil
	}
	return sum
}

const (
	blockSize = 256 << 10
	blocks    = 4
)

// digest hashes in a goroutine of its own: hashing takes as long as a fast network does.
type digest struct {
	want  []byte
	block []byte      // being filled
	free  chan []byte // to fill
	full  chan []byte // to hash; closed at the end
	done  chan []byte // the sum
	sum   func() []byte
}

func newDigest(want []byte) *digest {
	d := &digest{
		want: want, free: make(chan []byte, blocks), full: make(chan []byte, blocks), done: make(chan []byte, 1),
	}
	for range blocks - 1 {
		d.free <- make([]byte, 0, blockSize)
	}
	d.block = make([]byte, 0, blockSize)
	d.sum = sync.OnceValue(func() []byte {
		d.full <- d.block
		close(d.full)
		return <-d.done
	})
	go d.run()
	return d
}

func (d *digest) run() {
	h := sha256.New()
	for block := range d.full {
		h.Write(block)
		d.free <- block[:0]
	}
	d.done <- h.Sum(nil)
}

// write copies p, which belongs to the reader.
func (d *digest) write(p []byte) {
	for len(p) > 0 {
		n := min(len(p), blockSize-len(d.block))
		d.block = append(d.block, p[:n]...)
		p = p[n:]
		if len(d.block) == blockSize {
			d.full <- d.block
			d.block = <-d.free
		}
	}
}

func (d *digest) check() error {
	if got := d.sum(); !bytes.Equal(got, d.want) {
		return fmt.Errorf("has the SHA-256 %x, but the server announced %x", got, d.want)
	}
	return nil
}
