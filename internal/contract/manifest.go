// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

// What PREFORKD_DATA says of each dataset.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// mostIndex bounds the members and schemas of all datasets together: Linux allows one variable 128 KiB
// (MAX_ARG_STRLEN, execve(2)), and beyond it no worker could start at all.
const mostIndex = 64 << 10

// entry is one dataset there.
type entry struct {
	FD      int             `json:"fd"`
	Path    string          `json:"path"`
	Size    int64           `json:"size"`
	Ino     uint64          `json:"ino,omitempty"`
	Version int             `json:"version"`
	SHA256  *string         `json:"sha256"`
	Format  string          `json:"format"`
	DType   string          `json:"dtype,omitempty"`
	Shape   []int64         `json:"shape,omitzero"`
	Order   string          `json:"order,omitempty"`
	Offset  int64           `json:"offset"`
	Direct  bool            `json:"direct,omitempty"`
	Members json.RawMessage `json:"members,omitempty"`
	Schema  json.RawMessage `json:"schema,omitempty"`
	Omitted bool            `json:"members_omitted,omitempty"`
}

// Manifest returns what PREFORKD_DATA says of the i-th dataset, with the path that the worker is to open.
func (p *Plan) Manifest(i int, path string) (json.RawMessage, error) {
	entries, err := p.entries()
	if err != nil {
		return nil, err
	}
	entries[i].Path = path
	text, err := encode(entries[i])
	return json.RawMessage(text), err
}

// manifest is the value of PREFORKD_DATA.
func (p *Plan) manifest(paths []string) (string, error) {
	entries, err := p.entries()
	if err != nil {
		return "", err
	}
	all := make(map[string]entry, len(entries))
	for i, e := range entries {
		e.Path = paths[i]
		all[p.Data[i].Name] = e
	}
	return encode(all)
}

// entries are those of all datasets, without paths. Where their indexes are too large together, the largest are left out.
func (p *Plan) entries() ([]entry, error) {
	all := make([]entry, len(p.Data))
	index := 0
	for i, d := range p.Data {
		e := entry{
			FD: p.DataFD(i), Size: d.Size, Ino: d.Ino, Version: d.Version, Format: d.Format, DType: d.DType, Shape: d.Shape, Order: d.Order,
			Offset: d.Offset, Direct: d.Direct,
		}
		if d.SHA256 != "" {
			e.SHA256 = &d.SHA256
		}
		var err error
		if e.Members, err = members(d.Members); err != nil {
			return nil, err
		}
		if e.Schema, err = schema(d.Schema); err != nil {
			return nil, err
		}
		all[i] = e
		index += e.index()
	}
	for index > mostIndex {
		largest := 0
		for i := range all {
			if all[i].index() > all[largest].index() {
				largest = i
			}
		}
		e := &all[largest]
		index -= e.index()
		e.Members, e.Schema, e.Omitted = nil, nil, true
	}
	return all, nil
}

// index is how many bytes an entry's members and schema take.
func (e *entry) index() int { return len(e.Members) + len(e.Schema) }

// members is an object with the arrays in the order of the content.
func members(list []Member) (json.RawMessage, error) {
	if len(list) == 0 {
		return nil, nil
	}
	type member struct {
		DType  string  `json:"dtype"`
		Shape  []int64 `json:"shape"`
		Order  string  `json:"order,omitempty"`
		Offset int64   `json:"offset"`
		Size   int64   `json:"size"`
	}
	var text bytes.Buffer
	for i, m := range list {
		name, err := encode(m.Name)
		if err != nil {
			return nil, err
		}
		value, err := encode(member{m.DType, append([]int64{}, m.Shape...), m.Order, m.Offset, m.Size})
		if err != nil {
			return nil, err
		}
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		text.WriteByte(separator)
		text.WriteString(name + ":" + value)
	}
	text.WriteByte('}')
	return text.Bytes(), nil
}

func schema(list []Field) (json.RawMessage, error) {
	if len(list) == 0 {
		return nil, nil
	}
	type field struct {
		Name     string `json:"name"`
		Type     string `json:"type"`
		Nullable bool   `json:"nullable"`
	}
	fields := make([]field, len(list))
	for i, f := range list {
		fields[i] = field(f)
	}
	text, err := encode(fields)
	return json.RawMessage(text), err
}

// encode leaves < and & as they are: people read "<f4" there.
func encode(value any) (string, error) {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", fmt.Errorf("cannot write PREFORKD_DATA: %v", err)
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}
