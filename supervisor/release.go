// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// A release is what workers are started from: a configuration and one version of each dataset. The fleet knows it by its
// epoch. Versions live as long as a release or a worker needs them.

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync/atomic"

	humanize "github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/memstat"
)

type release struct {
	config   *parsed
	versions []*version // in --data order
	// limitless: no worker can keep its MaxPrivate, which is ignored.
	limitless bool
}

// version is one load of a dataset.
type version struct {
	*dataset.Loaded
	number int
	link   string                 // its own name in the run dir; empty without one
	target string                 // what the link leads to
	paths  []string               // what a worker may try, best first
	digest atomic.Pointer[string] // SHA-256 of the content in hex; nil until it is known
	locked bool                   // it was, when it was loaded: Loaded forgets at its end
	freed  func()                 // ends what still reads it
}

// String is how people are told of it.
func (v *version) String() string { return fmt.Sprintf("%s version %d", v.Name, v.number) }

// version returns the version of a dataset that this release has, or nil.
func (r *release) version(name string) *version {
	for _, v := range r.versions {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// serving is the release that a worker would be started from now, were there no roll; nil at the very end.
func (l *loop) serving() *release { return l.releases[l.state.Epoch] }

// present is the configuration that serves.
func (l *loop) present() *parsed {
	if s := l.serving(); s != nil {
		return s.config
	}
	return l.config
}

// adopt takes a new version up and publishes it under its own name.
func (l *loop) adopt(loaded *dataset.Loaded, index int) *version {
	l.numbers[loaded.Name]++
	v := &version{Loaded: loaded, number: l.numbers[loaded.Name], locked: loaded.Locked()}
	l.link(v, index)
	l.reckonDigest(v)
	if s := l.serving(); v.link != "" && s.version(v.Name) == nil { // nothing older leads there
		if err := l.config.RunDir.SetLink(v.newestLink(), v.target); err != nil {
			l.config.Log.Warn("cannot link a dataset", "dataset", v.Name, "error", err)
		}
	}
	l.versions = append(l.versions, v)
	l.roster = true
	l.note(EventLoaded, fmt.Sprintf("%s loaded: %s in %s", v, humanize.IBytes(uint64(v.Size())), roundedTime(v.Took)))
	return v
}

// link publishes a version in the run dir and decides which paths a worker may try. A path through the supervisor works in
// the worker's own children too, but only for the same user: another may not look into our /proc/PID/fd.
func (l *loop) link(v *version, index int) {
	plan := contract.Plan{Sockets: make([]contract.Socket, len(l.sockets.Sockets))}
	switch u := l.config.User; {
	case v.Direct():
		v.target = v.DirectPath
		v.paths = []string{v.target} // not the link: a library may look for other files beside the real one
	case u != nil && u.UID != os.Geteuid():
		v.target = "/proc/self/fd/" + strconv.Itoa(plan.DataFD(index))
	default:
		v.target = "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(v.Segment.FD())
		v.paths = []string{v.target}
	}
	if l.config.RunDir == nil {
		return
	}
	link := v.Name + ".v" + strconv.Itoa(v.number) + v.Ext
	if err := l.config.RunDir.SetLink(link, v.target); err != nil {
		l.config.Log.Warn("workers may get a dataset by descriptor only", "dataset", v.Name, "error", err)
		return
	}
	v.link = link
	if !v.Direct() {
		v.paths = append([]string{l.config.RunDir.DataPath(link)}, v.paths...)
	}
}

var errNoLink = errors.New("it has none")

// newestLink is the name that always leads to the newest version that serves.
func (v *version) newestLink() string { return v.Name + v.Ext }

// publishNewest makes the names without a number lead to the versions of a release that serves now, and orders the live
// versions as its datasets are.
func (l *loop) publishNewest(r *release) {
	for _, v := range r.versions {
		if l.config.RunDir == nil {
			continue
		}
		err := errNoLink
		if v.link != "" {
			err = l.config.RunDir.SetLink(v.newestLink(), v.target)
		}
		if err != nil { // an old one must not stay: what it leads to may become another file
			err = errors.Join(err, l.config.RunDir.RemoveLink(v.newestLink()))
			l.config.Log.Warn("cannot renew the link to a dataset", "dataset", v.Name, "error", err)
		}
	}
	place := func(v *version) int {
		i := slices.IndexFunc(r.versions, func(other *version) bool { return other.Name == v.Name })
		if i < 0 {
			return len(r.versions)
		}
		return i
	}
	slices.SortStableFunc(l.versions, func(a, b *version) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.number, b.number))
	})
}

// collect frees the versions that no release and no worker needs any more.
func (l *loop) collect() {
	needed := map[*version]bool{}
	releases := slices.Collect(maps.Values(l.releases))
	if l.order != nil && l.order.release != nil { // its roll may be still to come
		releases = append(releases, l.order.release)
	}
	for _, r := range releases {
		for _, v := range r.versions {
			needed[v] = true
		}
	}
	for _, w := range l.workers {
		for _, v := range slices.Concat(w.versions, w.held) {
			needed[v] = true
		}
	}
	l.versions = slices.DeleteFunc(l.versions, func(v *version) bool {
		if needed[v] {
			return false
		}
		l.free(v)
		return true
	})
}

// free gives a version up. Links go before their descriptor is closed: its number may be used again at once.
func (l *loop) free(v *version) {
	l.roster = true
	if v.link != "" {
		err := l.config.RunDir.RemoveLink(v.link)
		if s := l.serving(); s == nil || s.version(v.Name) == nil || s.version(v.Name).newestLink() != v.newestLink() {
			err = errors.Join(err, l.config.RunDir.RemoveLink(v.newestLink()))
		}
		if err != nil {
			l.config.Log.Warn("a link is left behind", "error", err)
		}
	}
	v.freed()
	l.note(EventFreed, v.String()+" is given back")
	l.closeBeside(v.Loaded)
}

// closeBeside gives the memory of a dataset back beside the loop: the kernel takes half a second for each GiB of small pages.
// Orders are answered when it is done.
func (l *loop) closeBeside(d *dataset.Loaded) {
	l.closing++
	l.helpers.Go(func() {
		d.Close()
		l.report(func(l *loop) {
			if l.closing--; l.closing == 0 {
				for _, o := range l.unanswered {
					close(o.done)
				}
				l.unanswered = nil
			}
		})
	})
}

// closeData gives everything up.
func (l *loop) closeData() {
	l.releases = nil
	for _, v := range l.versions {
		l.free(v)
	}
	l.versions = nil
	l.publish()
}

// segments is what the sampler must know of the live versions.
func (l *loop) segments() []memstat.Segment {
	var list []memstat.Segment
	for _, v := range l.versions {
		if v.Segment == nil { // direct: the page cache is the kernel's
			continue
		}
		list = append(list, memstat.Segment{
			SegKey: memstat.SegKey{Name: v.Name, Version: v.number},
			Dev:    v.Segment.Dev(), Ino: v.Segment.Ino(), Size: v.Segment.Size(), Locked: v.locked,
			Allocated: v.Segment.Allocated,
		})
	}
	return list
}
