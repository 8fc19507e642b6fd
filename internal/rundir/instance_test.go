// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package rundir

// Two instances, and what a killed one leaves: real processes, this test binary again.

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const helperDir = "PREFORKD_TEST_RUNDIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		holdRunDir(dir)
	}
	os.Exit(m.Run())
}

// holdRunDir is the other instance: it opens dir, fills it and waits to be killed or for its standard input to end.
func holdRunDir(dir string) {
	d, err := Open(Options{Name: "other", Given: true, Dir: dir})
	if err == nil {
		err = errors.Join(d.SetLink("emb.v1.npy", "/proc/1/fd/9"), d.SetLink("emb.npy", "emb.v1.npy"))
	}
	if err == nil {
		_, err = net.Listen("unix", filepath.Join(dir, controlName))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("holding")
	bufio.NewReader(os.Stdin).ReadByte()
	if err := d.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// other starts an instance in dir and returns it once it holds it. Closing the pipe ends it in good order.
func other(t *testing.T, dir string) (*exec.Cmd, interface{ Close() error }) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if line != "holding\n" {
		t.Fatalf("the other instance says %q (%v)", line, err)
	}
	return cmd, stdin
}

func TestALiveInstanceKeepsItsDirectoryAndIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	cmd, stdin := other(t, dir)
	_, err := Open(Options{Dir: dir})
	if !errors.Is(err, ErrTaken) || errors.Is(err, ErrUnavailable) {
		t.Fatalf("Open = %v, want ErrTaken", err)
	}
	if want := fmt.Sprintf("process %d runs in %s already", cmd.Process.Pid, dir); !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
	if path, err := Find("", dir); err != nil || path != filepath.Join(dir, "control.sock") {
		t.Errorf("Find = %q, %v", path, err)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there after a clean end: %v", err)
	}
	if _, err := os.Lstat(filepath.Dir(dir)); err != nil {
		t.Errorf("the user's own folder is gone: %v", err)
	}
	if _, err := Find("", dir); !errors.Is(err, ErrNoInstance) {
		t.Errorf("Find after the end = %v, want ErrNoInstance", err)
	}
}

func TestWhatAKilledInstanceLeftIsGoneWhenTheNextHoldsTheLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	cmd, _ := other(t, dir)
	cmd.Process.Kill()
	cmd.Wait()
	if _, err := os.Lstat(filepath.Join(dir, "data", "emb.npy")); err != nil {
		t.Fatalf("the killed instance left nothing to clean: %v", err)
	}
	if _, err := Find("", dir); !errors.Is(err, ErrNoInstance) {
		t.Errorf("Find of a dead instance = %v, want ErrNoInstance", err)
	}
	d, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); got != "data lock" {
		t.Errorf("the next instance finds %q", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); got != "" {
		t.Errorf("after Close there is %q", got)
	}
}

// Instances that come and go in one place never share it, never trip over each other's removal and leave nothing.
func TestOpenAndCloseRaceWithoutSharingOrFailing(t *testing.T) {
	base := t.TempDir()
	held := make(chan struct{}, 1)
	done := make(chan error)
	const racers = 4
	for range racers {
		go func() {
			done <- func() error {
				for opened := 0; opened < 25; {
					d, err := openIn(filepath.Join(base, "preforkd"), Options{Name: "race", Given: true})
					if errors.Is(err, ErrTaken) {
						continue
					}
					if err != nil {
						return err
					}
					opened++
					select {
					case held <- struct{}{}:
					default:
						return errors.New("two instances hold the directory")
					}
					if err := d.SetLink("a", "/proc/1/fd/3"); err != nil {
						return err
					}
					<-held
					if err := d.Close(); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range racers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := tree(t, base); got != "" {
		t.Errorf("left behind: %q", got)
	}
}

func TestADefaultNameThatIsTakenGetsANumber(t *testing.T) {
	base := filepath.Join(t.TempDir(), "preforkd")
	first, err := openIn(base, Options{Name: DefaultName})
	if err != nil {
		t.Fatal(err)
	}
	second, err := openIn(base, Options{Name: DefaultName})
	if err != nil {
		t.Fatal(err)
	}
	if first.Name() != "default" || first.Notice() != "" {
		t.Errorf("first: %q, %q", first.Name(), first.Notice())
	}
	if second.Name() != "default-2" || !strings.Contains(second.Notice(), `this instance is "default-2"`) {
		t.Errorf("second: %q, %q", second.Name(), second.Notice())
	}
	if _, err := openIn(base, Options{Name: DefaultName, Given: true}); !errors.Is(err, ErrTaken) {
		t.Errorf("a given name that is taken: %v, want ErrTaken", err)
	}
	_, err = findIn([]string{base}, "web")
	if !errors.Is(err, ErrNoInstance) || !strings.Contains(err.Error(), "running here: default, default-2") {
		t.Errorf("Find = %v, want ErrNoInstance with the live ones", err)
	}
	socket := filepath.Join(second.Path(), "control.sock")
	if path, err := findIn([]string{base}, "default-2"); err != nil || path != socket {
		t.Errorf("Find = %q, %v", path, err)
	}
	if err := errors.Join(first.Close(), second.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(base); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of all instances is still there: %v", err)
	}
	if _, err = findIn([]string{base}, "web"); err == nil || !strings.Contains(err.Error(), "none is running") {
		t.Errorf("Find = %v", err)
	}
}

// A newcomer may lock a file that its last holder has just removed. It must not take that for the directory's lock.
func TestALockOnARemovedFileCountsForNothing(t *testing.T) {
	dir := t.TempDir()
	leaving := open(t, Options{Dir: dir})
	root, _, err := enter(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	stale, err := root.OpenFile(lockName, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer stale.Close()
	if err := leaving.Close(); err != nil {
		t.Fatal(err)
	}
	if err := setLock(stale); err != nil {
		t.Fatal(err)
	}
	late := &Dir{root: root, path: dir}
	if err := late.current(stale); !errors.Is(err, errVanished) {
		t.Errorf("with no lock file there: %v", err)
	}
	open(t, Options{Dir: dir})
	if err := late.current(stale); !errors.Is(err, errVanished) {
		t.Errorf("with another one there: %v", err)
	}
}
