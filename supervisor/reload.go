// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// A reload: check the configuration, load what changed, roll the workers. Until the first new worker is ready nothing of what
// serves has changed.

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

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
	c.Ready, c.StartTimeout, c.StopSignal, c.StopTimeout = config.Ready, config.StartTimeout, config.StopSignal, config.StopTimeout
	c.BackoffMax, c.Surge = config.BackoffMax, config.Surge
	c.Watchdog, c.MaxAge, c.MaxRequests, c.MaxPrivate = config.Watchdog, config.MaxAge, config.MaxRequests, config.MaxPrivate
	return c.parse()
}

func (l *loop) reload(o *order) {
	if o.renew == nil || len(o.names) > 0 {
		l.reloadAs(o, l.serving().config)
		return
	}
	go func() { // reading a file may take its time
		config, err := o.renew()
		var renewed *parsed
		if err == nil {
			renewed, err = l.config.renewed(config)
		} else if _, known := errors.AsType[*Error](err); !known {
			err = fail(KindConfig, err)
		}
		l.post(func(l *loop) {
			switch {
			case l.order != o: // a stop has answered it
			case err != nil:
				l.end("", err)
			default:
				l.reloadAs(o, renewed)
			}
		})
	}()
}

// reloadAs goes on with the configuration that is to come.
func (l *loop) reloadAs(o *order, config *parsed) {
	for _, name := range o.names {
		if !slices.ContainsFunc(config.data, func(s dataset.Spec) bool { return s.Name == name }) {
			o.unknown = true
			l.end("", fail(KindConfig, fmt.Errorf("cannot reload %q: there is no such dataset; there are: %s", name, names(config))))
			return
		}
	}
	if err := l.check(config); err != nil {
		l.end("", err)
		return
	}
	specs := toLoad(config, l.serving(), o.names)
	if len(specs) == 0 {
		l.reloaded(o, config, loadResult{})
		return
	}
	l.startLoading(specs, func(result loadResult) { l.reloaded(o, config, result) })
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
			d.Segment.Close()
		}
		return
	}
	if result.err != nil {
		l.end("", fail(KindData, result.err))
		return
	}
	serving := l.serving()
	o.release = &release{config: config}
	fresh := 0
	for i, spec := range config.data {
		have, v := serving.version(spec.Name), serving.version(spec.Name)
		at := slices.IndexFunc(result.loaded, func(d *dataset.Loaded) bool { return d.Name == spec.Name })
		switch {
		case at < 0:
		case have != nil && have.Source == spec.Source && have.SHA256 == result.loaded[at].SHA256 && have.Ext == result.loaded[at].Ext:
			have.Identity = result.loaded[at].Identity // the same bytes in another file
			result.loaded[at].Segment.Close()
		default:
			v = l.adopt(result.loaded[at], i)
			fresh++
		}
		o.release.versions = append(o.release.versions, v)
		switch {
		case v != have:
			o.said = append(o.said, fmt.Sprintf("%s is now version %d", v.Name, v.number))
		case len(o.names) == 0 || slices.Contains(o.names, spec.Name):
			o.said = append(o.said, fmt.Sprintf("%s has not changed, it stays at version %d", v.Name, v.number))
		}
	}
	if len(o.names) > 0 && fresh == 0 {
		o.nothing = true
		l.end("no worker replaced; "+strings.Join(o.said, "; "), nil)
		return
	}
	rules := config.rules()
	if config.Workers == serving.config.Workers {
		rules.Workers = l.state.Config.Workers // a scaling that came between stays
	}
	l.roll(fleet.RollOut{Reason: fleet.ReasonReload, Config: &rules})
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
