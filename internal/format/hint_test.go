// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatBecomesPrivateGetsOneHint(t *testing.T) {
	for name, want := range map[string]string{
		"table.csv": csvHint, "table.tsv": csvHint, "table.json": jsonHint, "table.jsonl": jsonHint, "pretty.json": jsonHint,
		"table.parquet": parquetHint, "array.joblib": pickleHint, "protocol2.pickle": pickleHint,
		"protocol3.pickle": pickleHint, "protocol4.pickle": pickleHint, "protocol5.pickle": pickleHint,
	} {
		b := file(t, name)
		if got := must(t, name, b); !cmp.Equal(got, Meta{Format: Raw, Hint: want}) {
			t.Errorf("%s: %+v", name, got)
		}
		switch want {
		case parquetHint, pickleHint: // only the end makes it sure
			want = ""
		}
		if got, err := Peek(b); err != nil || got.Hint != want {
			t.Errorf("%s: Peek says %+v, %v", name, got, err)
		}
	}
	long := strings.Repeat("größe;\"a;\r\nb\";1\r\n", 10000)
	many := strings.Repeat("{\"größe\": [1, 2]}\n", 10000)
	for name, c := range map[string]struct{ text, want string }{
		"CSV, long":          {long, csvHint},
		"CSV, byte order":    {"\xef\xbb\xbf" + long, csvHint},
		"CSV, no last line":  {"a,b\n1,2\n3,4", csvHint},
		"JSON lines, long":   {many, jsonHint},
		"JSON, one long":     {`{"a": "` + strings.Repeat("ü", 100000) + `"}`, jsonHint},
		"JSON, byte shifted": {` {"a": "` + strings.Repeat("ü", 100000) + `"}`, jsonHint},
	} {
		if got := must(t, name, []byte(c.text)); got.Hint != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestNothingElseGetsAHint(t *testing.T) {
	noise := make([]byte, 200000)
	x := uint64(1)
	for i := range noise {
		x = x*6364136223846793005 + 1442695040888963407
		noise[i] = byte(x >> 56)
	}
	for name, b := range map[string][]byte{
		"noise":                   noise,
		"zeros":                   make([]byte, 5000),
		"prose":                   []byte(strings.Repeat("One line, with a comma.\nAnother one without\n", 50)),
		"lines":                   []byte(strings.Repeat("a word list has no columns\n", 50)),
		"two lines":               []byte("a,b,c\n1,2,3\n"),
		"other columns":           []byte("a,b,c\n1,2,3\n1,2\n"),
		"a number":                []byte("3141592653589793238462643383279"),
		"JSON, cut":               []byte(`{"a": [1, 2, 3], "b": {"c`),
		"JSON and more":           []byte(`{"a": [1, 2, 3]} and more`),
		"braces":                  []byte(`{curly text is no JSON at all}`),
		"CSV with a zero":         []byte("a,b\n1,2\n3,4\n\x00,5\n"),
		"CSV in Latin-1":          []byte("a,b\n1,2\n3,\xe4\n5,6\n"),
		"Parquet without its end": append(bytes.Clone(file(t, "table.parquet")), 0),
		"pickle without its end":  file(t, "protocol5.pickle")[:100],
		"looks like protocol 2":   append([]byte{0x80, 2, 0, 0}, "............"...),
	} {
		if got := must(t, name, b); got.Hint != "" || got.Format != Raw {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestWhatNeedsItsRealPathIsRefused(t *testing.T) {
	hdf := []byte("\x89HDF\r\n\x1a\n and so on")
	for want, b := range map[string][]byte{"a SQLite database": file(t, "table.sqlite"), "an HDF5 file": hdf} {
		want += " must be opened by its real path and cannot be handed over as a segment: use direct:PATH"
		refused(t, want, b, want)
		if _, err := Peek(b[:16]); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Peek: %v", err)
		}
	}
}
