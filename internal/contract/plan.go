// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"strconv"
	"strings"
	"time"
)

// firstFD is the descriptor of the first listening socket (SD_LISTEN_FDS_START of sd_listen_fds(3)).
const firstFD = 3

// Socket is one listening socket as the worker sees it. Port is 0 for a unix socket.
type Socket struct {
	Name string
	Port int
}

// Dataset is one version of a dataset as it is handed to a worker. Size and Offset are bytes.
type Dataset struct {
	Name    string
	Version int
	Size    int64
	Ino     uint64 // inode of the segment; 0 for a direct dataset
	SHA256  string // empty while nobody has reckoned it
	Format  string
	DType   string
	Shape   []int64
	Order   string
	Offset  int64
	Members []Member // the arrays of a container
	Schema  []Field  // the columns of a table
	Direct  bool     // the path is the source's own, its content is not sealed
}

// Member is an array inside a dataset: Size bytes from Offset of the content.
type Member struct {
	Name, DType  string
	Shape        []int64 // none: a scalar
	Order        string
	Offset, Size int64
}

// Field is a column.
type Field struct {
	Name, Type string
	Nullable   bool
}

// Plan is all that decides a worker's command line and environment, except what only the worker itself can know: its
// pid and the paths that can be opened there. Its fields survive JSON: the plan travels to the exec stage.
type Plan struct {
	Command Strings // with placeholders
	Base    Strings // the environment to build upon, see BaseEnv
	Env     Strings // --env K=V, with placeholders

	Sockets []Socket
	Data    []Dataset

	Worker      int // slot
	Workers     int
	Incarnation int

	NotifySocket string        // value of NOTIFY_SOCKET, empty for none
	Watchdog     time.Duration // how often the worker must say WATCHDOG=1 there, 0 for never
	RunDir       string        // value of PREFORKD_RUN_DIR, empty for none; UTF-8, since PREFORKD_DATA holds paths below it
}

// SocketFD is the descriptor of the i-th listening socket in every worker.
func (p *Plan) SocketFD(i int) int { return firstFD + i }

// DataFD is the descriptor of the i-th dataset in every worker.
func (p *Plan) DataFD(i int) int { return firstFD + len(p.Sockets) + i }

// Environ returns the worker's environment. paths has one entry for each dataset; pid is the worker's own.
//
// Later sources win: Base, then Env, then the contract itself, so that no stray variable can lie to a worker about its
// descriptors.
func (p *Plan) Environ(pid int, paths []string) ([]string, error) {
	env := newEnviron(p.Base)
	for _, kv := range p.Env {
		key, value, _ := strings.Cut(kv, "=")
		expanded, err := p.expand(value, paths)
		if err != nil {
			return nil, err
		}
		env.set(key, expanded)
	}
	if len(p.Sockets) > 0 {
		names := make([]string, len(p.Sockets))
		for i, s := range p.Sockets {
			names[i] = s.Name
		}
		env.set("LISTEN_FDS", strconv.Itoa(len(p.Sockets)))
		env.set("LISTEN_PID", strconv.Itoa(pid))
		env.set("LISTEN_FDNAMES", strings.Join(names, ":"))
	}
	if p.NotifySocket != "" {
		env.set("NOTIFY_SOCKET", p.NotifySocket)
	}
	if p.Watchdog > 0 {
		env.set("WATCHDOG_USEC", strconv.FormatInt(p.Watchdog.Microseconds(), 10))
		env.set("WATCHDOG_PID", strconv.Itoa(pid))
	}
	env.set("PREFORKD_WORKER_ID", strconv.Itoa(p.Worker))
	env.set("PREFORKD_WORKERS", strconv.Itoa(p.Workers))
	env.set("PREFORKD_INCARNATION", strconv.Itoa(p.Incarnation))
	if p.RunDir != "" {
		env.set("PREFORKD_RUN_DIR", p.RunDir)
	}
	for i, d := range p.Data {
		v := "PREFORKD_DATA_" + Variable(d.Name)
		env.set(v, paths[i])
		env.set(v+"_FD", strconv.Itoa(p.DataFD(i)))
		env.set(v+"_SIZE", strconv.FormatInt(d.Size, 10))
	}
	manifest, err := p.manifest(paths)
	if err != nil {
		return nil, err
	}
	env.set("PREFORKD_DATA", manifest)
	return env.list, nil
}

// Args returns the worker's command line with its placeholders expanded.
func (p *Plan) Args(paths []string) ([]string, error) {
	args := make([]string, len(p.Command))
	for i, arg := range p.Command {
		expanded, err := p.expand(arg, paths)
		if err != nil {
			return nil, err
		}
		args[i] = expanded
	}
	return args, nil
}
