// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// The whole program on a real pseudo-terminal: however it ends, the terminal is as it was.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/supervisor"
)

// terminal is a pseudo-terminal that nobody answers for.
type terminal struct {
	t         *testing.T
	ptmx, tty *os.File
	before    unix.Termios
	mu        sync.Mutex
	output    bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	number := 0
	on(t, ptmx, func(fd int) (err error) {
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			return err
		}
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	})
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	o := &terminal{t: t, ptmx: ptmx, tty: tty}
	o.before = o.settings()
	read := make(chan struct{})
	go func() {
		defer close(read)
		block := make([]byte, 4096)
		for {
			n, err := ptmx.Read(block)
			if err != nil {
				return
			}
			o.mu.Lock()
			o.output.Write(block[:n])
			o.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		ptmx.Close()
		<-read
		tty.Close()
	})
	return o
}

// on calls do with a descriptor that stays what it is: Fd would make it blocking.
func on(t *testing.T, file *os.File, do func(fd int) error) {
	t.Helper()
	conn, err := file.SyscallConn()
	var failed error
	if err == nil {
		err = conn.Control(func(fd uintptr) { failed = do(int(fd)) })
	}
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

func (o *terminal) settings() (termios unix.Termios) {
	o.t.Helper()
	on(o.t, o.tty, func(fd int) error {
		got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			termios = *got
		}
		return err
	})
	return termios
}

func (o *terminal) wrote(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(o.output.String(), text)
}

func (o *terminal) until(what string, fact func() bool) {
	o.t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(30 * time.Second); !fact(); <-poll.C {
		if time.Now().After(deadline) {
			o.t.Fatalf("not in time: %s", what)
		}
	}
}

// restored looks whether everything that was set on the terminal was reset.
func (o *terminal) restored() {
	o.t.Helper()
	if after := o.settings(); after != o.before {
		o.t.Errorf("the settings are\n%+v\nand were\n%+v", after, o.before)
	}
	for _, mode := range []string{"?1049", "?2004"} {
		o.until(mode+" is reset", func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			set, reset := strings.LastIndex(o.output.String(), mode+"h"), strings.LastIndex(o.output.String(), mode+"l")
			return set >= 0 && reset > set
		})
	}
	o.until("the cursor is shown", func() bool { return o.wrote("\x1b[?25h") })
}

// mistaken is an Instance that is good for panics.
type mistaken struct {
	fake
	how atomic.Value // of string
}

func (i *mistaken) Stats(ctx context.Context) (*supervisor.Snapshot, []byte, error) {
	switch i.how.Load() {
	case "panic":
		panic("a panic")
	case "nothing":
		return nil, nil, nil
	}
	return i.fake.Stats(ctx)
}

func TestTheTerminalIsRestoredHoweverItEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*terminal, context.CancelFunc, *mistaken)
		want string // of the error; "": none
	}{
		"by q":                                {func(o *terminal, _ context.CancelFunc, _ *mistaken) { o.ptmx.WriteString("q") }, ""},
		"by Ctrl-C":                           {func(o *terminal, _ context.CancelFunc, _ *mistaken) { o.ptmx.WriteString("\x03") }, ""},
		"by a signal, which ends the context": {func(_ *terminal, cancel context.CancelFunc, _ *mistaken) { cancel() }, ""},
		"by a panic of a command":             {func(_ *terminal, _ context.CancelFunc, i *mistaken) { i.how.Store("panic") }, "preforkd top: a panic"},
		"by a panic of the model":             {func(_ *terminal, _ context.CancelFunc, i *mistaken) { i.how.Store("nothing") }, "nil pointer"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newTerminal(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			instance := &mistaken{fake: fake{view: crowd(3)}}
			result := make(chan error, 1)
			go func() {
				result <- Run(ctx, Options{
					Instance: instance, Input: o.tty, Output: o.tty, Environment: []string{"TERM=xterm-256color"},
					Interval: 20 * time.Millisecond, Color: true,
				})
			}()
			o.until("the first screen", func() bool { return o.wrote("5000") })
			if o.settings() == o.before {
				t.Error("the terminal is not raw: the test would prove nothing")
			}
			c.end(o, cancel, instance)
			select {
			case err := <-result:
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it did not end")
			}
			o.restored()
		})
	}
}

func TestAPanicWhileTheScreenIsDrawnEndsWithTheNextMessage(t *testing.T) {
	g := &guarded{model: open(t, crowd(1), 80, 24, false).model}
	g.sort = len(columns())
	if view := g.View(); view.Content != "" || !view.AltScreen {
		t.Errorf("%+v is shown", view)
	}
	_, cmd := g.Update(tickMsg{})
	if _, ok := cmd().(tea.QuitMsg); !ok || !strings.Contains(g.mistake.Error(), "out of range") {
		t.Errorf("it goes on after %v", g.mistake)
	}
}

// Importing them looks at standard output and runs tmux before main, in the exec stage of each worker too.
func TestNoLibraryThatActsOnImportIsLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../../../cmd/preforkd").Output()
	if err != nil {
		t.Skipf("needs a Go toolchain that this user may run: %v", err)
	}
	if !strings.Contains(string(out), "charm.land/bubbletea/v2") {
		t.Fatal("bubbletea is not linked: the test would prove nothing")
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "charm.land/lipgloss") || strings.HasPrefix(line, "charm.land/bubbles") {
			t.Errorf("%s is linked", strings.TrimSpace(line))
		}
	}
}
