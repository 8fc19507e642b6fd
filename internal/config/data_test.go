// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"
)

func TestTheFileHasOptionsOfDatasetsInEachForm(t *testing.T) {
	want := []string{"emb.sha256=" + strings.Repeat("0f", 32), "emb.lock=true", "web.header=A: 1", "web.header=B: =2", "web.token-file=t"}
	const head = "data = ['emb=./emb.npy', 'web=https://host/x']\ncommand = ['app']\n"
	for what, content := range map[string]string{
		"array":       "data-opt = ['" + strings.Join(want, "', '") + "']",
		"dotted":      "[data-opt]\nemb.sha256 = '" + strings.Repeat("0f", 32) + "'\nemb.lock = true\nweb.header = ['A: 1', 'B: =2']\nweb.token-file = 't'",
		"top":         "data-opt.emb.sha256 = '" + strings.Repeat("0f", 32) + "'\ndata-opt.emb.lock = 'true'\ndata-opt.web.header = ['A: 1', 'B: =2']\ndata-opt.web.token-file = 't'",
		"tables":      "[data-opt.emb]\nsha256 = '" + strings.Repeat("0f", 32) + "'\nlock = true\n[data-opt.web]\nheader = ['A: 1', 'B: =2']\ntoken-file = 't'",
		"inline":      "[data-opt]\nemb = {sha256 = '" + strings.Repeat("0f", 32) + "', lock = true}\nweb = {header = ['A: 1', 'B: =2'], token-file = 't'}",
		"inline both": "data-opt = {emb = {sha256 = '" + strings.Repeat("0f", 32) + "', lock = true}, web.header = ['A: 1', 'B: =2'], web.token-file = 't'}",
	} {
		o, c, err := read("--config", file(t, head+content))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		equal(t, o.DataOptions, want)
		if !slices.Equal(c.Data[1].Options, []string{"header=A: 1", "header=B: =2", "token-file=t"}) {
			t.Errorf("%s: the supervisor gets %q", what, c.Data[1].Options)
		}
	}
}

func TestBooleansInTheFileAndInVariables(t *testing.T) {
	for _, content := range []string{"watch = true", "watch = 'true'", "watch = '1'"} {
		if o, _, err := read("--config", file(t, content), "app"); err != nil || !o.Watch {
			t.Errorf("%s: %v", content, err)
		}
	}
	o, _, err := readWith([]string{"PREFORKD_OPT_WATCH=1", "PREFORKD_OPT_LOCK_MEMORY=true"}, "--watch=false", "app")
	if err != nil || o.Watch || !o.LockMemory || !slices.Equal(o.Command, []string{"app"}) {
		t.Errorf("%+v %v", o, err)
	}
}

// Whatever is wrong with an option, its value is not repeated: it may be a secret.
func TestOptionsOfDatasetsAreRefusedWithoutTheirValues(t *testing.T) {
	const secret = "s3cret"
	for _, c := range []struct{ option, want string }{
		{"nope.header=A: " + secret, `nope.header: no dataset is called "nope"; datasets: emb, web`},
		{"emb.header=A: " + secret, "emb.header: header is for http:// and https:// sources"},
		{"web.header=" + secret, "web.header: write header=NAME: VALUE"},
		{"emb.sha256=" + secret, "emb.sha256: sha256 has 64 hexadecimal digits"},
		{"emb.token=" + secret, `emb.token: there is no option "token"`},
		{"emb.preread=true", "emb.preread: preread is for direct: sources"},
	} {
		data := []string{"-d", "emb=./emb.npy", "-d", "web=https://host/x"}
		_, _, err := read(append(data, "--data-opt", c.option, "app")...)
		refused(t, err, "cannot use --data-opt "+c.want, secret)
		_, _, err = readWith([]string{"PREFORKD_OPT_DATA_OPT=emb.codec=none\n" + c.option}, append(data, "app")...)
		refused(t, err, "cannot use PREFORKD_OPT_DATA_OPT "+c.want, secret)
		path := file(t, "watch = true\ndata-opt = ['emb.codec=none',\n  '"+c.option+"']")
		_, _, err = read(append(data, "--config", path, "app")...)
		refused(t, err, "cannot use "+path+":3:3: data-opt "+c.want, secret)
	}
	for content, want := range map[string]string{
		"[data-opt]\nweb.header = 12345":     "2:14: data-opt.web.header: give it in quotes",
		"[data-opt]\nweb.header = [[12345]]": "2:14: data-opt.web.header: give one value",
		"[data-opt]\nweb = '12345'":          "2:7: data-opt as it is given: write NAME.KEY=VALUE",
		"[data-opt.web.a]\nb = '12345'":      `1:2: there is no option "data-opt.web.a"`,
		"data-opt.a.b.c = '12345'":           `1:1: there is no option "data-opt.a.b.c"`,
		"data-opt.a.b = {c = '12345'}":       "1:21: data-opt as it is given: write NAME.KEY=VALUE",
		"[[data-opt]]\na = '12345'":          "1:3: there is only one table data-opt",
	} {
		path := file(t, content)
		_, _, err := read("--config", path, "-d", "web=https://host/x", "app")
		refused(t, err, "cannot use "+path+":"+want, "12345")
	}
	_, _, err := read("--data-opt", "emb.lock=true", "app")
	fails(t, "without datasets", err, "cannot use --data-opt emb.lock: there are no datasets: add --data")
}

func refused(t *testing.T, err error, want, secret string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v\nwant %s…", err, want)
	}
}
