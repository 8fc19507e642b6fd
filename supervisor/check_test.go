// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/supervisor"
)

// links is a run dir that gives paths and must not be asked for more.
type links struct{ t *testing.T }

func (l links) Path() string                { return "/run/preforkd/x" }
func (l links) DataPath(link string) string { return "/run/preforkd/x/data/" + link }
func (l links) SetLink(name, _ string) error {
	l.t.Errorf("the link %s was made", name)
	return nil
}

func (l links) RemoveLink(name string) error {
	l.t.Errorf("the link %s was removed", name)
	return nil
}

// check is Check for a configuration that is right in itself. Nothing of it may be left.
func check(t *testing.T, config supervisor.Config) *supervisor.Plan {
	t.Helper()
	descriptors := countDescriptors(t)
	config.Environ = os.Environ()
	plan, err := supervisor.Check(config)
	if err != nil {
		t.Fatal(err)
	}
	// What the end of a context closes, a goroutine closes.
	for deadline := time.Now().Add(30 * time.Second); countDescriptors(t) > descriptors; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors before the check, %d after it", descriptors, countDescriptors(t))
		}
	}
	return plan
}

func problems(plan *supervisor.Plan) string {
	var lines []string
	for _, p := range plan.Problems {
		lines = append(lines, strconv.Itoa(int(p.ExitCode))+" "+p.Text)
	}
	return strings.Join(lines, "\n")
}

func TestAPlanSaysWhatWorkersWouldGet(t *testing.T) {
	npy := file(t, "emb.npy", "\x93NUMPY\x01\x00\x76\x00"+
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"+strings.Repeat(" ", 58)+"\n"+strings.Repeat("x", 24))
	raw := file(t, "words.a-b", "some words")
	plan := check(t, supervisor.Config{
		Command: []string{"sh", "-c", "exit {fd:words}", "{listen:http}"}, Workers: 3, Accept: "reuseport", RunDir: links{t},
		Data:   []supervisor.Source{{Name: "emb", Source: npy}, {Name: "words", Source: raw}, {Name: "made", Source: "cmd:touch " + filepath.Join(t.TempDir(), "made")}},
		Listen: []string{"127.0.0.1:0", "web=unix:" + filepath.Join(t.TempDir(), "s")},
	})
	if text := problems(plan); text != "" {
		t.Errorf("problems:\n%s", text)
	}
	npySize, rawSize := int64(152), int64(10)
	want := []supervisor.PlannedData{
		{Name: "emb", Source: npy, Format: new("npy"), DType: "<f4", Shape: []int64{2, 3}, Size: &npySize, SourceSize: &npySize, Fits: new(true), FD: 5, Path: new("/run/preforkd/x/data/emb.v1.npy")},
		{Name: "words", Source: raw, Format: new("raw"), Size: &rawSize, SourceSize: &rawSize, Fits: new(true), FD: 6, Path: new("/run/preforkd/x/data/words.v1")},
		{Name: "made", Source: "cmd:touch …", FD: 7},
	}
	if diff := cmp.Diff(want, plan.Data); diff != "" {
		t.Errorf("data (- want, + is):\n%s", diff)
	}
	if l := plan.Listen; len(l) != 2 || l[0].Name != "http" || l[0].Address != "127.0.0.1:0" || l[0].FD != 3 || !*l[0].Bindable ||
		l[1].Name != "web" || l[1].FD != 4 || !*l[1].Bindable {
		t.Errorf("listeners %+v", l)
	}
	if l := plan.Listen; l[0].Accept != "reuseport" || l[1].Accept != "shared" || len(plan.Warnings) != 1 {
		t.Errorf("listeners %+v, warnings %q", l, plan.Warnings)
	}
	page := int64(os.Getpagesize())
	if m := plan.Memory; m.Needed < 2*page || m.Needed > 2*page+page/10 || !m.Partial || m.Available == nil || m.By == "" {
		t.Errorf("memory %+v", m)
	}
	if plan.Executable == nil || filepath.Base(*plan.Executable) != "sh" || plan.Workers != 3 || plan.Surge != 1 ||
		plan.User.UID != os.Geteuid() || *plan.RunDir != "/run/preforkd/x" {
		t.Errorf("plan %+v", plan)
	}
}

func TestAPlanStartsAndLoadsNothing(t *testing.T) {
	dir := t.TempDir()
	fifo, made, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "made"), filepath.Join(dir, "s")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	if _, err := writer.WriteString("all of it"); err != nil {
		t.Fatal(err)
	}
	plan := check(t, supervisor.Config{
		Command: []string{"touch", made}, Workers: 1, Stdin: reader, Listen: []string{"unix:" + socket},
		Data: []supervisor.Source{{Name: "a", Source: "cmd:touch " + made}, {Name: "b", Source: fifo}, {Name: "c", Source: "-"}},
	})
	if text := problems(plan); text != "" {
		t.Errorf("problems:\n%s", text)
	}
	for _, path := range []string{made, socket} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is there", path)
		}
	}
	if _, err := syscall.Open(fifo, syscall.O_WRONLY|syscall.O_NONBLOCK, 0); err != syscall.ENXIO {
		t.Errorf("the pipe has a reader: %v", err)
	}
	got := make([]byte, 20)
	if n, err := reader.Read(got); string(got[:n]) != "all of it" {
		t.Errorf("%q, %v are left in standard input", got[:n], err)
	}
}

func TestAPlanTellsAllProblemsInTheOrderOfARun(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	plan := check(t, supervisor.Config{
		Command: []string{"./no-such-command", "{path:nothing}"}, Workers: 1,
		Data:   []supervisor.Source{{Name: "a", Source: "/no/such/file"}, {Name: "web", Source: file(t, "f", "x")}, {Name: "b", Source: t.TempDir()}},
		Listen: []string{taken.Addr().String(), "127.0.0.1:0", "web=unix:/no/such/dir/s"},
	})
	text := problems(plan)
	last := -1
	for _, want := range []string{
		"4 cannot listen on " + taken.Addr().String() + ": the port is in use",
		"4 cannot listen on unix:/no/such/dir/s: ",
		`2 cannot call a dataset and a listener both "web"`,
		`2 cannot expand {path:nothing} in "{path:nothing}"`,
		"1 cannot start worker 0: exec ./no-such-command: no such file or directory",
		`3 cannot load dataset "a": /no/such/file: no such file or directory`,
		`3 cannot load dataset "b": `,
	} {
		at := strings.Index(text, want)
		if at <= last {
			t.Errorf("not there, or not in its place: %s", want)
		}
		last = max(last, at)
	}
	if len(plan.Problems) != 7 {
		t.Errorf("problems:\n%s", text)
	}
	var bindable []bool
	for _, l := range plan.Listen {
		bindable = append(bindable, *l.Bindable)
	}
	if !slices.Equal(bindable, []bool{false, true, false}) {
		t.Errorf("bindable %v", bindable)
	}
}

// The loader's own check refuses, without reading a byte.
func TestAPlanRefusesWhatIsLargerThanTheMemory(t *testing.T) {
	huge := file(t, "huge", "")
	if err := os.Truncate(huge, 8<<40); err != nil {
		t.Fatal(err)
	}
	plan := check(t, supervisor.Config{Command: sleeper, Workers: 1, Data: []supervisor.Source{{Name: "huge", Source: huge}}})
	if text := problems(plan); !strings.HasPrefix(text, `3 cannot load dataset "huge": needs 8.0 TiB, but only `) ||
		len(plan.Problems) != 1 {
		t.Errorf("problems:\n%s", text)
	}
	if plan.Memory.Needed < 8<<40 || plan.Memory.Needed < *plan.Memory.Available {
		t.Errorf("memory %+v", plan.Memory)
	}
}

func TestAPlanRefusesStandardInputThatIsNone(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	null.Close()
	plan := check(t, supervisor.Config{
		Command: sleeper, Workers: 1, Stdin: null, Data: []supervisor.Source{{Name: "a", Source: "-"}},
	})
	if text := problems(plan); !strings.HasPrefix(text, `3 cannot load dataset "a": standard input: is closed`) {
		t.Errorf("problems:\n%s", text)
	}
}

func TestTwoListenersOnOnePortAreOneProblem(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	plan := check(t, supervisor.Config{
		Command: []string{"sleep", "{port:http2}"}, Workers: 1, Listen: []string{address, address},
	})
	if text := problems(plan); !strings.Contains(text, "give each --listen its own") || len(plan.Problems) != 1 {
		t.Errorf("problems:\n%s", text)
	}
}

func TestAPlanDoesNotTouchARunningFleet(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	config := supervisor.Config{Command: sleeper, Workers: 1, Ready: "alive:10ms", Listen: []string{"127.0.0.1:0", "u=unix:" + socket}}
	f := run(t, config)
	before := f.untilReady(1)
	config.Listen[0] = before.Listen[0].Address
	plan := check(t, config)
	if text := problems(plan); !strings.Contains(text, "the port is in use") || !strings.Contains(text, "another process listens there") {
		t.Errorf("problems:\n%s", text)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the fleet's socket is gone: %v", err)
	}
	if after := f.Snapshot(); *after.Workers[0].PID != *before.Workers[0].PID {
		t.Error("the worker is another one")
	}
	f.Stop()
	if err := f.wait(); err != nil {
		t.Error(err)
	}
}

// Another user cannot look through the supervisor's descriptors.
func TestAPlanForAnotherUserLeadsToTheWorkersOwnDescriptor(t *testing.T) {
	config := supervisor.Config{Command: sleeper, Workers: 1, Data: []supervisor.Source{{Name: "a", Source: file(t, "f", "x")}}}
	if path := check(t, config).Data[0].Path; path != nil {
		t.Errorf("path %s: only the run can tell", *path)
	}
	config.User = &supervisor.User{UID: os.Geteuid() + 1, GID: 7, Name: "somebody"}
	config.Listen = []string{"127.0.0.1:0"}
	plan := check(t, config)
	if path := plan.Data[0].Path; path == nil || *path != "/proc/self/fd/4" {
		t.Errorf("data %+v", plan.Data)
	}
	if want := (supervisor.PlannedUser{UID: os.Geteuid() + 1, GID: 7, Name: "somebody"}); plan.User != want {
		t.Errorf("user %+v", plan.User)
	}
}

func TestAWrongConfigurationHasNoPlan(t *testing.T) {
	plan, err := supervisor.Check(supervisor.Config{Command: sleeper})
	if plan != nil || kindOf(err) != supervisor.KindConfig {
		t.Errorf("%v, %v", plan, err)
	}
}
