// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// A terminal for programs that fill a screen: a real pseudo-terminal, behind it what a terminal makes of what comes.

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// console is a terminal with a preforkd in front of it.
type console struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}
	ptmx  *os.File     // its side
	tty   *os.File     // the other one, kept open to look at its settings
	fresh unix.Termios // the settings before

	mu     sync.Mutex
	screen emulator
	raw    bytes.Buffer // all that came
}

// onTerminal runs preforkd with these words for this fleet on a terminal of that size.
func (f *fleet) onTerminal(columns, rows int, env []string, words ...string) *console {
	f.t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	c := &console{t: f.t, ptmx: ptmx, ended: make(chan struct{}), screen: newEmulator(columns, rows)}
	number := -1
	c.control(ptmx, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if c.tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		f.t.Fatal(err)
	}
	c.size(columns, rows)
	c.fresh = c.settings()
	c.cmd = exec.Command(preforkd, slices.Concat(words[:1], []string{"--run-dir", f.run}, words[1:])...)
	c.cmd.Dir = f.dir
	c.cmd.Env = slices.Concat(os.Environ(), []string{"HOME=" + f.dir, "TERM=xterm-256color", "NO_COLOR=", "TMUX="}, env)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = c.tty, c.tty, c.tty
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		block := make([]byte, 32<<10)
		for {
			n, err := c.ptmx.Read(block)
			if err != nil {
				return
			}
			c.mu.Lock()
			c.raw.Write(block[:n])
			answer := c.screen.write(block[:n])
			c.mu.Unlock()
			_, _ = c.ptmx.Write(answer)
		}
	}()
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	f.t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.ended
		c.tty.Close()
		c.ptmx.Close()
		<-read
		if f.t.Failed() {
			f.t.Logf("the terminal at the end:\n%s", c.text())
		}
	})
	return c
}

func (c *console) control(file *os.File, do func(fd int) error) {
	c.t.Helper()
	conn, err := file.SyscallConn()
	var failed error
	if err == nil {
		err = conn.Control(func(fd uintptr) { failed = do(int(fd)) })
	}
	if err != nil || failed != nil {
		c.t.Fatal(err, failed)
	}
}

// size makes the terminal so large, as a user who drags its corner.
func (c *console) size(columns, rows int) {
	c.t.Helper()
	c.mu.Lock()
	c.screen.resize(columns, rows)
	c.mu.Unlock()
	c.control(c.ptmx, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)})
	})
}

// settings are those of the terminal, as `stty -a` shows them.
func (c *console) settings() (termios unix.Termios) {
	c.t.Helper()
	c.control(c.tty, func(fd int) error {
		got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			termios = *got
		}
		return err
	})
	return termios
}

// picture keeps what can be seen among the artifacts, beside the screenshots of the dashboard.
func (c *console) picture(name string) {
	c.t.Helper()
	var text string
	c.shows("a whole frame", func(screen string) bool { text = screen; return strings.TrimSpace(screen) != "" })
	if err := keep(c.t, name+".txt", []byte(text+"\n")); err != nil {
		c.t.Errorf("cannot keep a picture of the terminal: %v", err)
	}
}

// press types keys.
func (c *console) press(keys string) {
	c.t.Helper()
	if _, err := c.ptmx.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// text is what can be seen.
func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.screen.String()
}

// frame is text, and whether it is a whole frame: what is drawn in mode 2026 appears at its end.
func (c *console) frame() (screen string, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.screen.String(), !c.screen.modes["2026"]
}

// output is all that came, as it came.
func (c *console) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw.String()
}

// shows waits until the screen has come to show a fact, and returns it.
func (c *console) shows(what string, fact func(screen string) bool) (screen string) {
	c.t.Helper()
	within(c.t, patience, "on the screen: "+what, func() bool {
		var whole bool
		screen, whole = c.frame()
		return whole && fact(screen)
	})
	return screen
}

// has is shows for a text.
func (c *console) has(text string) string {
	c.t.Helper()
	return c.shows(text, func(screen string) bool { return strings.Contains(screen, text) })
}

// quits waits for the end of the program and looks whether the terminal is as it was.
func (c *console) quits(code int) {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.t.Fatal("preforkd did not end")
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Errorf("%v, want exit code %d", c.cmd.ProcessState, code)
	}
	if after := c.settings(); after != c.fresh {
		c.t.Errorf("the terminal's settings are\n%+v\nand were\n%+v", after, c.fresh)
	}
	within(c.t, patience, "the screen from before", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !c.screen.alternate && len(c.screen.modes) == 0
	})
}
