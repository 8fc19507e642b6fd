// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

// The TOML file. go-toml's decoder keeps neither the order of tables, which is that of the datasets' descriptors, nor the
// places of values; its parser keeps both. The decoder checks what the parser does not: names that stand twice.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile is far above any real file and far below what would hurt.
const maxFile = 1 << 20

// readFile reads the file that an option config names.
func readFile(named item) (source, []error) {
	content, err := fileContent(named.text)
	if err != nil {
		return source{}, []error{fmt.Errorf("cannot use %s: %v", named.at.with(named.text), err)}
	}
	return parseFile(named.text, content)
}

func fileContent(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file, which a reload could read again")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if len(content) > maxFile {
		return nil, errors.New("it is larger than 1 MiB, which no configuration is")
	}
	return content, nil
}

// reader walks over one file.
type reader struct {
	name     string
	parser   unstable.Parser
	found    source
	problems []error
}

// parseFile reads the content of the file of that name.
func parseFile(name string, content []byte) (source, []error) {
	if !utf8.Valid(content) {
		return source{}, []error{fmt.Errorf("cannot use %s: it is not UTF-8", name)}
	}
	r := &reader{name: name}
	r.parser.Reset(content)
	var table []string
	skip := false // entries of a table that is refused
	for r.parser.NextExpression() {
		node := r.parser.Expression()
		names, start, _ := key(node)
		switch {
		case node.Kind != unstable.KeyValue:
			table, skip = names, !r.enter(node, names, start)
		case !skip:
			r.assign(slices.Concat(table, names), start, node)
		}
	}
	r.decode(content)
	return r.found, r.problems
}

// decode lets the decoder find what is wrong with the file as TOML. Of a number that is too large for it the walk has said
// what is allowed instead.
func (r *reader) decode(content []byte) {
	var all map[string]any
	err := toml.Unmarshal(content, &all)
	if r.parser.Error() == nil && (err == nil || len(r.problems) > 0) {
		return
	}
	if wrong, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := wrong.Position()
		reason := strings.TrimPrefix(wrong.Error(), "toml: ")
		r.refuse(place{file: r.name, line: line, column: column}, "%s", reason)
		return
	}
	r.problems = append(r.problems, fmt.Errorf("cannot use %s: %v", r.name, errors.Join(r.parser.Error(), err)))
}

// enter tells whether the entries of a table may be read: the table of a list, written [data].
func (r *reader) enter(node *unstable.Node, names []string, start uint32) bool {
	opt, ok := find(names[0])
	at := r.place(names[0], start)
	switch {
	case ok && len(names) == 1 && opt.repeatable() && node.Kind == unstable.ArrayTable:
		r.refuse(at, "there is only one table %s: write [%s]", names[0], names[0])
	case ok && len(names) == 2 && opt.is(nested) && node.Kind == unstable.Table:
		return true
	case ok && len(names) == 1 && !opt.repeatable():
		r.refuse(at, "%s is no table: give one value, %s", names[0], opt.arg)
	case !ok || len(names) > 1:
		r.refuseName(at, names)
	default:
		return true
	}
	return false
}

// assign reads NAME = VALUE or, of a list, NAME.ENTRY = VALUE.
func (r *reader) assign(names []string, start uint32, node *unstable.Node) {
	opt, ok := find(names[0])
	at := r.place(names[0], valueStart(&r.parser, node))
	switch value := node.Value(); {
	case len(names) == 1 && names[0] == "command":
		r.command(value, at)
	case len(names) == 1 && opt.is(outside):
		r.refuse(r.place(names[0], start), "%s has no place in the file: give it as a flag or as %s", opt.name, variable(opt.name))
	case !ok || len(names) > 1+opt.depth():
		r.refuseName(r.place(names[0], start), names)
	case len(names) > 1:
		r.entry(opt, strings.Join(names[1:], "."), value, at)
	case opt.repeatable():
		r.list(opt, value, at)
	default:
		r.value(opt, "", value, at)
	}
}

func (r *reader) command(value *unstable.Node, at place) {
	words := []string{}
	for it := value.Children(); value.Kind == unstable.Array && it.Next(); {
		if it.Node().Kind != unstable.String || strings.ContainsRune(string(it.Node().Data), 0) {
			words = []string{}
			break
		}
		words = append(words, string(it.Node().Data))
	}
	r.found.command, r.found.at = words, at
	if len(words) == 0 {
		r.refuse(at, `command: give its words as strings, as in command = ["python", "app.py"]`)
	}
}

// list reads the values of a repeatable option: one string, an array of them, or a table of NAME = "REST".
func (r *reader) list(opt option, value *unstable.Node, at place) {
	switch value.Kind {
	case unstable.Array:
		for it := value.Children(); it.Next(); {
			child := at
			if it.Node().Raw.Length > 0 {
				child = r.place(opt.name, it.Node().Raw.Offset)
			}
			r.value(opt, "", it.Node(), child)
		}
	case unstable.InlineTable:
		for it := value.Children(); it.Next(); {
			names, start, _ := key(it.Node())
			if len(names) > opt.depth() {
				r.refuseName(r.place(opt.name, start), append([]string{opt.name}, names...))
				continue
			}
			r.entry(opt, strings.Join(names, "."), it.Node().Value(), r.place(opt.name, valueStart(&r.parser, it.Node())))
		}
	default:
		r.value(opt, "", value, at)
	}
}

// entry reads NAME = "REST" of a list's table, and of a nested one NAME = {KEY = "REST"} and NAME.KEY = ["REST"].
func (r *reader) entry(opt option, name string, value *unstable.Node, at place) {
	if strings.ContainsAny(name, "=\x00") {
		r.refuse(at, "%s: the name %q must not hold = or a zero byte", opt.name, name)
		return
	}
	if opt.is(nested) && value.Kind == unstable.Array {
		for it := value.Children(); it.Next(); {
			r.value(opt, name+"=", it.Node(), at)
		}
		return
	}
	if opt.is(nested) && value.Kind == unstable.InlineTable {
		for it := value.Children(); it.Next(); {
			names, _, _ := key(it.Node())
			r.entry(opt, name+"."+strings.Join(names, "."), it.Node().Value(), r.place(opt.name, valueStart(&r.parser, it.Node())))
		}
		return
	}
	r.value(opt, name+"=", value, at)
}

// value takes one value, in front of which prefix belongs.
func (r *reader) value(opt option, prefix string, value *unstable.Node, at place) {
	name := opt.name
	if prefix != "" {
		name += "." + strings.TrimSuffix(prefix, "=")
	}
	text := string(value.Data)
	switch value.Kind {
	case unstable.String:
		if strings.ContainsRune(text, 0) {
			r.refuse(at, "%s: the value holds a zero byte; give %s", name, opt.arg)
			return
		}
	case unstable.Array, unstable.InlineTable:
		r.refuse(at, "%s: give one value, %s", name, opt.arg)
		return
	default:
		at.raw = text
		n, err := strconv.ParseInt(text, 0, 64) // TOML's forms of integers are among Go's
		if value.Kind == unstable.Integer && opt.is(numeric) && err == nil {
			text = strconv.FormatInt(n, 10)
			break
		}
		if value.Kind == unstable.Bool && (opt.is(boolean) || opt.is(nested) && prefix != "") {
			break
		}
		reason := opt.value(defaults()).Set(prefix + text)
		if reason == nil || opt.repeatable() {
			reason = fmt.Errorf("give it in quotes, as \"%s\"", opt.arg)
			if prefix != "" {
				reason = errors.New("give it in quotes; options stand above all tables")
			}
		}
		if !opt.is(nested) {
			name += " = " + text
		}
		r.refuse(at, "%s: %v", name, reason)
		return
	}
	r.found.items = append(r.found.items, item{prefix + text, at})
}

func (r *reader) refuse(at place, format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	r.problems = append(r.problems, fmt.Errorf("cannot use %s:%d:%d: %s", at.file, at.line, at.column, reason))
}

func (r *reader) refuseName(at place, names []string) {
	hint := ""
	if len(names) == 1 {
		hint = nearest(names[0], func(option string) string { return option })
	}
	r.refuse(at, "there is no option %q%s", strings.Join(names, "."), hint)
}

func (r *reader) place(option string, offset uint32) place {
	start := r.parser.Shape(unstable.Range{Offset: offset}).Start
	return place{kind: inFile, option: option, file: r.name, line: start.Line, column: start.Column}
}

// key returns the parts of a node's dotted name and where it starts and ends.
func key(node *unstable.Node) (names []string, start, end uint32) {
	for it := node.Key(); it.Next(); {
		raw := it.Node().Raw
		if names == nil {
			start = raw.Offset
		}
		names, end = append(names, string(it.Node().Data)), raw.Offset+raw.Length
	}
	return names, start, end
}

// valueStart is where a value begins: of an array the parser does not say it.
func valueStart(parser *unstable.Parser, node *unstable.Node) uint32 {
	if raw := node.Value().Raw; raw.Length > 0 {
		return raw.Offset
	}
	_, _, end := key(node)
	for rest := parser.Data()[end:]; len(rest) > 0 && strings.IndexByte(" \t=", rest[0]) >= 0; rest = rest[1:] {
		end++
	}
	return end
}
