// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// The death of the supervisor: no worker outlives it, whatever it was doing.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const fleetSize = 8

// helpParent is a supervisor: a thread that stays forks, while other threads come and go. It says so when all run.
func helpParent() error {
	var credential *Credential
	if uid := os.Getenv("PROCESS_TEST_UID"); uid != "" {
		n, err := strconv.Atoi(uid)
		if err != nil {
			return err
		}
		credential = &Credential{UID: n, GID: n}
	}
	events := make(chan Event, 8*fleetSize)
	for range fleetSize {
		stir()
		spec := command("sleep", "600")
		spec.Stdout, spec.Stderr, spec.Credential = 1, 2, credential
		var err error
		onThread(func() { _, err = Start(spec, func(e Event) { events <- e }) })
		if err != nil {
			return err
		}
	}
	stir()
	for range fleetSize {
		if e := <-events; e != (Spawned{}) {
			return fmt.Errorf("the event %#v", e)
		}
	}
	stir()
	select {
	case e := <-events:
		return fmt.Errorf("a worker ended with a thread that is not its parent: %#v", e)
	default:
	}
	fmt.Println("running")
	select {}
}

// stir has goroutines move about and threads end: a goroutine that ends while it is locked takes its thread along.
func stir() {
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			runtime.LockOSThread()
			runtime.Gosched()
		})
	}
	all.Wait()
}

func TestNoWorkerOutlivesASupervisorThatIsKilled(t *testing.T) {
	for _, uid := range []string{"", strconv.Itoa(nobody)} {
		t.Run("uid "+uid, func(t *testing.T) {
			if uid != "" {
				needRoot(t)
			}
			cmd := helper(t, "parent")
			cmd.Env = append(cmd.Env, "PROCESS_TEST_UID="+uid)
			out := begin(t, cmd)
			if line, err := bufio.NewReaderSize(out, 16).ReadString('\n'); line != "running\n" {
				t.Fatalf("it says %q: %v", line, err)
			}
			if n := holders(t, out); n != fleetSize+1 {
				t.Errorf("%d processes hold the pipe, want the supervisor and %d workers", n, fleetSize)
			}
			end(t, cmd, out)
		})
	}
}

// helpForking starts workers until it is killed.
func helpForking() error {
	var err error
	for err == nil {
		spec := command("sleep", "600")
		spec.Stdout, spec.Stderr = 1, 2
		onThread(func() {
			for range 4 {
				if _, err = Start(spec, func(Event) {}); err != nil {
					return
				}
			}
			fmt.Print(".")
		})
	}
	return err
}

func TestNoExecStageOutlivesASupervisorThatIsKilled(t *testing.T) {
	for i := range killRounds {
		cmd := helper(t, "forking")
		out := begin(t, cmd)
		// From one to five dots on: that many stages are on their way, each at another place.
		if _, err := io.ReadFull(out, make([]byte, 1+i%5)); err != nil {
			t.Fatal(err)
		}
		end(t, cmd, out)
	}
}

// begin starts a supervisor and returns the pipe that it and all its workers have as their standard output.
func begin(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return r
}

// end kills a supervisor. The pipe ends when the last process that has it has ended.
func end(t *testing.T, cmd *exec.Cmd, out *os.File) {
	t.Helper()
	_ = cmd.Process.Signal(unix.SIGKILL)
	_ = cmd.Wait()
	_ = out.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Errorf("%d processes have outlived their supervisor: %v", holders(t, out), err)
	}
}

// holders counts the processes that have the pipe as their standard output.
func holders(t *testing.T, pipe *os.File) int {
	t.Helper()
	var st unix.Stat_t
	raw, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); err != nil {
		t.Fatal(err)
	}
	outputs, err := filepath.Glob("/proc/[0-9]*/fd/1")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, output := range outputs {
		if link, err := os.Readlink(output); err == nil && link == fmt.Sprintf("pipe:[%d]", st.Ino) {
			n++
		}
	}
	return n
}
