// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the commands of docs/data.md, taken from there word for word, load what they say: from object stores, by programs that
// stand in for theirs and know only these words, and by a presigned address; and from a CSV that is converted once.

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// documented are the commands of a section of docs/data.md: the lines that begin with four blanks.
func documented(t *testing.T, section string) (commands []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/data.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("docs/data.md has no section %q", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for line := range strings.Lines(rest) {
		if command, ok := strings.CutPrefix(line, "    "); ok && strings.Contains(line, "--data '") {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}

// source is what stands between the quotes after --data; a shell would make nothing else of it.
func source(t *testing.T, command string) string {
	t.Helper()
	found := regexp.MustCompile(`--data '([^']*)'`).FindStringSubmatch(command)
	if found == nil {
		t.Fatalf("no --data in %s", command)
	}
	return found[1]
}

func TestTheCommandsForObjectStoresAreAsDocumented(t *testing.T) {
	w := writeFormats(t, mib)
	object := w.path(w.pack(t, "emb.npy", "zst"))
	content, err := os.ReadFile(w.path("emb.npy"))
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	// Each knows the words that its model knows, and writes the object to its standard output; what it says is on standard error.
	for program, words := range map[string]string{
		"aws":    `s3 cp --only-show-errors s3://models/emb.npy.zst -`,
		"gsutil": `-q cat gs://models/emb.npy.zst`,
		"rclone": `cat store:models/emb.npy.zst`,
	} {
		text := strings.NewReplacer("PROGRAM", program, "WORDS", words, "OBJECT", object).Replace(`#!/bin/sh
[ "$*" = 'WORDS' ] || { echo "PROGRAM: cannot understand: $*" >&2; exit 252; }
[ -z "$BROKEN" ] || { head -c 1000 'OBJECT'; echo 'PROGRAM: the token has expired' >&2; exit 1; }
exec cat 'OBJECT'
`)
		if err := os.WriteFile(filepath.Join(bin, program), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	commands := documented(t, "Object stores")
	if len(commands) != 4 {
		t.Fatalf("%d commands: %q", len(commands), commands)
	}
	path := "PATH=" + bin + ":" + os.Getenv("PATH")
	for _, command := range commands {
		given := source(t, command)
		program := regexp.MustCompile(`cmd:(\w+)|https`).FindString(given)
		t.Run(program, func(t *testing.T) {
			env := []string{path}
			if address, err := url.Parse(strings.TrimPrefix(given, "emb=")); err == nil && address.Scheme == "https" {
				// By a proxy that leads to a server of that name, with a signature in place of the dots.
				given = strings.Replace(given, "X-Amz-…", "X-Amz-Signature=sig-7e6d5c", 1)
				s, trust := newTLSStore(t, packed, address.Hostname())
				s.set(func() {
					s.allow = func(r *http.Request) bool { return r.URL.Query().Get("X-Amz-Signature") == "sig-7e6d5c" }
				})
				proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { relay(t, w, s.Listener.Addr().String()) }))
				defer proxy.Close()
				env = append(env, trust, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=")
			}
			f := start(t, spec{env: env, flags: []string{"-w", "1", "--data", given, "--ready", "alive:10ms"}, command: sleeper})
			snap := f.until("the digest", func(s *supervisor.Snapshot) bool { return len(ready(s)) == 1 && s.Data[0].SHA256 != nil })
			if d := snap.Data[0]; *d.SHA256 != digestOf(content) || d.Codec != "zstd" || *d.Format != "npy" {
				t.Errorf("data: %+v", d)
			}
			if strings.Contains(f.output()+snap.Data[0].Source, "sig-7e6d5c") {
				t.Error("the signature is told")
			}
			f.stop()
			if program == "https" {
				return
			}
			refusedWith(t, spec{env: append(env, "BROKEN=1"), flags: []string{"--data", given}},
				`(?s)cannot load dataset "emb": .*`+strings.TrimPrefix(program, "cmd:")+`: the token has expired`)
		})
	}
}

// The command of docs/data.md that turns a CSV into Arrow.
func TestTheDocumentedConversionIsShared(t *testing.T) {
	commands := documented(t, "Formats")
	if len(commands) != 1 {
		t.Fatalf("%d commands: %q", len(commands), commands)
	}
	dir := place(t)
	if err := os.WriteFile(filepath.Join(dir, "users.csv"), []byte("id,word\n1,a\n2,b\n3,c\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := start(t, spec{
		dir: dir, env: []string{"PATH=" + filepath.Dir(venv(t, "python")) + ":" + os.Getenv("PATH")},
		flags: []string{"-w", "1", "--data", source(t, commands[0]), "--ready", "alive:10ms"}, command: sleeper,
	})
	if d := f.settled(1).Data[0]; *d.Format != "arrow" || len(f.logged("workers will not share all of a dataset")) > 0 {
		t.Errorf("data: %+v", d)
	}
	f.stop()
}
