// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// A reload: check the configuration, load what changed, roll the workers. Until the first new worker is ready nothing of what
// serves has changed.

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/fleet"
)

// renewed returns config as a reload takes it: what belongs to the process and its sockets stays as it is.
func (p *parsed) renewed(config Config) (*parsed, error) {
	if !slices.Equal(config.Listen, p.Config.Listen) || config.Accept != "" && config.Accept != p.Accept ||
		config.SocketMode != p.SocketMode || !reflect.DeepEqual(config.User, p.User) {
		return nil, fail(KindConfig, errors.New("cannot reload with other listeners or another user: restart preforkd for that"))
	}
	c := p.Config
	c.Command, c.Dir, c.Environ, c.Env = config.Command, config.Dir, config.Environ, config.Env
	c.Workers, c.Data = config.Workers, config.Data
	c.HugePages, c.LockMemory, c.Watch = config.HugePages, config.LockMemory, config.Watch
	c.Ready, c.StartTimeout, c.StopSignal, c.StopTimeout = config.Ready, config.StartTimeout, config.StopSignal, config.StopTimeout
	c.BackoffMax, c.Surge = config.BackoffMax, config.Surge
	c.Watchdog, c.MaxAge, c.MaxRequests, c.MaxPrivate = config.Watchdog, config.MaxAge, config.MaxRequests, config.MaxPrivate
	return c.parse()
}

// reload begins a reload. Reading files and looking at them may take its time: it is done beside the loop.
func (l *loop) reload(o *order) {
	serving, sockets := l.serving(), l.contractSockets()
	go func() {
		config, specs, err := l.preview(o, serving, sockets)
		l.post(func(l *loop) {
			switch {
			case l.order != o: // a stop has answered it
			case err != nil:
				l.end("", err)
			case len(specs) == 0:
				l.reloaded(o, config, loadResult{})
			default:
				l.startLoading(specs, func(result loadResult) { l.reloaded(o, config, result) })
			}
		})
	}()
}

// preview returns the configuration that is to come and what must be loaded for it. It may not touch the loop's state.
func (s *Supervisor) preview(o *order, serving *release, sockets []contract.Socket) (*parsed, []dataset.Spec, error) {
	config := serving.config
	if o.renew != nil && len(o.names) == 0 {
		renewed, err := o.renew()
		if _, known := errors.AsType[*Error](err); err != nil && !known {
			err = fail(KindConfig, err)
		}
		if err == nil {
			config, err = s.config.renewed(renewed)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	for _, name := range o.names {
		if !slices.ContainsFunc(config.data, func(s dataset.Spec) bool { return s.Name == name }) {
			o.unknown = true
			return nil, nil, fail(KindConfig, fmt.Errorf("cannot reload %q: there is no such dataset; there are: %s", name, names(config)))
		}
	}
	if err := config.keepsPlaces(serving); err != nil {
		return nil, nil, err
	}
	if _, obstacles := config.obstacles(sockets); len(obstacles) > 0 {
		return nil, nil, obstacles[0]
	}
	return config, toLoad(config, serving, o.names), nil
}

// keepsPlaces refuses another order of the datasets for workers of another user: the links in the run dir lead to the
// descriptor that a dataset has in each of them.
func (p *parsed) keepsPlaces(serving *release) error {
	if p.User == nil || p.User.UID == os.Geteuid() || p.RunDir == nil {
		return nil
	}
	for i, spec := range p.data {
		at := slices.IndexFunc(serving.versions, func(v *version) bool { return v.Name == spec.Name })
		if at >= 0 && at != i {
			return fail(KindConfig, fmt.Errorf("cannot move dataset %q to another place by a reload while workers run as another user: "+
				"add datasets behind the others, or restart preforkd", spec.Name))
		}
	}
	return nil
}

func names(config *parsed) string {
	var list []string
	for _, spec := range config.data {
		list = append(list, spec.Name)
	}
	return cmp.Or(strings.Join(list, ", "), "none")
}

// reloaded goes on when the data is there.
func (l *loop) reloaded(o *order, config *parsed, result loadResult) {
	if l.order != o { // a stop has answered it
		for _, d := range result.loaded {
			l.closeBeside(d)
		}
		return
	}
	if result.err != nil {
		l.end("", fail(KindData, result.err))
		return
	}
	serving := l.serving()
	o.release = &release{config: config, limitless: config == serving.config && serving.limitless}
	for i, spec := range config.data {
		have, v := serving.version(spec.Name), serving.version(spec.Name)
		at := slices.IndexFunc(result.loaded, func(d *dataset.Loaded) bool { return d.Name == spec.Name })
		switch {
		case at < 0:
		case result.loaded[at].Unchanged:
			have.Identity, have.Validator = result.loaded[at].Identity, result.loaded[at].Validator // the same bytes in another file
			l.config.Log.Info("dataset was read again and has not changed", "name", v.Name, "version", v.number)
		default:
			v = l.adopt(result.loaded[at], i)
			v.Log(l.config.Log, v.number)
			o.fresh = append(o.fresh, v.Name)
		}
		o.release.versions = append(o.release.versions, v)
		switch {
		case v != have:
			o.said = append(o.said, fmt.Sprintf("%s is now version %d", v.Name, v.number))
		case len(o.names) == 0 || slices.Contains(o.names, spec.Name):
			o.said = append(o.said, fmt.Sprintf("%s has not changed, it stays at version %d", v.Name, v.number))
		}
	}
	if len(o.names) > 0 && len(o.fresh) == 0 {
		o.nothing = true
		l.end("no worker replaced; "+strings.Join(o.said, "; "), nil)
		return
	}
	rules := config.rules()
	if config.Workers == serving.config.Workers {
		rules.Workers = l.state.Config.Workers // a scaling that came between stays
	}
	l.replaceOrHandOver(fleet.RollOut{Reason: fleet.ReasonReload, Config: &rules})
}

// noteReload remembers how a reload ended, for the stats.
func (l *loop) noteReload(o *order, err error) {
	last := &Reload{At: time.Now(), Took: seconds(time.Since(o.begun)), Result: ReloadDone}
	switch {
	case err != nil:
		last.Result, last.Error = ReloadFailed, err.Error()
	case o.nothing:
		last.Result = ReloadUnchanged
	}
	l.lastReload = last
	l.reloads[last.Result]++
}
