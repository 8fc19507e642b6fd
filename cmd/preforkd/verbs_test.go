// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The verbs that give orders, against a real control socket with a fleet behind it that only remembers them.

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/api"
	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/internal/rundir"
	"github.com/preforkd/preforkd/supervisor"
)

func give(name string, args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = verbCmd(name, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestAVerbGivesItsOrderAndPrintsTheResult(t *testing.T) {
	control := &apitest.Control{}
	dir, _ := controlled(t, control)
	for _, c := range []struct {
		words []string
		taken string
	}{
		{[]string{"reload"}, `reload []`},
		{[]string{"reload", "emb", "geo"}, `reload ["emb" "geo"]`},
		{[]string{"restart"}, `restart []`},
		{[]string{"restart", "0", "2"}, `restart [0 2]`},
		{[]string{"scale", "6"}, `scale 6`},
	} {
		code, stdout, stderr := give(c.words[0], append(c.words[1:], "--run-dir", dir)...)
		taken := control.Taken()
		if code != 0 || stdout != "done\n" || len(taken) != 1 || taken[0] != c.taken {
			t.Errorf("%v: %d %q %q, taken %q", c.words, code, stdout, stderr, taken)
		}
	}
}

func TestAnOrderThatFailsIsToldWithItsLastWords(t *testing.T) {
	control := &apitest.Control{}
	dir, source := controlled(t, control)
	rolling(source, 1)
	for kind, code := range map[supervisor.Kind]int{
		supervisor.KindFleet: 1, supervisor.KindConfig: 2, supervisor.KindData: 3, supervisor.KindListen: 1,
	} {
		control.Answer = func(context.Context) (string, error) {
			return "", &supervisor.Error{Kind: kind, Err: errors.New("cannot replace worker 0; its last words:\nboom \x1b[2J\n")}
		}
		got, stdout, stderr := give("reload", "--run-dir", dir, "--quiet")
		if got != code || stdout != "" || stderr != "preforkd reload: cannot replace worker 0; its last words:\nboom ?[2J\n" {
			t.Errorf("kind %d: %d %q %q", kind, got, stdout, stderr)
		}
	}
}

// rolling has the source show an operation that is so far.
func rolling(source *apitest.Source, done int) {
	s := apitest.Example()
	s.Supervisor.Operation = &supervisor.Operation{Kind: "reload", Phase: "rolling", Done: done, Total: 2}
	source.View.Store(s)
}

func TestProgressIsALineForEachStepAwayFromATerminal(t *testing.T) {
	control := &apitest.Control{}
	dir, source := controlled(t, control)
	rolling(source, 0)
	shown := make(chan struct{}, 10)
	control.Answer = func(ctx context.Context) (string, error) {
		<-shown
		rolling(source, 1)
		<-shown
		return "2 workers were replaced", nil
	}
	stderr := &listener{on: func(string) { shown <- struct{}{} }}
	var stdout strings.Builder
	code := verbCmd("reload", []string{"--run-dir", dir}, &stdout, stderr)
	want := "rolling: 0 of 2 workers replaced\nrolling: 1 of 2 workers replaced\n"
	if code != 0 || stdout.String() != "2 workers were replaced\n" || stderr.text.String() != want {
		t.Errorf("%d %q\n%s", code, stdout.String(), stderr.text.String())
	}
}

// listener is a writer that tells what was written to it.
type listener struct {
	text strings.Builder
	on   func(string)
}

func (w *listener) Write(p []byte) (int, error) {
	w.on(string(p))
	return w.text.Write(p)
}

func TestAnInterruptEndsTheWaitingAndSaysThatTheOrderGoesOn(t *testing.T) {
	control := &apitest.Control{}
	dir, source := controlled(t, control)
	rolling(source, 0)
	left := make(chan struct{})
	control.Answer = func(ctx context.Context) (string, error) {
		<-ctx.Done()
		close(left)
		return "", ctx.Err()
	}
	stderr := &listener{on: func(line string) {
		if strings.HasPrefix(line, "rolling") {
			unix.Kill(os.Getpid(), unix.SIGINT)
		}
	}}
	code := verbCmd("restart", []string{"--run-dir", dir}, io.Discard, stderr)
	if code != 1 || !strings.Contains(stderr.text.String(), "preforkd restart: no longer waiting: the restart goes on") {
		t.Errorf("%d %q", code, stderr.text.String())
	}
	select {
	case <-left:
	case <-time.After(20 * time.Second):
		t.Error("the instance does not notice that its client left")
	}
}

func TestStopWaitsUntilTheInstanceIsGone(t *testing.T) {
	for _, quick := range []bool{false, true} {
		dir, err := rundir.Open(rundir.Options{Dir: filepath.Join(t.TempDir(), "run")})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		shown := make(chan struct{})
		control := &apitest.Control{}
		var server *api.Server
		control.Stopped = func(quick bool) {
			go func() {
				<-shown // what is left was shown, so that the end comes after the answer
				ended <- errors.Join(server.Close(context.Background()), dir.Close())
			}()
		}
		server = api.Start(apitest.NewSource(apitest.Example()), control, slog.New(slog.DiscardHandler), listenAt(t, dir))
		args := []string{"--run-dir", dir.Path()}
		want := "stop false"
		if quick {
			args, want = append(args, "--quick"), "stop true"
		}
		stderr := &listener{on: func(string) { close(shown) }}
		var stdout strings.Builder
		code := verbCmd("stop", args, &stdout, stderr)
		if code != 0 || stdout.String() != "stopped: process 4100 is gone\n" || stderr.text.String() != "stopping: 2 workers left\n" {
			t.Errorf("%d %q %q", code, stdout.String(), stderr.text.String())
		}
		if _, err := rundir.Find("", dir.Path()); !errors.Is(err, rundir.ErrNoInstance) {
			t.Errorf("stop returns before the instance is gone: %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if taken := control.Taken(); len(taken) != 1 || taken[0] != want {
			t.Errorf("taken %q, want %q", taken, want)
		}
	}
}

// A service manager may start the next instance at once, in the same place.
func TestStopDoesNotTakeTheNextInstanceForTheOneItStopped(t *testing.T) {
	control := &apitest.Control{}
	dir, source := controlled(t, control)
	control.Stopped = func(bool) {
		next := apitest.Example()
		next.Supervisor.PID++
		source.View.Store(next)
	}
	code, stdout, stderr := give("stop", "--run-dir", dir)
	if code != 0 || stdout != "stopped: process 4100 is gone\n" {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
}

func TestAnInstanceThatTakesNoOrdersIsToldFromOneThatRefuses(t *testing.T) {
	dir, _ := controlled(t, nil)
	for _, args := range [][]string{{"reload"}, {"restart"}, {"scale", "2"}, {"stop"}} {
		code, stdout, stderr := give(args[0], append(args[1:], "--run-dir", dir)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, "older than this program and does not know this order") {
			t.Errorf("%v: %d %q %q", args, code, stdout, stderr)
		}
		if args[0] == "stop" && !strings.Contains(stderr, "kill -TERM 4100 stops it") {
			t.Errorf("stop gives no way out: %q", stderr)
		}
	}
}

func TestAnInstanceThatEndsBeforeItsAnswerIsExit1(t *testing.T) {
	d, err := rundir.Open(rundir.Options{Dir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l, err := net.Listen("unix", filepath.Join(d.Path(), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "{\"operation\":null}\n")
	})}
	go server.Serve(l)
	defer server.Close()
	code, stdout, stderr := give("reload", "--run-dir", d.Path())
	if code != 1 || stdout != "" || !strings.Contains(stderr, "preforkd reload: cannot tell how the reload ended") {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
}

func TestAVerbWithoutAnInstanceIsExit5(t *testing.T) {
	for _, args := range [][]string{{"reload"}, {"restart"}, {"scale", "2"}, {"stop"}} {
		code, stdout, stderr := give(args[0], append(args[1:], "--run-dir", t.TempDir())...)
		if code != 5 || stdout != "" || !strings.HasPrefix(stderr, "preforkd "+args[0]+": cannot find an instance in ") {
			t.Errorf("%v: %d %q %q", args, code, stdout, stderr)
		}
	}
}

func TestWrongUseOfAVerbIsExit2AndHelpIsExit0(t *testing.T) {
	for _, args := range [][]string{
		{"reload", "--nope"},
		{"restart", "one"},
		{"restart", "-1"},
		{"restart", "0", ""},
		{"scale"},
		{"scale", "two"},
		{"scale", "0"},
		{"scale", "--", "-1"},
		{"scale", "1", "2"},
		{"stop", "now"},
		{"stop", "--quick=perhaps"},
		{"reload", "--name"},
	} {
		code, stdout, stderr := give(args[0], args[1:]...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, "try: preforkd "+args[0]+" --help") {
			t.Errorf("%v: %d %q %q", args, code, stdout, stderr)
		}
	}
	for name, v := range verbs() {
		for _, help := range []string{"-h", "--help"} {
			code, stdout, stderr := give(name, help)
			if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "Usage: preforkd "+name+" [flags]"+v.words+"\n") ||
				!strings.Contains(stdout, "--quiet") || !strings.Contains(stdout, "--run-dir") {
				t.Errorf("%s %s: %d %q %q", name, help, code, stdout, stderr)
			}
		}
	}
}
