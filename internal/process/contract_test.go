// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// What a worker is started with, seen from outside on programs that change nothing of it.

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

// stray opens something that the next program would inherit, under the lowest free number from least on.
func stray(t *testing.T, least int) int {
	t.Helper()
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	fd, err := unix.FcntlInt(uintptr(null), unix.F_DUPFD, least)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// file makes a file with text and opens it once more for a worker.
func file(t *testing.T, path, text string) int {
	t.Helper()
	write(t, 0o444, path, text)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func socket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestAWorkerHasTheDescriptorsOfTheContractAndNoOther(t *testing.T) {
	stray(t, 3)
	stray(t, 40)
	stray(t, 900)
	dir := temp(t)
	spec := command("sleep", "60")
	spec.Plan.Sockets = []contract.Socket{{Name: "http", Port: 80}, {Name: "web", Port: 81}}
	spec.Sockets = []int{socket(t), socket(t)}
	spec.Plan.Data = []contract.Dataset{{Name: "a"}, {Name: "b"}}
	spec.Data = []DataFile{{FD: file(t, dir+"/a", "A")}, {FD: file(t, dir+"/b", "B")}}
	inode := func(fd int) string {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	p := spawned(t, spec)
	own := descriptors(p.PID)
	eventually(t, "the worker has opened what it needs itself and waits", func() bool {
		own = descriptors(p.PID)
		return len(own) <= 7
	})
	own = slices.DeleteFunc(own, func(fd string) bool { return strings.HasPrefix(fd, "1 pipe:") || strings.HasPrefix(fd, "2 pipe:") })
	want := []string{
		"0 /dev/null",
		"3 " + inode(spec.Sockets[0]), "4 " + inode(spec.Sockets[1]), "5 " + dir + "/a", "6 " + dir + "/b",
	}
	if !slices.Equal(own, want) {
		t.Errorf("the worker has %q, want %q besides its standard output and error", own, want)
	}
	for fd := range 7 {
		flags := fdinfo(t, p.PID, fd, "flags")
		if n, err := strconv.ParseInt(flags, 8, 64); err != nil || n&unix.O_CLOEXEC != 0 ||
			(fd == 0 || fd >= 5) && n&unix.O_ACCMODE != unix.O_RDONLY {
			t.Errorf("descriptor %d has flags %s: want it kept at exec, and only readable if it is input", fd, flags)
		}
	}
}

func fdinfo(t *testing.T, pid, fd int, field string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	return statusField(t, string(text), field)
}

func TestEachWorkerReadsADatasetFromItsBeginning(t *testing.T) {
	path := temp(t) + "/data"
	write(t, 0o444, path, "all of it")
	for range 2 {
		spec := command("sh", "-c", "cat <&3")
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		spec.Plan.Data = []contract.Dataset{{Name: "data"}}
		spec.Data = []DataFile{{FD: fd, Paths: []string{path}}}
		p := start(t, spec)
		unix.Close(fd) // the caller's own, not needed once Start has returned
		if text := p.text(t); text != "all of it" {
			t.Errorf("the worker read %q", text)
		}
	}
}

func TestArgumentsAndEnvironmentAreWhatTheContractSays(t *testing.T) {
	spec := command("sleep", "60")
	// Bytes that are no UTF-8 arrive as they are.
	spec.Plan.Base = append(spec.Plan.Base, "LATIN1=caf\xe9", "EMPTY=", "LINES=a\nb")
	spec.Plan.Env = []string{"WHICH={worker} of {workers} {fd:http} \xff"}
	spec.Plan.Worker, spec.Plan.Workers, spec.Plan.Incarnation = 2, 8, 5
	spec.Plan.Sockets = []contract.Socket{{Name: "http", Port: 8000}}
	spec.Sockets = []int{socket(t)}
	spec.Plan.RunDir, spec.Plan.NotifySocket = "/run/x", "@x"
	p := spawned(t, spec)
	want, err := spec.Plan.Environ(p.PID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(want, "LISTEN_PID="+strconv.Itoa(p.PID)) || !slices.Contains(want, "WHICH=2 of 8 3 \xff") {
		t.Fatalf("the contract itself is %q", want)
	}
	if have := list(t, p.PID, "environ"); !slices.Equal(have, want) {
		t.Errorf("the environment is %q\nwant %q", have, want)
	}
	if have := list(t, p.PID, "cmdline"); !slices.Equal(have, []string{"sleep", "60"}) {
		t.Errorf("the command line is %q", have)
	}
}

func TestArgumentsThatAreNoUTF8ArriveAsTheyAre(t *testing.T) {
	p := start(t, command("printf", "%s", "caf\xe9 {worker}"))
	if text := p.text(t); text != "caf\xe9 0" {
		t.Errorf("the argument became %q", text)
	}
}

func TestAWorkerLeadsAGroupOfItsOwn(t *testing.T) {
	p := spawned(t, command("sleep", "60"))
	group, err := unix.Getpgid(p.PID)
	if err != nil || group != p.PID {
		t.Errorf("worker %d is in group %d: %v", p.PID, group, err)
	}
	if session, err := unix.Getsid(p.PID); err != nil || session == p.PID {
		t.Errorf("worker %d has session %d: %v; want the parent's", p.PID, session, err)
	}
}

func TestDirectoryAndOOMScoreAreSet(t *testing.T) {
	spec := command("sh", "-c", "pwd; cat /proc/self/oom_score_adj")
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(own)))
	if err != nil {
		t.Fatal(err)
	}
	raised := min(1000, n+10)
	spec.OOMScoreAdj = &raised
	spec.Dir = temp(t) + "/caf\xe9"
	if err := os.Mkdir(spec.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if text, want := start(t, spec).text(t), fmt.Sprintf("%s\n%d\n", spec.Dir, raised); text != want {
		t.Errorf("the worker says %q, want %q", text, want)
	}
}

// helpDeaf becomes helpLimits as a careless parent would start it: signals blocked and ignored, few descriptors.
func helpDeaf() error {
	runtime.LockOSThread() // the mask is this thread's, and so are the signals that execve keeps
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGUSR1, unix.SIGTSTP, unix.SIGTTOU)
	var blocked unix.Sigset_t
	blocked.Val[0] = 1<<(unix.SIGTERM-1) | 1<<(unix.SIGUSR2-1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, nil); err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = 321
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", []string{"limits"}, helperEnv("limits"))
}

// helpLimits starts a worker that prints its own state, after this process's.
func helpLimits() error {
	own, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", own)
	spec := command("cat", "/proc/self/status", "/proc/self/limits")
	spec.Stdout, spec.Stderr = 1, 2
	return runOne(spec)
}

// runOne runs a worker to its end, which must be a good one.
func runOne(spec *Spec) error {
	events := make(chan Event, 8)
	var p *Process
	var err error
	onThread(func() { p, err = Start(spec, func(e Event) { events <- e }) })
	if err != nil {
		return err
	}
	<-p.Gone()
	if e := <-events; e != (Spawned{}) {
		return fmt.Errorf("the first event is %#v", e)
	}
	if e := <-events; e != (Exited{}) {
		return fmt.Errorf("the second event is %#v", e)
	}
	return nil
}

func TestSignalsAndTheLimitOfDescriptorsAreThoseOfAFreshProcess(t *testing.T) {
	usedHelpers.Store("limits", true)
	own, worker, _ := strings.Cut(output(t, helper(t, "deaf")), "\n\n")
	for _, field := range []string{"SigBlk", "SigIgn", "SigPnd", "ShdPnd", "SigCgt"} {
		if set := statusField(t, worker, field); strings.Trim(set, "0") != "" {
			t.Errorf("%s of the worker is %s, want none", field, set)
		}
	}
	const want = "Max open files            321 "
	if strings.Contains(own, want) {
		t.Errorf("the Go runtime did not raise the limit of the parent, which is what this test is about:\n%s", own)
	}
	if !strings.Contains(worker, want) {
		t.Errorf("the worker's limits are not those that its parent was started with:\n%s", worker)
	}
}
