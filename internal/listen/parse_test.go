// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"strings"
	"testing"
)

func TestListenFlagsThatAreRight(t *testing.T) {
	for text, want := range map[string]Spec{
		":8000":                  {"", "tcp", ":8000"},
		":0":                     {"", "tcp", ":0"},
		"127.0.0.1:8000":         {"", "tcp", "127.0.0.1:8000"},
		"localhost:65535":        {"", "tcp", "localhost:65535"},
		"[::1]:8000":             {"", "tcp", "[::1]:8000"},
		"[fe80::1%eth0]:8000":    {"", "tcp", "[fe80::1%eth0]:8000"},
		"web=:8000":              {"web", "tcp", ":8000"},
		"a-b_2=[::]:8000":        {"a-b_2", "tcp", "[::]:8000"},
		"unix:/run/app.sock":     {"", "unix", "/run/app.sock"},
		"unix:app.sock":          {"", "unix", "app.sock"},
		"unix:/run/a=b:c.sock":   {"", "unix", "/run/a=b:c.sock"},
		"unix:@abstract":         {"", "unix", "@abstract"},
		"web=unix:/run/app.sock": {"web", "unix", "/run/app.sock"},
		"fd://3":                 {"", "fd", "3"},
		"web=fd://12":            {"web", "fd", "12"},
		"unix:/" + strings.Repeat("x", 106): {
			"", "unix", "/" + strings.Repeat("x", 106),
		},
	} {
		if have, err := Parse(text); have != want || err != nil {
			t.Errorf("%q: %+v, want %+v: %v", text, have, want, err)
		}
	}
}

func TestListenFlagsThatAreWrong(t *testing.T) {
	const forms = "write [NAME=]HOST:PORT, [NAME=]unix:/PATH or [NAME=]fd://N"
	for text, want := range map[string]string{
		"":                   `cannot use --listen "": ` + forms,
		"8000":               `cannot use --listen "8000": ` + forms,
		"localhost":          `cannot use --listen "localhost": ` + forms,
		"::1:8000":           `cannot use --listen "::1:8000": ` + forms,
		"http://x:80":        `cannot use --listen "http://x:80": ` + forms,
		"/run/app.sock":      `cannot use --listen "/run/app.sock": ` + forms,
		":":                  `cannot use --listen ":": port "" is not a number from 0 to 65535`,
		":http":              `cannot use --listen ":http": port "http" is not a number from 0 to 65535`,
		":65536":             `cannot use --listen ":65536": port "65536" is not a number from 0 to 65535`,
		":-1":                `cannot use --listen ":-1": port "-1" is not a number from 0 to 65535`,
		":+1":                `cannot use --listen ":+1": port "+1" is not a number from 0 to 65535`,
		"unix:":              `cannot use --listen "unix:": the path is missing; ` + forms,
		"unix:@":             `cannot use --listen "unix:@": the path is missing; ` + forms,
		"fd://":              `cannot use --listen "fd://": "" is not a descriptor number; ` + forms,
		"fd://x":             `cannot use --listen "fd://x": "x" is not a descriptor number; ` + forms,
		"fd://-1":            `cannot use --listen "fd://-1": "-1" is not a descriptor number; ` + forms,
		"fd://+3":            `cannot use --listen "fd://+3": "+3" is not a descriptor number; ` + forms,
		"fd://99999999999":   `cannot use --listen "fd://99999999999": "99999999999" is not a descriptor number; ` + forms,
		"Web=:8000":          `cannot use --listen name "Web": a name begins with a-z and goes on with a-z, 0-9, _ and -`,
		"=:8000":             `cannot use --listen name "": a name begins with a-z and goes on with a-z, 0-9, _ and -`,
		"2web=:8000":         `cannot use --listen name "2web": a name begins with a-z and goes on with a-z, 0-9, _ and -`,
		"a b=unix:/run/sock": `cannot use --listen name "a b": a name begins with a-z and goes on with a-z, 0-9, _ and -`,
		"unix:/" + strings.Repeat("x", 107): `cannot use --listen "unix:/` + strings.Repeat("x", 107) +
			`": the path has 108 bytes, a unix socket's may have 107; use a shorter one`,
	} {
		if have, err := Parse(text); err == nil || err.Error() != want {
			t.Errorf("%q: %+v %v\nwant %s", text, have, err, want)
		}
	}
}

func TestNamesOfSystemdBecomeNamesOfListeners(t *testing.T) {
	for name, want := range map[string]string{
		"app.socket": "app", "Web.socket": "web", "http": "http", "my app@1.socket": "my-app-1", "a.b": "a-b", "9to5.socket": "to5",
		"unknown": "", "LISTEN_FD_3": "", "": "", "-.socket": "", "stored": "stored",
	} {
		if have := cleanName(name); have != want {
			t.Errorf("%q becomes %q, want %q", name, have, want)
		}
	}
}
