// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file reads safetensors: https://github.com/huggingface/safetensors
//
//	length of the header (8 bytes little endian)  header: a JSON object, padded with spaces  data
//	{"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [BEGIN, END]}, …, "__metadata__": {"KEY": "TEXT", …}}
//
// The offsets count from the first byte of the data, which the tensors cover without a hole or an overlap.

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	humanize "github.com/dustin/go-humanize"
)

const (
	// maxSafetensorsHeader is the library's own limit.
	maxSafetensorsHeader = 100_000_000
	metadataKey          = "__metadata__"
	offsetsKey           = "data_offsets"
)

// looksLikeSafetensors is all that can be said of a format without magic: a small number, then a JSON object.
func looksLikeSafetensors(head []byte) bool {
	if len(head) < 10 || head[8] != '{' {
		return false
	}
	if n := binary.LittleEndian.Uint64(head); n < 2 || n > maxSafetensorsHeader {
		return false
	}
	next := bytes.TrimLeft(head[9:], " \t\r\n")
	return len(next) > 0 && (next[0] == '"' || next[0] == '}')
}

// safetensors describes content that looks like it, or finds that it is something else.
func (c content) safetensors(head []byte) (Meta, error) {
	raw, meta := Meta{Format: Raw}, Meta{Format: Safetensors}
	length := int64(binary.LittleEndian.Uint64(head))
	text, err := c.read(8, length)
	named := bytes.Contains(head, []byte(offsetsKey)) || bytes.Contains(head, []byte(metadataKey))
	if errors.Is(err, errShort) && !named {
		return raw, nil
	}
	if err != nil {
		return meta, err
	}
	if !json.Valid(text) {
		return raw, nil
	}
	tensors, sure, err := parseTensors(text)
	if err == nil && sure {
		var end int64
		if end, err = place(tensors); err == nil {
			meta.Need, err = c.covered(8+length, end)
		}
	}
	switch {
	case !sure && (c.part || len(tensors) > 0 || err != nil || c.size != 8+length):
		return raw, nil
	case err != nil:
		return meta, err
	}
	meta.Need = max(meta.Need, 8+length)
	for _, t := range tensors {
		meta.Members = append(meta.Members, Member{
			Name: t.name, DType: t.dtype, Shape: t.shape, Order: "C", Offset: 8 + length + t.begin, Size: t.end - t.begin,
		})
	}
	return meta, nil
}

// covered returns the size that content must have whose tensors end so many bytes behind the header, if it has it.
func (c content) covered(header, end int64) (int64, error) {
	if end > math.MaxInt64-header {
		return 0, errors.New("damaged safetensors: its tensors are larger than any memory")
	}
	need := header + end
	switch {
	case c.part:
	case c.size < need:
		return 0, fmt.Errorf("%w safetensors: its header says %s bytes in all, but it has %s", ErrTruncated,
			humanize.Comma(need), humanize.Comma(c.size))
	case c.size > need:
		return 0, fmt.Errorf("damaged safetensors: its header says %s bytes in all, but it has %s",
			humanize.Comma(need), humanize.Comma(c.size))
	}
	return need, nil
}

// tensor is one entry of the header.
type tensor struct {
	name, dtype string
	shape       []int64
	begin, end  int64
	offsets     bool // it has the key
}

// parseTensors reads the entries of a header, a valid JSON object. The header is one of tensors for sure if an entry
// has offsets; otherwise an error only says that it is not.
func parseTensors(text []byte) (tensors []tensor, sure bool, err error) {
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	if !utf8.Valid(text) {
		keep(errors.New("damaged safetensors: its header is not UTF-8"))
	}
	seen := make(map[string]bool)
	keep(eachKey(json.NewDecoder(bytes.NewReader(text)), func(dec *json.Decoder, name string) error {
		if seen[name] {
			keep(fmt.Errorf("damaged safetensors: tensor %.100q stands there twice", name))
		}
		seen[name] = true
		if name == metadataKey {
			var metadata map[string]string
			if dec.Decode(&metadata) != nil {
				keep(errors.New("damaged safetensors: its " + metadataKey + " must map text to text"))
			}
			return nil
		}
		var entry json.RawMessage
		if err := dec.Decode(&entry); err != nil {
			return err
		}
		t, e := parseTensor(name, entry)
		if e != nil {
			keep(fmt.Errorf("damaged safetensors: tensor %.100q: %w", name, e))
		}
		sure = sure || t.offsets
		tensors = append(tensors, t)
		return nil
	}))
	return tensors, sure, err
}

// eachKey calls f with every key of the object that comes next; f takes the value.
func eachKey(dec *json.Decoder, f func(dec *json.Decoder, key string) error) error {
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return errors.New("it is no JSON object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if err := f(dec, name); err != nil {
			return err
		}
	}
	return nil
}

// parseTensor reads one entry. Keys that it does not know are skipped, as the library skips them.
func parseTensor(name string, entry []byte) (tensor, error) {
	t := tensor{name: name}
	var offsets []int64
	var first error // the other keys still tell whether this is a tensor
	seen := make(map[string]bool, 3)
	err := eachKey(json.NewDecoder(bytes.NewReader(entry)), func(dec *json.Decoder, key string) error {
		var err error
		switch key {
		case "dtype":
			if err = dec.Decode(&t.dtype); err != nil {
				err = errors.New("its dtype is no text")
			}
		case "shape":
			t.shape, err = sizes(dec, key)
		case offsetsKey:
			offsets, err = sizes(dec, key)
		default:
			var skipped json.RawMessage
			err = dec.Decode(&skipped)
		}
		if seen[key] {
			err = fmt.Errorf("%.100q stands there twice", key)
		}
		seen[key] = true
		if first == nil {
			first = err
		}
		return nil
	})
	t.offsets = seen[offsetsKey]
	if first != nil {
		err = first
	}
	switch {
	case err != nil:
		return t, err
	case t.dtype == "" || t.shape == nil || len(offsets) != 2:
		return t, errors.New("it must have dtype, shape and two data_offsets")
	case len(t.shape) > maxDims:
		return t, fmt.Errorf("its shape has %d dimensions", len(t.shape))
	case offsets[0] > offsets[1]:
		return t, fmt.Errorf("it ends at %d, before its begin at %d", offsets[1], offsets[0])
	}
	t.begin, t.end = offsets[0], offsets[1]
	return t, t.check()
}

// sizes decodes a list of whole numbers that are not negative.
func sizes(dec *json.Decoder, key string) ([]int64, error) {
	var list []*int64 // a null would count as 0 in a list of plain numbers
	wrong := fmt.Errorf("its %s is no list of sizes", key)
	if dec.Decode(&list) != nil || list == nil {
		return nil, wrong
	}
	out := make([]int64, 0, len(list))
	for _, n := range list {
		if n == nil || *n < 0 {
			return nil, wrong
		}
		out = append(out, *n)
	}
	return out, nil
}

// check compares the shape with the bytes.
func (t tensor) check() error {
	count := int64(1)
	for _, n := range t.shape {
		var ok bool
		if count, ok = mul(count, n); !ok {
			return errors.New("its shape is larger than any memory")
		}
	}
	length := t.end - t.begin
	bits, known := map[string]int64{
		"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
		"F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
		"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
	}[t.dtype]
	if !known && count > 0 { // a dtype of later years: an item must have a whole number of bits
		if bits = length * 8 / count; length > math.MaxInt64/8 || bits < 1 || bits > 128 {
			return fmt.Errorf("dtype %.100q is not known, and %d bytes for %d items are no size of one", t.dtype, length, count)
		}
	}
	if want, ok := mul(count, bits); !ok || want%8 != 0 || want/8 != length {
		return fmt.Errorf("shape %s of %.100s does not take the %s bytes that its data_offsets give it",
			ShapeText(t.shape), t.dtype, humanize.Comma(length))
	}
	return nil
}

// place brings the tensors into the order of their data and returns where the last one ends.
func place(tensors []tensor) (end int64, err error) {
	slices.SortStableFunc(tensors, func(a, b tensor) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	for _, t := range tensors {
		if t.begin != end {
			what := "overlaps the tensor before it"
			if t.begin > end {
				what = "leaves a hole before it"
			}
			return 0, fmt.Errorf("damaged safetensors: tensor %.100q (bytes %d to %d) %s", t.name, t.begin, t.end, what)
		}
		end = t.end
	}
	return end, nil
}
