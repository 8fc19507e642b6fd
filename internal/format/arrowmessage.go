// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file reads the metadata of Arrow messages: https://github.com/apache/arrow/blob/main/format/Message.fbs

import (
	"errors"
	"math"
)

// The kinds of messages, by their number in the union MessageHeader.
const (
	schemaMessage     = 1
	dictionaryMessage = 2
	batchMessage      = 3
)

var errBadMessage = errors.New("its metadata is damaged")

// message is one message without its body.
type message struct {
	kind   int
	header table
	body   int64  // bytes
	codec  string // of a batch with a compressed body
}

// end is where a message at off ends whose metadata has length bytes, as far as numbers go.
func (m message) end(off, length int64) int64 {
	if m.body > math.MaxInt64-off-8-length {
		return math.MaxInt64
	}
	return off + 8 + length + m.body
}

// beginsSchema tells whether metadata that may be cut off is that of a Schema message of a known version.
func beginsSchema(b []byte) bool {
	f := &flat{b: b}
	t := f.root()
	version, kind := t.enum(0), t.u8(1)
	return !f.bad && (version == 3 || version == 4) && kind == schemaMessage && t.field(2) != 0 // V4, V5
}

// readMessage reads metadata and checks that the buffers of a batch lie in its body.
func readMessage(b []byte) (message, error) {
	f := &flat{b: b}
	t := f.root()
	m := message{kind: int(t.u8(1)), header: t.sub(2), body: t.i64(3)}
	batch := m.header
	if m.kind == dictionaryMessage {
		batch = m.header.sub(1)
	}
	if f.bad || batch.pos == 0 || m.body < 0 {
		return m, errBadMessage
	}
	if m.kind != dictionaryMessage && m.kind != batchMessage {
		return m, nil
	}
	const size = 16 // offset int64, length int64
	pos, count := batch.vector(2, size)
	for i := range count {
		offset, length := f.i64(pos+i*size), f.i64(pos+i*size+8)
		if offset < 0 || length < 0 || offset > m.body || length > m.body-offset {
			return m, errors.New("one of its buffers lies outside its body")
		}
	}
	if compression := batch.sub(3); compression.pos != 0 {
		m.codec = pick(int(compression.u8(0)), "lz4", "zstd")
	}
	if f.bad {
		return m, errBadMessage
	}
	return m, nil
}
