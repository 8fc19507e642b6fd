// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const digestOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseOptionTakesEveryOption(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		source, option string
		want           Options
	}{
		{"x", "sha256=" + strings.ToUpper(digestOfNothing), Options{SHA256: digestOfNothing}},
		{"https://h/", "header=X-Key:  a=b: c ", Options{Headers: []string{"X-Key: a=b: c"}}},
		{"http://h/", "token-file=/run/token", Options{TokenFile: "/run/token"}},
		{"x", "codec=auto", Options{}},
		{"-", "codec=none", Options{Codec: "none"}},
		{"cmd:x", "codec=zstd", Options{Codec: "zstd"}},
		{"x", "format=raw", Options{Format: "raw"}},
		{"x", "format=auto", Options{}},
		{"x", "huge-pages=on", Options{HugePages: "on"}},
		{"x", "lock=true", Options{Lock: &yes}},
		{"direct:x", "lock=false", Options{Lock: &no}},
		{"direct:x", "preread=true", Options{Preread: true}},
		{"direct:x", "sha256=" + digestOfNothing, Options{SHA256: digestOfNothing}},
	} {
		spec := Spec{Name: "a", Source: c.source}
		if err := ParseOption(&spec, c.option); err != nil || !cmp.Equal(spec.Options, c.want) {
			t.Errorf("%s of %s: %+v, %v", c.option, c.source, spec.Options, err)
		}
	}
	spec := Spec{Name: "a", Source: "https://h/"}
	for _, option := range []string{"header=A: 1", "header=B: 2"} {
		if err := ParseOption(&spec, option); err != nil {
			t.Error(err)
		}
	}
	if !cmp.Equal(spec.Options.Headers, []string{"A: 1", "B: 2"}) {
		t.Errorf("%q", spec.Options.Headers)
	}
}

func TestParseOptionRefusesWithTheReasonAndWithoutSecrets(t *testing.T) {
	for _, c := range []struct{ source, option, want string }{
		{"x", "sha256", "write KEY=VALUE"},
		{"x", "sha256=abc", "64 hexadecimal digits"},
		{"x", "header=A: secret", "for http:// and https:// sources"},
		{"https://h/", "header=secret", "write header=NAME: VALUE"},
		{"https://h/", "header=A b: secret", "write header=NAME: VALUE"},
		{"https://h/", "header=Range: secret", "preforkd sets it itself"},
		{"https://h/", "header=A: secret\r\nB: c", "write header=NAME: VALUE"},
		{"cmd:x", "token-file=secret", "for http:// and https:// sources"},
		{"https://h/", "token-file=", "needs the path"},
		{"x", "codec=rar", `not "rar"`},
		{"direct:x", "codec=gzip", "not for direct:"},
		{"direct:x", "format=raw", "not for direct:"},
		{"x", "format=npy", `not "npy"`},
		{"x", "huge-pages=yes", `not "yes"`},
		{"direct:x", "huge-pages=on", "not for direct:"},
		{"x", "lock=1", "true or false"},
		{"x", "preread=true", "for direct: sources"},
		{"direct:x", "preread=", "true or false"},
		{"x", "sha=1", `there is no option "sha"`},
	} {
		spec := Spec{Name: "a", Source: c.source}
		err := ParseOption(&spec, c.option)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s of %s: got %v, want %q", c.option, c.source, err, c.want)
		}
		if !cmp.Equal(spec.Options, Options{}) {
			t.Errorf("%s of %s left %+v", c.option, c.source, spec.Options)
		}
	}
}

func TestEqualTellsWhetherALoadMeansTheSame(t *testing.T) {
	base := Spec{Name: "a", Source: "https://h/"}
	if !base.Equal(Spec{Name: "a", Source: "https://h/"}) {
		t.Error("it differs from itself")
	}
	seen := []Spec{base, {Name: "b", Source: base.Source}, {Name: "a", Source: "https://h/2"}}
	for _, option := range []string{
		"sha256=" + digestOfNothing, "header=A: 1", "header=A: 2", "token-file=x", "codec=none", "format=raw", "huge-pages=auto",
		"lock=true", "lock=false",
	} {
		spec := base
		if err := ParseOption(&spec, option); err != nil {
			t.Fatal(err)
		}
		again := base
		if err := ParseOption(&again, option); err != nil || !spec.Equal(again) {
			t.Errorf("%s twice: %v", option, err)
		}
		seen = append(seen, spec)
	}
	for i, a := range seen {
		for k, b := range seen {
			if a.Equal(b) != (i == k) {
				t.Errorf("%+v and %+v", a, b)
			}
		}
	}
}

func TestADigestOfTheSourceIsEnforced(t *testing.T) {
	leavesNothing(t)
	text := []byte("hello, preforkd")
	const right = "0f3d2c7ac6a6c4f8a3b6fbd6de1d0a5cc8f2d1d4a0e4b8f0f0f6d5b0c9a1e2d3" // of something else
	path := writeFile(t, "x", text)
	sum, err := load(t, &Loader{}, Spec{Name: "a", Source: path})[0].Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{path, "cmd:cat " + path, "direct:" + path} {
		l := &Loader{Start: startCommand}
		d := load(t, l, Spec{Name: "a", Source: source, Options: Options{SHA256: sum}})[0]
		if d.SHA256 != sum {
			t.Errorf("%s: the digest is known, but it says %q", source, d.SHA256)
		}
		got := refused(t, l, Spec{Name: "a", Source: source, Options: Options{SHA256: right}})
		if !strings.Contains(got, "sha256 is "+sum+", expected "+right) {
			t.Errorf("%s: %s", source, got)
		}
	}
}

func TestADigestIsThatOfThePackedBytes(t *testing.T) {
	leavesNothing(t)
	path := packed(t, "gzip", writeFile(t, "x", noise(3<<20)))
	sum, err := load(t, &Loader{}, Spec{Name: "a", Source: path, Options: Options{Codec: "none"}})[0].Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{path, "cmd:cat " + path} {
		l := &Loader{Start: startCommand}
		d := load(t, l, Spec{Name: "a", Source: source, Options: Options{SHA256: sum}})[0]
		if d.SHA256 != "" || d.Size() != 3<<20 {
			t.Errorf("%s: %+v", source, d)
		}
		got := refused(t, l, Spec{Name: "a", Source: source, Options: Options{SHA256: digestOfNothing}})
		if !strings.Contains(got, "sha256 is "+sum) {
			t.Errorf("%s: %s", source, got)
		}
	}
}

func TestADigestThatIsInterruptedEnds(t *testing.T) {
	d := load(t, &Loader{}, Spec{Name: "a", Source: writeFile(t, "x", noise(1000))})[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if sum, err := d.Digest(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%s, %v", sum, err)
	}
}
