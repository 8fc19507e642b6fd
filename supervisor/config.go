// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/listen"
	"github.com/preforkd/preforkd/internal/ready"
)

// Config is a fleet to run. A zero field takes the default that its comment names.
type Config struct {
	Name    string // of this instance, for the stats: "default"
	Version string // of the program, for the stats

	Command []string // the worker's command line; its placeholders are those of docs/worker-contract.md
	Dir     string   // the worker's working directory: the supervisor's
	Environ []string // the environment that the workers' is built upon, usually os.Environ()
	Env     []string // NAME=VALUE to add, with placeholders
	User    *User    // whom the workers run as: the supervisor's user

	Workers int      // slots, at least 1
	Data    []Source // datasets
	// HugePages is auto, on or off: whether segments are made of huge pages: auto. LockMemory keeps them in RAM.
	HugePages  string
	LockMemory bool
	Watch      bool     // reload a dataset by itself when its file changes
	Listen     []string // [NAME=]ADDR: host:port, unix:/path, fd://N
	// Inherited are sockets that this process was started with (systemd's LISTEN_FDS); Run takes them over.
	Inherited []Inherited

	Accept     string      // shared or reuseport: shared
	SocketMode os.FileMode // of unix sockets that are made here: by the umask

	Ready        string         // auto, notify, http:PATH, tcp or alive:DURATION: auto
	StartTimeout time.Duration  // 60 s
	StopSignal   syscall.Signal // SIGTERM
	StopTimeout  time.Duration  // 25 s, inside the 30 s of the kubelet
	BackoffMax   time.Duration  // 30 s
	Surge        *int           // processes beyond Workers while replacing, 0: an old worker stops first: 1

	Watchdog    time.Duration // a worker must send WATCHDOG=1 at least this often: no watchdog
	MaxAge      Limit         // nanoseconds since the start
	MaxRequests Limit         // that the worker reports by X_PREFORKD_REQUESTS
	MaxPrivate  Limit         // bytes of anonymous memory

	StatsBudget float64 // share of one core for exact memory figures: 0.01
	HideArgs    bool    // show the command without its arguments in stats

	RunDir RunDir   // where links to the datasets go: none
	Stdin  *os.File // the source "-": os.Stdin
	Stdout *os.File // of the workers: os.Stdout
	// WorkerLog gets the workers' standard error byte for byte. Without it they write to the supervisor's own, and their
	// last words are not known.
	WorkerLog io.Writer
	// Capture returns where the standard output and error of one incarnation go, line by line or as they come; it is
	// closed when both have ended. Without it Stdout and WorkerLog are used.
	Capture func(worker, incarnation int) (stdout, stderr io.WriteCloser)
	Log     *slog.Logger // discarded without it
	// ReapOrphans makes the process a subreaper and reaps what lands on it; the program calls Supervisor.ReapOrphans at
	// each SIGCHLD. Not for programs that start other children: those would be reaped too.
	ReapOrphans bool
}

// Limit is a value at which a worker is replaced, 0 for never. Each worker's own limit is drawn from Value ± Jitter × Value,
// so that workers that started together are not replaced together.
type Limit struct {
	Value  int64
	Jitter float64 // from 0 up to, not including, 1
}

// Source is a dataset to load: a path, "-" for standard input, "cmd:COMMAND" for a command's output, an http or https URL, or
// "direct:PATH". Options are KEY=VALUE, as behind NAME. of --data-opt (docs/data.md).
type Source struct {
	Name, Source string
	Options      []string
}

// User is an identity for workers. Home and Name set HOME, USER and LOGNAME when they are not empty.
type User struct {
	UID, GID   int
	Groups     []int
	Name, Home string
}

// Inherited is a listening socket that was handed to this process, by its descriptor and its LISTEN_FDNAMES name.
type Inherited struct {
	Name string
	FD   int
}

// RunDir is where the links to the datasets are published. Package rundir of this module is one.
type RunDir interface {
	Path() string
	DataPath(link string) string
	SetLink(link, target string) error
	RemoveLink(link string) error
}

// Kind is what an Error is about; its number is the program's exit code.
type Kind int

// The kinds of errors.
const (
	KindFleet  Kind = 1 // the fleet failed
	KindConfig Kind = 2 // the configuration is wrong
	KindData   Kind = 3 // a dataset could not be loaded
	KindListen Kind = 4 // a socket could not be opened
)

// Error is what New and Run fail with. Err's text is for people.
type Error struct {
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func fail(kind Kind, err error) *Error { return &Error{kind, err} }

const (
	quickTimeout = 5 * time.Second
	killEvery    = 5 * time.Second
	backoffMin   = 500 * time.Millisecond
	giveUpAfter  = 5
	rollFailures = 3
	// A slot whose worker had been ready may start ten in quick succession and two a second in the long run: a worker that is
	// killed now and then is replaced at once, one that dies as soon as it serves does not eat a core.
	respawnEvery = 500 * time.Millisecond
	respawnBurst = 10
	pauseAfter   = 500 * time.Millisecond
	noSlot       = -1
	strayPoll    = 50 * time.Millisecond
	// oomRaise makes the OOM killer prefer a worker to the supervisor, which holds the data and costs next to nothing.
	oomRaise = 100
)

// parsed is a Config that New found to be right.
type parsed struct {
	Config
	data    []dataset.Spec
	listen  []listen.Spec
	mode    ready.Mode
	accept  listen.Accept
	baseEnv []string
}

// Validate tells what is wrong with a configuration, every problem, not just the first, without touching the machine. The
// error is an *Error of KindConfig.
func (c Config) Validate() error {
	if _, err := c.parse(); err != nil {
		return err
	}
	return nil
}

// parse checks everything that can be checked without touching the machine. It tells every problem, not just the first.
func (c Config) parse() (*parsed, error) {
	p := &parsed{Config: c}
	p.setDefaults()
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	if len(p.Command) == 0 || p.Command[0] == "" {
		note(errors.New("cannot run without a command: write it behind --, as in preforkd -w 4 -- python app.py"))
	}
	if p.Workers < 1 {
		note(fmt.Errorf("cannot run %d workers: give a number from 1, or auto", p.Workers))
	}
	for _, d := range p.Data {
		spec, err := dataset.ParseSpec(d.Name + "=" + d.Source)
		if err != nil {
			note(err)
			continue
		}
		for _, option := range d.Options {
			if err := dataset.ParseOption(&spec, option); err != nil {
				key, _, _ := strings.Cut(option, "=") // the value may be a secret
				note(fmt.Errorf("cannot use the option %s of dataset %q: %w", key, d.Name, err))
			}
		}
		setDefault(&spec.Options.HugePages, p.HugePages)
		setDefault(&spec.Options.Lock, &p.LockMemory)
		p.data = append(p.data, spec)
	}
	note(dataset.CheckNames(p.data))
	for _, text := range p.Config.Listen {
		spec, err := listen.Parse(text)
		note(err)
		p.listen = append(p.listen, spec)
	}
	note(listen.CheckNames(p.listen))
	for _, kv := range p.Env {
		note(contract.CheckEnv(kv))
	}
	mode, err := ready.ParseMode(p.Ready)
	note(err)
	p.mode = mode
	if p.mode.NeedsListener() && len(p.listen) == 0 && len(p.Inherited) == 0 {
		note(fmt.Errorf("cannot use readiness %q without a listener: add --listen, or use notify or alive:DURATION", p.Ready))
	}
	p.accept, err = listen.ParseAccept(p.Accept)
	note(err)
	switch p.HugePages {
	case "auto", "on", "off":
	default:
		note(fmt.Errorf("cannot use huge pages %q: give auto, on or off", p.HugePages))
	}
	p.checkNumbers(note)
	if len(problems) > 0 {
		return nil, fail(KindConfig, errors.Join(problems...))
	}
	p.baseEnv = contract.BaseEnv(p.Environ)
	if u := p.User; u != nil {
		for _, kv := range [][2]string{{"HOME", u.Home}, {"USER", u.Name}, {"LOGNAME", u.Name}} {
			if kv[1] != "" {
				p.baseEnv = append(p.baseEnv, kv[0]+"="+kv[1])
			}
		}
	}
	return p, nil
}

func (p *parsed) checkNumbers(note func(error)) {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"start timeout", p.StartTimeout},
		{"stop timeout", p.StopTimeout},
		{"longest backoff", p.BackoffMax},
		{"watchdog", p.Watchdog},
	} {
		if d.value < 0 {
			note(fmt.Errorf("cannot use a %s of %v: it must not be negative", d.name, d.value))
		}
	}
	if *p.Surge < 0 {
		note(fmt.Errorf("cannot use a surge of %d: it must not be negative", *p.Surge))
	}
	for _, l := range []struct {
		name  string
		limit Limit
	}{{"age", p.MaxAge}, {"number of requests", p.MaxRequests}, {"private memory", p.MaxPrivate}} {
		if l.limit.Value < 0 || !(l.limit.Jitter >= 0 && l.limit.Jitter < 1) {
			note(fmt.Errorf("cannot use a greatest %s of %d ± %v: give a value from 0 and a jitter from 0 up to 1",
				l.name, l.limit.Value, l.limit.Jitter))
		}
	}
}

func (p *parsed) setDefaults() {
	setDefault(&p.Name, "default")
	setDefault(&p.Accept, "shared")
	setDefault(&p.Ready, "auto")
	setDefault(&p.HugePages, "auto")
	setDefault(&p.StartTimeout, time.Minute)
	setDefault(&p.StopSignal, syscall.SIGTERM)
	setDefault(&p.StopTimeout, 25*time.Second)
	setDefault(&p.BackoffMax, 30*time.Second)
	if p.Surge == nil {
		p.Surge = new(1)
	}
	setDefault(&p.StatsBudget, 0.01)
	setDefault(&p.Stdin, os.Stdin)
	setDefault(&p.Stdout, os.Stdout)
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// rules are the fleet's part of a configuration.
func (p *parsed) rules() fleet.Config {
	return fleet.Config{
		Workers: p.Workers, MaxStarting: maxStarting(), Surge: *p.Surge,
		StartTimeout: p.StartTimeout, StopTimeout: p.StopTimeout, QuickTimeout: min(quickTimeout, p.StopTimeout),
		KillEvery: killEvery, BackoffMin: backoffMin, BackoffMax: p.BackoffMax,
		RespawnEvery: respawnEvery, RespawnBurst: respawnBurst,
		GiveUpAfter: giveUpAfter, RollFailures: rollFailures, Seed: uint64(os.Getpid()),
	}
}

// maxStarting bounds how many workers start at once: more would only make each of them slower.
func maxStarting() int { return max(1, runtime.NumCPU()) }
