// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file checks Arrow IPC, files and streams: https://arrow.apache.org/docs/format/Columnar.html
//
//	stream   message*, each: FF FF FF FF  length of its metadata (4 bytes)  metadata (FlatBuffers)  body
//	         the first is a Schema; a length of 0 ends the stream, as does the end of the content
//	file     "ARROW1\0\0"  stream  footer (FlatBuffers)  length of the footer (4 bytes)  "ARROW1"
//	         the footer repeats the schema and lists where each message lies

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

const (
	arrowMagic        = "ARROW1\x00\x00"
	arrowEnd          = "ARROW1"
	arrowContinuation = "\xff\xff\xff\xff"
	// maxArrowMetadata bounds what is read at once, the metadata of one message or the footer. It is no larger than the
	// content either.
	maxArrowMetadata = 256 << 20
)

// arrowFile describes content that begins with arrowMagic.
func (c content) arrowFile() (Meta, error) {
	meta := Meta{Format: Arrow}
	if c.part {
		return meta, nil
	}
	tail, err := c.read(c.size-10, 10)
	if err != nil {
		return meta, err
	}
	if string(tail[4:]) != arrowEnd {
		return meta, fmt.Errorf("%w arrow: it does not end with %s", ErrTruncated, arrowEnd)
	}
	length := int64(binary.LittleEndian.Uint32(tail))
	if length > maxArrowMetadata || length > c.size-int64(len(arrowMagic))-10 {
		return meta, fmt.Errorf("damaged arrow: a footer of %d bytes does not fit it", length)
	}
	end := c.size - 10 - length
	b, err := c.read(end, length)
	if err != nil {
		return meta, err
	}
	f := &flat{b: b}
	footer := f.root()
	if meta.Schema, err = readSchema(footer.sub(1)); err != nil {
		return meta, fmt.Errorf("damaged arrow: %w", err)
	}
	blocks, err := readBlocks(footer, end)
	if err != nil {
		return meta, fmt.Errorf("damaged arrow: %w", err)
	}
	for _, b := range blocks {
		m, err := c.block(b)
		if err != nil {
			return meta, fmt.Errorf("damaged arrow: the block at byte %d: %w", b.offset, err)
		}
		if m.codec != "" {
			meta.Hint = compressedHint(m.codec)
		}
	}
	return meta, nil
}

// block is a message as the footer lists it.
type block struct {
	offset, metadata, body int64
	kind                   int // batchMessage or dictionaryMessage
}

// readBlocks returns the footer's blocks in the order of the file, all of them between the magic and the footer.
func readBlocks(footer table, end int64) ([]block, error) {
	const size = 24 // offset int64, metaDataLength int32, 4 bytes of padding, bodyLength int64
	var blocks []block
	for id, kind := range map[int]int{2: dictionaryMessage, 3: batchMessage} {
		pos, count := footer.vector(id, size)
		for i := range count {
			at := pos + i*size
			b := block{footer.f.i64(at), int64(int32(footer.f.u32(at + 8))), footer.f.i64(at + 16), kind}
			if b.offset < int64(len(arrowMagic)) || b.metadata < 8 || b.body < 0 ||
				b.offset > end || b.metadata > end-b.offset || b.body > end-b.offset-b.metadata {
				return nil, fmt.Errorf("a block (%d and %d bytes at %d) lies outside it", b.metadata, b.body, b.offset)
			}
			blocks = append(blocks, b)
		}
	}
	if footer.f.bad {
		return nil, errors.New("its footer is damaged")
	}
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(a.offset, b.offset) })
	for i, b := range blocks {
		if i > 0 && b.offset < blocks[i-1].offset+blocks[i-1].metadata+blocks[i-1].body {
			return nil, fmt.Errorf("the block at byte %d overlaps the one before it", b.offset)
		}
	}
	return blocks, nil
}

// block reads the message of a block, which must be what the footer says.
func (c content) block(at block) (message, error) {
	if at.metadata > maxArrowMetadata {
		return message{}, fmt.Errorf("metadata of %d bytes is too long", at.metadata)
	}
	b, err := c.read(at.offset, at.metadata)
	if err != nil {
		return message{}, err
	}
	prefix := int64(4) // before Arrow 0.15 there was only the length
	if string(b[:4]) == arrowContinuation {
		prefix = 8
	}
	length := int64(int32(binary.LittleEndian.Uint32(b[prefix-4:])))
	if length < 0 || length > at.metadata-prefix {
		return message{}, fmt.Errorf("its metadata of %d bytes does not fit it", length)
	}
	m, err := readMessage(b[prefix : prefix+length])
	switch {
	case err != nil:
		return m, err
	case m.kind != at.kind:
		return m, errors.New("it is not the kind of batch that the footer says")
	case m.body > at.body:
		return m, fmt.Errorf("its body of %d bytes does not fit it", m.body)
	}
	return m, nil
}

// arrowStream describes content that begins with arrowContinuation, or finds that it is something else: so do numbers
// like -1.
func (c content) arrowStream(head []byte) (Meta, error) {
	raw, meta := Meta{Format: Raw}, Meta{Format: ArrowStream}
	length, err := c.metadataLength(0)
	if err != nil || length < 8 || length > maxArrowMetadata || !beginsSchema(head[8:min(int64(len(head)), 8+length)]) {
		return raw, nil //nolint:nilerr // too short to be one
	}
	first, err := c.message(0)
	if err != nil {
		return meta, err
	}
	if meta.Schema, err = readSchema(first.header); err != nil {
		return meta, fmt.Errorf("damaged arrow-stream: %w", err)
	}
	for off := first.end(0, length); !c.part && off != c.size; {
		length, err := c.metadataLength(off)
		if err == nil && length == 0 {
			break // the end that a writer sets; readers look no further
		}
		var m message
		if err == nil {
			m, err = c.message(off)
		}
		next := m.end(off, length)
		switch {
		case errors.Is(err, errShort), err == nil && next > c.size:
			return meta, fmt.Errorf("%w arrow-stream: it ends within the message at byte %d", ErrTruncated, off)
		case err == nil && m.kind != batchMessage && m.kind != dictionaryMessage:
			err = errors.New("it is no batch")
		}
		if err != nil {
			return meta, fmt.Errorf("damaged arrow-stream: the message at byte %d: %w", off, err)
		}
		if m.codec != "" {
			meta.Hint = compressedHint(m.codec)
		}
		off = next
	}
	return meta, nil
}

// metadataLength reads the 8 bytes before a message's metadata.
func (c content) metadataLength(off int64) (int64, error) {
	b, err := c.read(off, 8)
	if err != nil {
		return 0, err
	}
	length := int64(int32(binary.LittleEndian.Uint32(b[4:])))
	if string(b[:4]) != arrowContinuation || length < 0 || length > maxArrowMetadata {
		return 0, errors.New("no message begins there")
	}
	return length, nil
}

// message reads the metadata of the message at off.
func (c content) message(off int64) (message, error) {
	length, err := c.metadataLength(off)
	if err != nil {
		return message{}, err
	}
	b, err := c.read(off+8, length)
	if err != nil {
		return message{}, err
	}
	return readMessage(b)
}

func compressedHint(codec string) string {
	return fmt.Sprintf("its record batches are compressed (%s): every worker will decompress its own private copy; write "+
		`it with compression=None / "uncompressed"`, codec)
}
