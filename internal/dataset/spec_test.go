// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"strings"
	"testing"
)

func TestParseSpecTakesNameAndSource(t *testing.T) {
	for text, want := range map[string]Spec{
		"emb=./emb.npy":              {Name: "emb", Source: "./emb.npy"},
		"a=/x/y=z":                   {Name: "a", Source: "/x/y=z"},
		"word-vectors_2=-":           {Name: "word-vectors_2", Source: "-"},
		"a=cmd:aws s3 cp s3://b/k -": {Name: "a", Source: "cmd:aws s3 cp s3://b/k -"},
		"fd=x":                       {Name: "fd", Source: "x"},
		"a=./direct:x":               {Name: "a", Source: "./direct:x"},
		"a=direct:./x":               {Name: "a", Source: "direct:./x"},
		"a=https://u:p@h:1/x?y#z":    {Name: "a", Source: "https://u:p@h:1/x?y#z"},
	} {
		if got, err := ParseSpec(text); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func TestParseSpecRefusesWithTheReason(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "NAME=SOURCE",
		"./emb.npy":                       "NAME=SOURCE",
		"=./emb.npy":                      "NAME=SOURCE",
		"Emb=x":                           `name "Emb": it must match`,
		"1a=x":                            "must match",
		"a.b=x":                           "must match",
		"a\n=x":                           "must match",
		strings.Repeat("a", 65) + "=x":    "longer than 64",
		"emb_fd=x":                        "_fd or _size",
		"emb-size=x":                      "_fd or _size",
		"a=":                              "source is empty",
		"a=cmd: ":                         "cmd: needs a command",
		"a=x\x00y":                        "zero byte",
		"a=https://u:secret@/x?t=secret2": `dataset "a": has no host`,
		"a=https://u:sec%ret@h/x":         "is not a valid address",
		"a=HTTP:///x":                     "has no host",
		"a=s3://b/k":                      "s3:// is not supported by this version",
		"a=direct:":                       "direct: needs the path",
	} {
		_, err := ParseSpec(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot ") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows a secret: %v", text, err)
		}
	}
}

func TestCheckNamesFindsCollisions(t *testing.T) {
	for _, c := range []struct{ one, two, want string }{
		{"a=x", "b=x", ""},
		{"a=x", "a=y", `two datasets named "a"`},
		{"a-b=x", "a_b=y", "PREFORKD_DATA_A_B"},
		{"a=-", "b=-", `standard input for both "a" and "b"`},
		{"a=-", "b=x", ""},
	} {
		one, err1 := ParseSpec(c.one)
		two, err2 := ParseSpec(c.two)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		err := CheckNames([]Spec{one, two})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: got %v, want %q", c.one, c.two, err, c.want)
		}
	}
}

func TestDisplayHidesArgumentsUsersAndQueries(t *testing.T) {
	for source, want := range map[string]string{
		"./emb.npy":                        "./emb.npy",
		"-":                                "-",
		"cmd:aws s3 cp s3://b/k?sig=x -":   "cmd:aws …",
		"cmd:  ./make-it  ":                "cmd:./make-it",
		"cmd:TOKEN=secret aws s3 cp":       "cmd:…",
		"cmd:TOKEN='a secret' aws":         "cmd:…",
		"cmd:aws\tsecret":                  "cmd:…",
		"cmd:$(cat secret)|x":              "cmd:…",
		"https://u:secret@h/p/x.npy?t=s#f": "https://h/p/x.npy",
		"https://u:sec%ret@h":              "https://…",
		"HTTPS://u:secret@h/x?secret":      "https://h/x",
		"direct:/srv/db":                   "direct:/srv/db",
	} {
		if got := (Spec{Name: "a", Source: source}).Display(); got != want {
			t.Errorf("%q is shown as %q, want %q", source, got, want)
		}
	}
}
