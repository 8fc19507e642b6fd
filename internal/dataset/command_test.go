// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/preforkd/preforkd/internal/format"
)

func TestACommandsOutputIsLoaded(t *testing.T) {
	leavesNothing(t)
	d := load(t, &Loader{Start: startCommand}, Spec{Name: "a", Source: "cmd:printf 'one two' | tr a-z A-Z; echo noise >&2"})[0]
	if string(content(t, d)) != "ONE TWO" || d.Ext != "" {
		t.Errorf("%q, %+v", content(t, d), d)
	}
	array := npy(header("'<f4'", "(3,)"), 12)
	d = load(t, &Loader{Start: startCommand}, Spec{Name: "a", Source: "cmd:cat '" + writeFile(t, "x.bin", array) + "'"})[0]
	if d.Ext != ".npy" || d.Format != format.Npy {
		t.Errorf("%+v", d)
	}
}

func TestACommandThatFailsIsRefusedWithItsLastWords(t *testing.T) {
	leavesNothing(t)
	cut := writeFile(t, "x", npy(header("'<f4'", "(3,)"), 12)[:20])
	for command, want := range map[string]string{
		"echo no such bucket >&2; exit 3":               "exit status 3: no such bucket",
		"echo all bytes; echo late trouble >&2; exit 4": "exit status 4: late trouble",
		"echo some bytes; kill -9 $$":                   "signal: killed",
		"cat '" + cut + "'; echo network >&2; exit 5":   "exit status 5: network",
		"true":      "wrote nothing to its standard output",
		"exec >&-":  "wrote nothing to its standard output",
		"no-such-x": "exit status 127",
	} {
		got := refused(t, &Loader{Start: startCommand}, Spec{Name: "emb", Source: "cmd:" + command})
		if !strings.HasPrefix(got, `cannot load dataset "emb": cmd:`) || !strings.Contains(got, want) {
			t.Errorf("%s: %s", command, got)
		}
	}
}

func TestACommandThatCannotBeStartedIsAnError(t *testing.T) {
	leavesNothing(t)
	l := &Loader{Start: func(context.Context, string) (Producer, error) { return nil, errors.New("no processes left") }}
	if got := refused(t, l, Spec{Name: "a", Source: "cmd:true"}); !strings.Contains(got, "cmd:true: no processes left") {
		t.Error(got)
	}
	if got := refused(t, &Loader{}, Spec{Name: "a", Source: "cmd:true"}); !strings.Contains(got, "cannot be run") {
		t.Error(got)
	}
}

func TestTheFirstErrorKillsTheOtherCommandsAndFreesWhatWasLoaded(t *testing.T) {
	leavesNothing(t)
	pid := filepath.Join(t.TempDir(), "pid")
	loaded := make(chan struct{})
	announce := sync.OnceFunc(func() { close(loaded) })
	l := &Loader{
		Start: func(ctx context.Context, command string) (Producer, error) {
			if strings.HasPrefix(command, "exit") {
				<-loaded
				until(t, "the endless one runs", func() bool {
					text, err := os.ReadFile(pid)
					return err == nil && strings.HasSuffix(string(text), "\n")
				})
			}
			return startCommand(ctx, command)
		},
		OnProgress: func(name string, p Progress) {
			if name == "file" && p.Loaded == p.Total {
				announce()
			}
		},
	}
	got := refused(t, l, Spec{Name: "file", Source: writeFile(t, "x", noise(1000))},
		Spec{Name: "endless", Source: fmt.Sprintf("cmd:echo $$ > %s; cat /dev/zero & sleep 1000", pid)},
		Spec{Name: "bad", Source: "cmd:exit 3"})
	if !strings.Contains(got, `dataset "bad": cmd:exit …: exit status 3`) {
		t.Error(got)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(text))); err == nil {
		t.Errorf("process %s is left", text)
	}
}
