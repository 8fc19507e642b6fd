// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"slices"
	"strings"
	"testing"
)

func TestPlaceholders(t *testing.T) {
	p, paths := full()
	for text, want := range map[string]string{
		"{path:emb}":                     "/run/preforkd/default/data/emb.v3.npy",
		"{fd:emb}":                       "5",
		"{size:emb}":                     "4128",
		"{fd:raw-words}":                 "6",
		"{path:index}":                   "/srv/index.sqlite", // direct
		"{fd:index}":                     "9",
		"{size:index}":                   "4096",
		"{fd:http}":                      "3",
		"{fd:admin}":                     "4",
		"{listen:http}":                  "fd://3",
		"{listen:admin}":                 "fd://4",
		"{port:http}":                    "8000",
		"{worker}":                       "2",
		"{workers}":                      "8",
		"{worker}/{workers}":             "2/8",
		"--data={path:emb}:{size:emb},x": "--data=/run/preforkd/default/data/emb.v3.npy:4128,x",

		// Escaped: one brace less, the rest as it is.
		"{{worker}":       "{worker}",
		"{{worker}}":      "{worker}}",
		"{{{worker}":      "{{worker}",
		"{{path:none}":    "{path:none}",
		"{{worker}{fd:x}": "", // see below: an error

		// JSON, shell, format strings and templates are nobody's business.
		`{"port": {port:http}, "w": {worker}}`: `{"port": 8000, "w": 2}`,
		`{"worker": 1}`:                        `{"worker": 1}`,
		"{}":                                   "{}",
		"{a,b}":                                "{a,b}",
		"${HOME}":                              "${HOME}",
		"${worker:-1}":                         "${worker:-1}",
		"{Worker}":                             "{Worker}",
		"{ worker }":                           "{ worker }",
		"{worker:x}":                           "{worker:x}",
		"{path}":                               "{path}",
		"{fd}":                                 "{fd}",
		"{{.Names}}":                           "{{.Names}}",
		"{name:emb}":                           "{name:emb}",
		"{xpath:emb}":                          "{xpath:emb}",
		"{path:emb":                            "{path:emb",
		"{path:}":                              "{path:}",
		"{path: emb}":                          "{path: emb}",
		"listen({fd: 3})":                      "listen({fd: 3})",
		"{port:8000}":                          "{port:8000}",
		"path:emb}":                            "path:emb}",
		"{path:{worker}}":                      "{path:2}",
		"100%":                                 "100%",
		"":                                     "",
	} {
		have, err := p.expand(text, paths)
		if text == "{{worker}{fd:x}" {
			want = `cannot expand {fd:x} in "{{worker}{fd:x}" (write {{fd:x} to keep it): no dataset or listener is called "x"; ` +
				`datasets: emb, raw-words, weights, people, index; listeners: http, admin`
			if err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", text, err, want)
			}
			continue
		}
		if have != want || err != nil {
			t.Errorf("%s becomes %s, want %s: %v", text, have, want, err)
		}
	}
}

func TestAKnownWordWithAnUnknownNameIsAnError(t *testing.T) {
	p, paths := full()
	const known = "; datasets: emb, raw-words, weights, people, index; listeners: http, admin"
	for text, want := range map[string]string{
		"{path:nope}":      `no dataset is called "nope"` + known,
		"{path:http}":      `no dataset is called "http"` + known,
		"{size:http}":      `no dataset is called "http"` + known,
		"{fd:nope}":        `no dataset or listener is called "nope"` + known,
		"{listen:emb}":     `no listener is called "emb"` + known,
		"{port:emb}":       `no listener is called "emb"` + known,
		"{port:admin}":     `listener "admin" is a unix socket and has no port; use {fd:admin}`,
		"{worker}{fd:EMB}": `no dataset or listener is called "EMB"` + known,
	} {
		_, err := p.expand(text, paths)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot expand {") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want … %s", text, err, want)
		}
	}
	_, err := (&Plan{}).expand("{fd:x}", nil)
	if err == nil || !strings.HasSuffix(err.Error(), "; datasets: none; listeners: none") {
		t.Errorf("without data and listeners: %v", err)
	}
}

func TestTheFirstMistakeIsTheOneThatIsTold(t *testing.T) {
	p, paths := full()
	_, err := p.expand("{fd:one} {fd:two}", paths)
	if err == nil || !strings.Contains(err.Error(), `called "one"`) {
		t.Errorf("the error is %v", err)
	}
}

func TestArgumentsAreExpandedOneByOne(t *testing.T) {
	p, paths := full()
	p.Command = []string{"run-{worker}", "plain", "", "{path:emb}", "{fd:admin}"}
	want := []string{"run-2", "plain", "", paths[0], "4"}
	if have, err := p.Args(paths); err != nil || !slices.Equal(have, want) {
		t.Errorf("the arguments are %q, want %q: %v", have, want, err)
	}
	if p.Command[0] != "run-{worker}" {
		t.Error("the plan itself has changed")
	}
}

func TestCheckFindsEveryPlaceholderBeforeThePathsAreKnown(t *testing.T) {
	p, _ := full()
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	p.Command = []string{"app", "{path:emb}", "{port:none}"}
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "{port:none}") {
		t.Errorf("the command: %v", err)
	}
	p.Command, p.Env = []string{"app"}, []string{"A={path:emb}", "B={size:none}"}
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "{size:none}") {
		t.Errorf("--env: %v", err)
	}
	p.Env = []string{"{fd:none}=only values are expanded"}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}

func FuzzExpand(f *testing.F) {
	for _, text := range []string{"", "{", "{{", "{worker}", "{{worker}", "{path:emb}", "{fd:x}", `{"a":{port:http}}`, "{path:\xff}", "{{{{worker}}}}"} {
		f.Add(text)
	}
	p, paths := full()
	words := []string{"{path:", "{fd:", "{size:", "{listen:", "{port:", "{worker}", "{workers}"}
	f.Fuzz(func(t *testing.T, text string) {
		have, err := p.expand(text, paths)
		known := slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
		if !known && (have != text || err != nil) {
			t.Errorf("%q became %q: %v", text, have, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "cannot expand {") {
			t.Errorf("%q: %v", text, err)
		}
		// Escaping everything gives the text back, whatever it is.
		escaped := placeholder.ReplaceAllStringFunc(text, func(match string) string { return "{" + match })
		if back, err := p.expand(escaped, paths); err != nil || !strings.Contains(text, "{{") && back != text {
			t.Errorf("%q escaped as %q became %q: %v", text, escaped, back, err)
		}
	})
}
