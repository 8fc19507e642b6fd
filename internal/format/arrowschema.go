// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// This file names the columns of an Arrow schema: https://github.com/apache/arrow/blob/main/format/Schema.fbs

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxSchemaDepth bounds the nesting of lists and structs; Arrow's own C++ reader stops at 64.
const maxSchemaDepth = 64

var (
	errBadSchema  = errors.New("its schema is damaged")
	errDeepSchema = fmt.Errorf("its schema is nested deeper than %d", maxSchemaDepth)
)

// schema reads fields. Tables of a hostile buffer may refer to each other again and again, so what is left bounds the
// work and the text to what a buffer without that could hold.
type schema struct {
	f     *flat
	nodes int
	text  int
}

// readSchema reads a Schema table.
func readSchema(t table) ([]Field, error) {
	s := schema{f: t.f, nodes: len(t.f.b) / 8, text: len(t.f.b)}
	pos, count := t.vector(1, 4)
	var fields []Field
	for i := range count {
		name, kind, err := s.field(t.f.item(pos, i), 0)
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{Name: name, Type: kind, Nullable: t.f.item(pos, i).bool(1)})
	}
	if t.f.bad || t.pos == 0 {
		return nil, errBadSchema
	}
	return fields, nil
}

// field returns the name and the type of a Field table.
func (s *schema) field(t table, depth int) (name, kind string, err error) {
	s.nodes--
	b := t.text(0)
	s.text -= len(b)
	switch {
	case depth > maxSchemaDepth:
		return "", "", errDeepSchema
	case s.f.bad || s.nodes < 0 || s.text < 0:
		return "", "", errBadSchema
	case !utf8.Valid(b):
		return "", "", errors.New("a column's name is not UTF-8")
	}
	var children []Field
	pos, count := t.vector(5, 4)
	for i := range count {
		var child Field
		if child.Name, child.Type, err = s.field(s.f.item(pos, i), depth+1); err != nil {
			return "", "", err
		}
		children = append(children, child)
	}
	kind, err = s.typeName(int(t.u8(2)), t.sub(3), children)
	if dictionary := t.sub(4); err == nil && dictionary.pos != 0 {
		indices := "int32"
		if index := dictionary.sub(1); index.pos != 0 {
			indices = intName(index)
		}
		kind = fmt.Sprintf("dictionary<values=%s, indices=%s>", kind, indices)
	}
	if s.f.bad {
		return "", "", errBadSchema
	}
	return string(b), kind, err
}

// typeName is the name of a type by its number in the union Type; t is its table.
func (s *schema) typeName(number int, t table, children []Field) (string, error) {
	plain := map[int]string{
		1: "null", 4: "binary", 5: "utf8", 6: "bool", 19: "large_binary", 20: "large_utf8", 23: "binary_view",
		24: "utf8_view",
	}
	lists := map[int]string{
		12: "list", 21: "large_list", 22: "run_end_encoded", 25: "list_view", 26: "large_list_view",
	}
	switch number {
	case 2:
		return intName(t), nil
	case 3:
		return pick(t.enum(0), "float16", "float32", "float64"), nil
	case 7:
		return fmt.Sprintf("decimal%d(%d, %d)", t.i32(2, 128), t.i32(0, 0), t.i32(1, 0)), nil
	case 8:
		return pick(t.enum(1), "date32", "date64"), nil
	case 9:
		return fmt.Sprintf("time%d[%s]", t.i32(1, 32), unit(t, 1)), nil
	case 10:
		zone := t.text(1)
		if s.text -= len(zone); s.text < 0 || !utf8.Valid(zone) {
			return "", errBadSchema
		}
		if len(zone) == 0 {
			return fmt.Sprintf("timestamp[%s]", unit(t, 0)), nil
		}
		return fmt.Sprintf("timestamp[%s, %s]", unit(t, 0), zone), nil
	case 11:
		return "interval[" + pick(t.enum(0), "year_month", "day_time", "month_day_nano") + "]", nil
	case 15:
		return fmt.Sprintf("fixed_size_binary[%d]", t.i32(0, 0)), nil
	case 16:
		return fmt.Sprintf("fixed_size_list<%s>[%d]", typesOf(children), t.i32(0, 0)), nil
	case 18:
		return fmt.Sprintf("duration[%s]", unit(t, 1)), nil
	case 13:
		return "struct<" + fieldsOf(children) + ">", nil
	case 14:
		return pick(t.enum(0), "sparse", "dense") + "_union<" + fieldsOf(children) + ">", nil
	case 17:
		return "map<" + mapOf(children) + ">", nil
	}
	if name, ok := plain[number]; ok {
		return name, nil
	}
	if name, ok := lists[number]; ok {
		return name + "<" + typesOf(children) + ">", nil
	}
	return fmt.Sprintf("type %d", number), nil // of a later Arrow
}

func intName(t table) string {
	name := fmt.Sprintf("int%d", t.i32(0, 0))
	if !t.bool(1) {
		name = "u" + name
	}
	return name
}

func unit(t table, absent int) string { return pick(t.enum(absent), "s", "ms", "us", "ns") }

// pick returns the name with this number.
func pick(i int, names ...string) string {
	if i < 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}

// typesOf lists types, fieldsOf names as well.
func typesOf(fields []Field) string {
	types := make([]string, len(fields))
	for i, f := range fields {
		types[i] = f.Type
	}
	return strings.Join(types, ", ")
}

func fieldsOf(fields []Field) string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.Name + ": " + f.Type
	}
	return strings.Join(all, ", ")
}

// mapOf unwraps the struct of key and value that is a map's only child.
func mapOf(children []Field) string {
	text := typesOf(children)
	if inner, ok := strings.CutPrefix(text, "struct<"); ok && len(children) == 1 {
		return strings.TrimSuffix(inner, ">")
	}
	return text
}
