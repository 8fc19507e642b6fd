// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host_test

// A real tree: every process in it has one child of its first thread and one of another thread.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

func TestTreeHasEveryDescendantAlsoOfThreadsAndParentsFirst(t *testing.T) {
	const depth, want = 2, 1 + 2 + 4
	news, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer news.Close()
	top := helper("tree", "HOST_TEST_DEPTH="+strconv.Itoa(depth))
	top.ExtraFiles = []*os.File{write}
	stdin, err := top.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := top.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	defer func() {
		stdin.Close() // the end of all of them
		if err := top.Wait(); err != nil {
			t.Error(err)
		}
	}()

	if err := news.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	parents, others := map[int]int{}, 0
	for lines := bufio.NewScanner(news); len(parents) < want; {
		if !lines.Scan() {
			t.Fatalf("%d of %d processes started: %v", len(parents), want, lines.Err())
		}
		var pid, parent, thread int
		if _, err := fmt.Sscan(lines.Text(), &pid, &parent, &thread); err != nil {
			t.Fatal(err)
		}
		parents[pid] = parent
		if thread != parent && pid != top.Process.Pid {
			others++
		}
	}
	if others < want/2 {
		t.Errorf("only %d processes were forked by another thread than the first", others)
	}

	tree := host.Tree("/proc", top.Process.Pid)
	if len(tree) != want || tree[0] != top.Process.Pid {
		t.Errorf("got %v, want the %d of %v, %d first", tree, want, parents, top.Process.Pid)
	}
	for i, pid := range tree[1:] {
		if parent, ok := parents[pid]; !ok || !slices.Contains(tree[:i+1], parent) {
			t.Errorf("%d of %v is not after its parent %d", pid, tree, parent)
		}
	}
}

// helpTree starts two trees that are less deep by one, tells descriptor 3 "PID PARENT THREAD-THAT-FORKED-IT" and ends
// with its standard input.
func helpTree() error {
	depth, err := strconv.Atoi(os.Getenv("HOST_TEST_DEPTH"))
	if err != nil {
		return err
	}
	news := os.NewFile(3, "news")
	_, err = fmt.Fprintln(news, os.Getpid(), os.Getppid(), os.Getenv("HOST_TEST_THREAD"), "0")
	if err != nil || depth == 0 {
		return errors.Join(err, untilEOF())
	}
	start := func(done chan<- error) {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine, that is with its child
		child := helper("tree", fmt.Sprint("HOST_TEST_DEPTH=", depth-1), fmt.Sprint("HOST_TEST_THREAD=", unix.Gettid()))
		child.Stdin, child.ExtraFiles = os.Stdin, []*os.File{news}
		done <- child.Run()
	}
	first, second := make(chan error, 1), make(chan error, 1)
	go start(second)
	start(first)
	return errors.Join(<-first, <-second)
}

func untilEOF() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func TestTreeOfNoProcessIsNil(t *testing.T) {
	const above = 1<<22 + 1 // PID_MAX_LIMIT is 1<<22
	if tree := host.Tree("/proc", above); tree != nil {
		t.Errorf("got %v", tree)
	}
}

func TestChildrenOfAProcessThatIsNotThereAreAnError(t *testing.T) {
	if found, err := host.Children(t.TempDir(), 1); err == nil || found != nil {
		t.Errorf("children = %v, %v", found, err)
	}
	if tree := host.Tree(t.TempDir(), 1); tree != nil {
		t.Errorf("tree = %v", tree)
	}
}
