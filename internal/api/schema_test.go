// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// JSON Schemas of what is served, from the Go types. invopop/jsonschema reads names, types and what is required; the words
// come from the tables of docs/stats.md, else from the comments in the code; what may be null and which values there are is
// added here. Objects allow no field that is not listed: a schema is served by the program that it describes, and so a field
// that somebody forgot to describe is found by the tests.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/invopop/jsonschema"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/format"
	"github.com/preforkd/preforkd/internal/listen"
	"github.com/preforkd/preforkd/supervisor"
)

const modulePath = "github.com/preforkd/preforkd"

// documentedTypes are what the tables of docs/stats.md tell about, by the prefix of their rows.
func documentedTypes() map[string]reflect.Type {
	return map[string]reflect.Type{
		"":        reflect.TypeFor[supervisor.Snapshot](),
		"event":   reflect.TypeFor[supervisor.Event](),
		"history": reflect.TypeFor[History](),
	}
}

// values are the strings that a field may have where its type does not tell. A replaced worker's reason is an exit's.
func values() map[string][]string {
	var reasons []string
	for _, reason := range fleet.Reasons() {
		reasons = append(reasons, reason.String())
	}
	return map[string][]string{
		"Exit.Reason":      reasons,
		"Worker.Replacing": reasons,
		"Operation.Kind":   {fleet.ReasonReload.String(), fleet.ReasonRestart.String(), fleet.ReasonScale.String()},
		"Operation.Phase":  {"loading", "rolling"},
		"Reload.Result":    {supervisor.ReloadDone, supervisor.ReloadUnchanged, supervisor.ReloadFailed},
		"Listener.Accept":  {listen.Shared.String(), listen.Reuseport.String()},
		"Data.Codec":       {string(codec.Gzip), string(codec.Zstd), string(codec.XZ), string(codec.LZ4)},
		"Data.Format": {
			format.Raw, format.Npy, format.Npz, format.Safetensors, format.Arrow, format.ArrowStream, format.Pk5,
		},
	}
}

// signed are the numbers that may be below zero.
func signed() []string {
	return []string{
		"Memory.Saved", "Memory.SavedFull", "Memory.SavedRatio", "Memory.WithoutSharing", "History.Saved", "History.WithoutSharing",
	}
}

// schemer makes schemas.
type schemer struct {
	reflector *jsonschema.Reflector
	words     map[string]string   // by "Memory.Used"
	enums     map[string][]string // by "Operation.Kind", and by type: "State"
}

func newSchemer(t *testing.T) *schemer {
	t.Helper()
	s := &schemer{words: bodyWords(), enums: values()}
	rows := pageRows(t)
	for prefix, typ := range documentedTypes() {
		s.document(typ, prefix, rows)
	}
	s.reflector = &jsonschema.Reflector{
		Anonymous: true, Namer: func(t reflect.Type) string { return exported(t.Name()) },
		LookupComment: func(t reflect.Type, field string) string { return s.words[strings.TrimSuffix(t.Name()+"."+field, ".")] },
	}
	t.Chdir("../..") // the reflector makes import paths of the folders' names
	if err := s.reflector.AddGoComments(modulePath, "supervisor", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	s.constants(t, "supervisor")
	t.Chdir("internal/api")
	return s
}

// exported is a name as Go exports it, or a sentence with a big letter. preforkd itself is written small.
func exported(text string) string {
	if text == "" || strings.HasPrefix(text, "preforkd ") {
		return text
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

// pageRows reads the tables of docs/stats.md: "workers[].rss" leads to what it means and its unit.
func pageRows(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(statsPage)
	if err != nil {
		t.Fatal(err)
	}
	units := map[string]string{"bytes": " In bytes.", "s": " In seconds.", "time": "", "": ""}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_0-9.\\[\\]]+)` \\| (.+?)(?: \\*\\(optional\\)\\*)? \\|(?: (\\w+))? \\|").
		FindAllStringSubmatch(string(page), -1) {
		unit, ok := units[m[3]]
		if !ok {
			t.Errorf("%s: unit %q of %s", statsPage, m[3], m[1])
		}
		if strings.Contains(m[2], "in seconds") {
			unit = ""
		}
		rows[m[1]] = exported(m[2]) + "." + unit
	}
	return rows
}

// document takes the words of a type's fields, and of its fields' types, from the rows.
func (s *schemer) document(t reflect.Type, prefix string, rows map[string]string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		if t.Kind() == reflect.Slice {
			prefix += "[]"
		}
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() == "time" {
		return
	}
	if row := rows[strings.TrimSuffix(prefix, "[]")]; row != "" && s.words[t.Name()] == "" {
		s.words[t.Name()] = row
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		path := strings.TrimPrefix(prefix+"."+name, ".")
		s.words[t.Name()+"."+field.Name] = rows[path]
		s.document(field.Type, path, rows)
	}
}

// constants finds the values of a package's string types: const StateLoading State = "loading".
func (s *schemer) constants(t *testing.T, dir string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			typ, typed := spec.Type.(*ast.Ident)
			value, literal := spec.Values[0].(*ast.BasicLit)
			if typed && literal && value.Kind == token.STRING {
				text, _ := strconv.Unquote(value.Value) // the parser has understood it
				s.enums[typ.Name] = append(s.enums[typ.Name], text)
			}
			return true
		})
	}
}

// schemas returns the schema of each type and of those in it, by name.
func (s *schemer) schemas(t *testing.T, types ...reflect.Type) jsonschema.Definitions {
	t.Helper()
	all, seen := jsonschema.Definitions{}, map[reflect.Type]bool{}
	for _, typ := range types {
		for name, schema := range s.reflector.ReflectFromType(typ).Definitions {
			if all[name] == nil {
				all[name] = schema
			}
		}
		s.refine(t, typ, all, seen)
	}
	return all
}

// refine adds what reflection does not know: null, values, formats, bounds.
func (s *schemer) refine(t *testing.T, typ reflect.Type, all jsonschema.Definitions, seen map[reflect.Type]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || typ.PkgPath() == "time" || seen[typ] {
		return
	}
	seen[typ] = true
	object := all[exported(typ.Name())]
	if object.Description == "" {
		t.Errorf("nothing tells what %s is", typ)
	}
	for field := range typ.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		property, ok := object.Properties.Get(name)
		if !ok {
			t.Fatalf("%s has no property %s", typ, name)
		}
		if property.Description == "" {
			t.Errorf("nothing tells what %s.%s is", typ, field.Name)
		}
		optional := strings.Contains(options, "omitempty")
		object.Properties.Set(name, s.value(typ.Name()+"."+field.Name, property, field.Type, optional))
		s.refine(t, field.Type, all, seen)
	}
}

// value refines the schema of one value. An optional field is left out where it would be null.
func (s *schemer) value(key string, v *jsonschema.Schema, typ reflect.Type, optional bool) *jsonschema.Schema {
	nullable := !optional && typ.Kind() == reflect.Pointer
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ.Kind() {
	case reflect.Slice:
		v.Items = s.value(key, v.Items, typ.Elem(), false)
	case reflect.Int, reflect.Int64, reflect.Uint64:
		v.Format = "int64"
	case reflect.Float64:
		v.Format = "double"
	case reflect.String:
		for _, text := range append(slices.Clone(s.enums[typ.Name()]), s.enums[key]...) {
			v.Enum = append(v.Enum, text)
		}
	}
	if (v.Type == "integer" || v.Type == "number") && !slices.Contains(signed(), key) {
		v.Minimum = "0"
	}
	if !nullable {
		return v
	}
	if v.Ref != "" {
		null := &jsonschema.Schema{Type: "null"}
		return &jsonschema.Schema{Description: v.Description, OneOf: []*jsonschema.Schema{{Ref: v.Ref}, null}}
	}
	if v.Enum != nil {
		v.Enum = append(v.Enum, nil)
	}
	v.Extras = map[string]any{"type": []string{v.Type, "null"}}
	v.Type = ""
	return v
}
