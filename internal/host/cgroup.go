// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// Which cgroup this process is in, per controller: version 1, version 2, or both at once (each controller is in one of
// them; on such hybrids the unified tree often has none). What a container does not mount, we cannot see.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// group is one cgroup as one controller shows it.
type group struct {
	name string // as in /proc/self/cgroup
	dir  string
	v1   bool
}

// groups returns the cgroup of this process and its ancestors as far as they are mounted, the own one first. Nothing is
// returned where cgroups do not exist or are not mounted here.
func (h Host) groups(controller string) ([]group, error) {
	text, err := h.proc("/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell this process's cgroup: %w", err)
	}
	name, v1 := member(string(text), controller)
	mounts, err := h.proc("/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot tell this process's cgroup: %w", err)
	}
	point, rel := mounted(string(mounts), controller, name, v1)
	if point == "" {
		return nil, nil
	}
	var out []group
	for {
		out = append(out, group{name: name, dir: path.Join(h.place(point), rel), v1: v1})
		if rel == "/" {
			return out, nil
		}
		rel, name = path.Dir(rel), path.Dir(name)
	}
}

// member picks our cgroup from /proc/self/cgroup, lines of "ID:CONTROLLERS:PATH". A version 1 hierarchy that has the
// controller wins; "0::PATH" is version 2.
func member(text, controller string) (name string, v1 bool) {
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) < 3:
		case slices.Contains(strings.Split(f[1], ","), controller):
			return f[2], true
		case f[0] == "0" && f[1] == "":
			name = f[2]
		}
	}
	return name, false
}

// mounted finds in /proc/self/mountinfo where the hierarchy is mounted and where our cgroup is below that point, "/" if
// it is the point itself. Of several mounts the one that shows most ancestors wins. A cgroup outside the mounted part
// (shown as "/../x" in a cgroup namespace) is not found.
func mounted(text, controller, name string, v1 bool) (point, rel string) {
	root := ""
	for line := range strings.Lines(text) {
		mount, super, _ := strings.Cut(line, " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if len(m) < 5 || len(s) < 3 {
			continue
		}
		fits := s[0] == "cgroup2"
		if v1 {
			fits = s[0] == "cgroup" && slices.Contains(strings.Split(s[2], ","), controller)
		}
		below, ok := within(unescape(m[3]), name)
		if fits && ok && (point == "" || len(m[3]) < len(root)) {
			root, point, rel = m[3], unescape(m[4]), below
		}
	}
	return point, rel
}

// within returns name relative to root, as a path that begins with "/".
func within(root, name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(root, "/"))
	if !ok || (rest != "" && rest[0] != '/') || strings.HasPrefix(rest, "/..") {
		return "", false
	}
	return path.Clean("/" + rest), true
}

// unescape undoes mountinfo's octal escapes of blanks and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// number reads a file that holds one number; "max" is none. A file that does not exist gives fs.ErrNotExist.
func (g group) number(file string) (int64, error) {
	text, err := os.ReadFile(path.Join(g.dir, file))
	if err != nil {
		return 0, err
	}
	return parseLimit(path.Join(g.dir, file), string(bytes.TrimSpace(text)))
}

func parseLimit(file, text string) (int64, error) {
	if text == "max" {
		return None, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has %q where a number belongs", file, text)
	}
	return n, nil
}
