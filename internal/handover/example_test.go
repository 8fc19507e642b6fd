// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package handover

// A service that speaks the protocol by itself as a real worker, with this test in the place of preforkd; and the same protocol
// in the docs.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/ready"
)

const example = "../../test/testdata/in_place.py"

// findPython is the Python of the virtual environment with test/requirements.txt.
func findPython(t *testing.T) string {
	t.Helper()
	venv := os.Getenv("PREFORKD_TEST_VENV")
	if venv == "" {
		venv = "../../.venv"
	}
	python, err := filepath.Abs(filepath.Join(venv, "bin", "python"))
	if err = errors.Join(err, unix.Access(python, unix.X_OK)); err != nil {
		if os.Getenv("PREFORKD_TEST_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return python
}

// npy is an array of float64 with rows of two columns, or with one dimension.
func npy(dimensions int, value float64) string {
	const rows = 1000
	shape := map[int]string{1: "(2000,)", 2: "(1000, 2)"}[dimensions]
	header := fmt.Sprintf("{'descr': '<f8', 'fortran_order': False, 'shape': %s, }", shape)
	header += strings.Repeat(" ", 128-10-1-len(header)) + "\n"
	var text bytes.Buffer
	text.WriteString("\x93NUMPY\x01\x00")
	text.Write([]byte{byte(len(header)), 0})
	text.WriteString(header)
	for range rows * 2 {
		bits := make([]byte, 8)
		for i, b := 0, uint64(0x3ff0000000000000); i < 8; i++ { // 1.0
			bits[i] = byte(b >> (8 * i))
		}
		if value == 0 {
			clear(bits)
		}
		text.Write(bits)
	}
	return text.String()
}

// service is the example as a process.
type service struct {
	pid      int
	address  string
	channel  *Channel
	first    *os.File // its version 1
	ended    chan struct{}
	log      string
	dataFD   int
	requests http.Client
}

func serve(t *testing.T) *service {
	t.Helper()
	python := findPython(t)
	s := &service{
		ended: make(chan struct{}), log: filepath.Join(t.TempDir(), "log"), first: segment(t, npy(2, 1)), dataFD: 4,
		requests: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience},
	}
	notifier, err := ready.Listen(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	registered, ran := make(chan ready.Registration, 10), make(chan error, 1)
	go func() {
		ran <- notifier.Run(func(m ready.Message) {
			for _, r := range m.Registrations {
				registered <- r
			}
		})
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s.address = listener.Addr().String()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	script, err := filepath.Abs(example)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, script)
	cmd.ExtraFiles = []*os.File{socket, s.first}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notifier.Addr(), "PREFORKD_DATA="+fmt.Sprintf(`{"emb": %s}`, s.entry(1)),
		"PYTHONDONTWRITEBYTECODE=1", "OPENBLAS_NUM_THREADS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.kill()
		if err := errors.Join(notifier.Close(), <-ran); err != nil {
			t.Error(err)
		}
	})
	select {
	case r := <-registered:
		if r.PID != s.pid || len(r.Takes) != 1 || r.Takes[0] != "emb" {
			t.Errorf("%+v", r)
		}
		if s.channel, err = New(r.Socket); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.channel.Close() })
	case <-s.ended:
		t.Fatalf("it ended:\n%s", s.output())
	case <-time.After(patience):
		t.Fatalf("it did not register:\n%s", s.output())
	}
	return s
}

func (s *service) kill() {
	_ = unix.Kill(-s.pid, unix.SIGKILL)
	<-s.ended
}

func (s *service) output() string {
	text, _ := os.ReadFile(s.log)
	return string(text)
}

func (s *service) entry(version int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"fd": %d, "path": "/nowhere", "version": %d}`, s.dataFD, version))
}

func (s *service) offer(t *testing.T, version int, content string) Offer {
	return Offer{
		Number: version, Names: []string{"emb"}, Files: []*os.File{segment(t, content)},
		Manifest: map[string]json.RawMessage{"emb": s.entry(version)},
	}
}

type row struct {
	PID, Version int
	Row          []float64
}

func (s *service) ask() (r row, err error) {
	response, err := s.requests.Get("http://" + s.address + "/999")
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}

func (s *service) serves(t *testing.T, version int, value float64) {
	t.Helper()
	r, err := s.ask()
	if err != nil || r.PID != s.pid || r.Version != version || len(r.Row) != 2 || r.Row[0] != value || r.Row[1] != value {
		t.Errorf("%+v, %v, want version %d with %v:\n%s", r, err, version, value, s.output())
	}
}

// has tells how often a segment is open or mapped there.
func (s *service) has(t *testing.T, f *os.File) (count int) {
	t.Helper()
	var want unix.Stat_t
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &want) }); err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		var got unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/fd/%s", s.pid, fd.Name()), &got) == nil && got.Dev == want.Dev && got.Ino == want.Ino {
			count++
		}
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if fields := strings.Fields(line); fields[4] == fmt.Sprint(want.Ino) && strings.Contains(line, "memfd:") {
			count++
		}
	}
	return count
}

func TestTheExampleTakesNewVersionsWhileItServes(t *testing.T) {
	s := serve(t)
	s.serves(t, 1, 1)

	var load sync.WaitGroup
	stop := make(chan struct{})
	load.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if r, err := s.ask(); err != nil || r.PID != s.pid || len(r.Row) != 2 || r.Row[0] != float64(r.Version%2) {
				t.Errorf("under load: %+v, %v", r, err)
				return
			}
		}
	})
	old := s.first
	for version := 2; version <= 20; version++ {
		o := s.offer(t, version, npy(2, float64(version%2)))
		if err := s.channel.Give(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if s.has(t, o.Files[0]) < 2 {
			t.Errorf("version %d: it is not both open and mapped", version)
		}
		until(t, "rid of the version before", func() bool { return s.has(t, old) == 0 })
		old = o.Files[0]
	}
	close(stop)
	load.Wait()
	s.serves(t, 20, 0)

	var refused *Refused
	err := s.channel.Give(t.Context(), s.offer(t, 21, npy(1, 1)))
	if !errors.As(err, &refused) || refused.Text != "ValueError('version 21 has 1 dimensions, not 2')" {
		t.Errorf("%v", err)
	}
	s.serves(t, 20, 0)

	s.kill()
	wait(t, "gone", s.channel.Gone())
}

func TestTheDocsShowTheProtocolInFortyLines(t *testing.T) {
	code, err1 := os.ReadFile(example)
	docs, err2 := os.ReadFile("../../docs/in-place.md")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	take := regexp.MustCompile(`(?s)\ndef take\(.*?daemon=True\).start\(\)\n`).FindString(string(code))
	if lines := strings.Count(strings.TrimSpace(take), "\n") + 1; lines < 10 || lines > 40 {
		t.Errorf("%d lines", lines)
	}
	if !strings.Contains(string(docs), strings.TrimSpace(take)) {
		t.Error("docs/in-place.md does not have the function as it is in " + example)
	}
}
