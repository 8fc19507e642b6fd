// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file recognises what workers will not share although it is handed over: what they parse becomes private objects
// in each of them. A wrong hint is worse than none, so it speaks only when it is sure.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	convertTable = "convert it once, for example to uncompressed Arrow, with cmd:"
	parquetHint  = "it is Parquet: every worker will decode its own private copy; " + convertTable
	csvHint      = "it is CSV: every worker will parse its own private copy; " + convertTable
	jsonHint     = "it is JSON: every worker will parse its own private objects; convert what is large in it once, for " +
		"example to npy or uncompressed Arrow, with cmd:"
	pickleHint = "it is a pickle: every worker will build its own private objects; save its arrays with numpy.save, or " +
		`its tables as uncompressed Arrow, once with cmd: (joblib: load it with mmap_mode="r")`
)

// hint is about raw content that begins with head.
func (c content) hint(head []byte) (string, error) {
	switch {
	case c.size < 8:
		return "", nil
	case bytes.HasPrefix(head, []byte("PAR1")):
		return c.endsWith("PAR1", parquetHint)
	case looksLikePickle(head):
		return c.endsWith(".", pickleHint)
	}
	text := bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")) // Excel begins UTF-8 with a byte order mark
	if !isText(text, int64(len(head)) < c.size || c.part) {
		return "", nil
	}
	cut := c.part || int64(len(head)) < c.size
	switch {
	case looksLikeJSON(text, cut):
		return jsonHint, nil
	case looksLikeCSV(text, cut):
		return csvHint, nil
	}
	return "", nil
}

// endsWith is hint if the content ends with tail, which a part of it does not tell.
func (c content) endsWith(tail, hint string) (string, error) {
	if c.part {
		return "", nil
	}
	b, err := c.read(c.size-int64(len(tail)), int64(len(tail)))
	if err != nil || string(b) != tail {
		return "", err
	}
	return hint, nil
}

// looksLikePickle wants the opcode of a protocol and then one that pickles of it begin with.
func looksLikePickle(head []byte) bool {
	if head[0] != 0x80 {
		return false
	}
	switch head[1] {
	case 2, 3:
		return strings.IndexByte("]}()cXBCUGJKMNq\x85\x86\x87\x88\x89", head[2]) >= 0
	case 4, 5:
		return head[2] == 0x95 // FRAME, which every pickle of 4 bytes and more has
	}
	return false
}

// isText wants UTF-8, of which the last character may be cut off, without control characters.
func isText(text []byte, cut bool) bool {
	for i := 0; cut && i < utf8.UTFMax-1 && len(text) > 0 && !utf8.Valid(text[max(0, len(text)-utf8.UTFMax):]); i++ {
		text = text[:len(text)-1]
	}
	odd := func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }
	return len(text) > 0 && utf8.Valid(text) && !bytes.ContainsFunc(text, odd)
}

// looksLikeJSON wants one or more objects or arrays and nothing else, as far as text goes.
func looksLikeJSON(text []byte, cut bool) bool {
	start := bytes.TrimLeft(text, " \t\r\n")
	if len(start) == 0 || start[0] != '{' && start[0] != '[' {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(start))
	for values := 0; ; values++ {
		var value json.RawMessage
		err := dec.Decode(&value)
		switch {
		case errors.Is(err, io.EOF):
			return values > 0
		case errors.Is(err, io.ErrUnexpectedEOF):
			return cut
		case err != nil || value[0] != '{' && value[0] != '[':
			return false
		}
	}
}

// looksLikeCSV wants three lines that hold the same number of commas, semicolons, tabs or bars outside quotes, and as
// many in all that follow.
func looksLikeCSV(text []byte, cut bool) bool {
	for _, delimiter := range []byte(",\t;|") {
		if lines, same := columns(text, delimiter, cut); same && lines >= 3 {
			return true
		}
	}
	return false
}

// columns counts the lines that are whole and tells whether all have the same number of delimiters, at least one.
func columns(text []byte, delimiter byte, cut bool) (lines int, same bool) {
	want, count, quoted, empty := -1, 0, false, true
	for i := 0; i <= len(text); i++ {
		var c byte
		switch {
		case i < len(text):
			c = text[i]
		case cut || empty || quoted:
			return lines, want > 0
		default:
			c = '\n' // the last line may lack it
		}
		switch {
		case c == '"':
			quoted, empty = !quoted, false // a doubled quote switches twice
		case c == '\n' && !quoted && !empty:
			if want >= 0 && count != want {
				return lines, false
			}
			want, count, empty = count, 0, true
			lines++
		case c == delimiter && !quoted:
			count, empty = count+1, false
		case c != '\r' && c != '\n':
			empty = false
		}
	}
	return lines, want > 0
}
