// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// What Run would do, told without doing it.

import (
	"fmt"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/listen"
	"github.com/preforkd/preforkd/internal/process"
)

// Plan is what Run would do with a configuration on this machine at this moment, in the JSON of `preforkd check --json`.
// Sizes are bytes; a pointer that is nil is a value that only the run can tell.
type Plan struct {
	Name       string            `json:"name"`
	Command    []string          `json:"command"`
	Executable *string           `json:"executable"` // what the command's first word leads to
	Dir        string            `json:"dir"`        // the workers' working directory; empty: the supervisor's
	User       PlannedUser       `json:"user"`
	Workers    int               `json:"workers"`
	Surge      int               `json:"surge"`
	Ready      string            `json:"ready"`
	RunDir     *string           `json:"run_dir"`
	Data       []PlannedData     `json:"data"`
	Listen     []PlannedListener `json:"listen"`
	Watch      bool              `json:"watch"`
	Memory     PlannedMemory     `json:"memory"`
	HugePages  PlannedHugePages  `json:"huge_pages"`
	LockMemory PlannedLock       `json:"lock_memory"`
	Files      PlannedFiles      `json:"files"`
	Warnings   []string          `json:"warnings"`
	Problems   []Problem         `json:"problems"` // in the order in which Run would meet them; none: it would run
}

// PlannedUser is whom the workers would run as. Name is empty where it is not known.
type PlannedUser struct {
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Name string `json:"name"`
}

// PlannedListener is a listening socket as a worker would get it. Bindable is nil where that was not tried.
type PlannedListener struct {
	Name     string `json:"name"`
	Address  string `json:"address"` // with port 0 as it was given: the run gets another one
	Accept   string `json:"accept"`
	FD       int    `json:"fd"`
	Bindable *bool  `json:"bindable"`
}

// PlannedFiles is how many descriptors preforkd itself will have open at most, roughly, and how many it may have.
type PlannedFiles struct {
	Needed int    `json:"needed"`
	Limit  *int64 `json:"limit"`
}

// Problem is something that Run would refuse. ExitCode is the program's; Text is one sentence, "cannot …".
type Problem struct {
	ExitCode Kind   `json:"exit_code"`
	Text     string `json:"text"`
}

// Check tells what Run would do, and everything that it would refuse. It loads no data and starts no process; of a URL it asks
// the server for the size. To see whether
// the addresses are free it binds them for a moment without listening; sockets handed down (Config.Inherited, fd://N) are
// taken over and closed, as Run does at its end. The run dir is only asked for paths. The error is that of Validate.
func Check(config Config) (*Plan, error) {
	p, err := config.parse()
	if err != nil {
		return nil, err
	}
	plan := &Plan{
		Name: p.Name, Command: p.Command, Dir: p.Dir, Workers: p.Workers, Surge: *p.Surge, Ready: p.Ready, Watch: p.Watch,
		User: PlannedUser{UID: os.Geteuid(), GID: os.Getegid()},
		Data: []PlannedData{}, Warnings: []string{}, Problems: []Problem{},
	}
	if u := p.User; u != nil {
		plan.User = PlannedUser{UID: u.UID, GID: u.GID, Name: u.Name}
	}
	if p.RunDir != nil {
		plan.RunDir = new(p.RunDir.Path())
	}
	sockets := plan.tryListen(p)
	plan.countFiles(p)
	executable, problems := p.obstacles(sockets)
	plan.Executable = executable
	for _, problem := range problems {
		plan.refuse(problem)
	}
	plan.look(p, sockets)
	return plan, nil
}

func (plan *Plan) refuse(e *Error) {
	for line := range strings.SplitSeq(e.Error(), "\n") { // errors.Join
		plan.Problems = append(plan.Problems, Problem{e.Kind, line})
	}
}

// obstacles is what stands in the way of workers with this configuration and these sockets before a byte is loaded, in the
// order in which Run meets it: names, placeholders, a command that is not there. executable is where that is, nil where it
// is not found or the command's first word has a placeholder.
func (p *parsed) obstacles(sockets []contract.Socket) (executable *string, problems []*Error) {
	plan := &contract.Plan{Command: p.Command, Base: p.baseEnv, Env: p.Env, Workers: p.Workers, Sockets: sockets}
	for _, spec := range p.data {
		plan.Data = append(plan.Data, contract.Dataset{Name: spec.Name})
		for _, socket := range sockets {
			if socket.Name == spec.Name {
				problems = append(problems, fail(KindConfig, fmt.Errorf(
					"cannot call a dataset and a listener both %q: rename one, as in --listen web=:8000", spec.Name)))
			}
		}
	}
	if err := plan.Check(); err != nil {
		problems = append(problems, fail(KindConfig, err))
	}
	env, err := plan.Environ(1, make([]string, len(plan.Data)))
	if err != nil || strings.Contains(p.Command[0], "{") {
		return nil, problems // plan.Check has told what is wrong
	}
	found, err := process.LookPathIn(p.Dir, p.Command[0], env)
	if err != nil {
		return nil, append(problems, fail(KindFleet, fmt.Errorf("cannot start worker 0: exec %s: %v", p.Command[0], err)))
	}
	return &found, problems
}

// countFiles adds up what is open for each worker (pidfd, notify socket, output pipes, what the sampler keeps open of its
// processes), each slot's sockets, each dataset in two versions, and preforkd itself.
func (plan *Plan) countFiles(p *parsed) {
	sockets := len(plan.Listen)
	if p.accept == listen.Reuseport {
		sockets *= p.Workers
	}
	plan.Files.Needed = 32 + 6*(p.Workers+*p.Surge) + sockets + 2*len(p.data)
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	allowed := int64(min(limit.Max, math.MaxInt64)) // Go raises the soft limit to the hard one
	plan.Files.Limit = &allowed
	if int64(plan.Files.Needed) > allowed {
		plan.Warnings = append(plan.Warnings, fmt.Sprintf("about %d open files are needed and %d are allowed: workers may fail to start; "+
			"raise the limit (ulimit -Hn, LimitNOFILE= of systemd)", plan.Files.Needed, allowed))
	}
}

// tryListen binds all addresses as Run would, and closes them again. It returns the sockets by the names that workers
// would know them by.
func (plan *Plan) tryListen(p *parsed) []contract.Socket {
	var inherited []listen.Inherited
	for _, in := range p.Inherited {
		inherited = append(inherited, listen.Inherited(in))
	}
	plan.Listen = []PlannedListener{}
	var layout contract.Plan
	set, err := openFor(p, p.listen, inherited)
	if err != nil {
		plan.refuse(fail(KindListen, err))
		plan.listenApart(p, err.Error())
	} else {
		plan.Warnings = append(plan.Warnings, set.Notes()...)
		for i, s := range set.Sockets {
			row := PlannedListener{Name: s.Name, Address: s.Address, Accept: s.Accept.String(), Bindable: new(true)}
			if i < len(p.listen) && p.listen[i].Network == "tcp" && strings.HasSuffix(p.listen[i].Address, ":0") {
				row.Address = p.listen[i].Address
			}
			plan.Listen = append(plan.Listen, row)
			layout.Sockets = append(layout.Sockets, contract.Socket{Name: s.Name, Port: s.Port})
		}
		set.Close()
	}
	for i := range plan.Listen {
		plan.Listen[i].FD = layout.SocketFD(i)
		if err != nil {
			layout.Sockets = append(layout.Sockets, contract.Socket{Name: plan.Listen[i].Name, Port: 1}) // whatever it will be
		}
	}
	return layout.Sockets
}

// listenApart tries the addresses one by one when they could not be had together, so that each problem is told once. told
// is the first one. Descriptors were closed with the failed try, and are not looked at again.
func (plan *Plan) listenApart(p *parsed, told string) {
	unnamed := 0
	for _, spec := range p.listen {
		row := PlannedListener{Name: spec.Name, Address: spec.Address, Accept: listen.Shared.String()}
		if row.Name == "" {
			unnamed++
			row.Name = "http"
			if unnamed > 1 {
				row.Name = fmt.Sprintf("http%d", unnamed)
			}
		}
		switch spec.Network {
		case "tcp":
			row.Accept = p.Accept
		case "unix":
			row.Address = "unix:" + spec.Address
		case "fd":
			row.Address = "fd://" + spec.Address
		}
		if spec.Network != "fd" && len(p.Inherited) == 0 {
			set, err := openFor(p, []listen.Spec{spec}, nil)
			row.Bindable = new(err == nil)
			switch {
			case err == nil:
				set.Close()
			case err.Error() != told:
				plan.refuse(fail(KindListen, err))
			}
		}
		plan.Listen = append(plan.Listen, row)
	}
}

func openFor(p *parsed, specs []listen.Spec, inherited []listen.Inherited) (*listen.Set, error) {
	return listen.Open(specs, inherited, listen.Options{Accept: p.accept, Slots: p.Workers, UnixMode: p.SocketMode})
}
