// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is what a dataset is called and where it comes from, as written on the command line.

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/dataset/remote"
)

const (
	stdinSource   = "-"
	commandPrefix = "cmd:"
	directPrefix  = "direct:"

	// maxName keeps names far below the 249 bytes of a memfd's name and the 255 of a file's.
	maxName = 64
)

var (
	nameForm   = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	schemeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	// plainWord is a command's first word that is safe to show: no quotes, no assignment, nothing the shell expands.
	plainWord = regexp.MustCompile(`^[A-Za-z0-9_./+-]+$`)
)

// Spec is one dataset as it was asked for: a name, a source, and options. A source is a path, "-" for standard input,
// "cmd:COMMAND" for the standard output of a shell command, an http or https URL, or "direct:PATH" for a file or a directory
// that workers open themselves.
type Spec struct {
	Name    string
	Source  string
	Options Options
}

// ParseSpec reads NAME=SOURCE, for example "emb=./emb.npy". It looks at the text only, not at the file.
func ParseSpec(s string) (Spec, error) {
	name, source, ok := strings.Cut(s, "=")
	if !ok {
		return Spec{}, errors.New("cannot use dataset without a name: write NAME=SOURCE, for example emb=./emb.npy")
	}
	spec := Spec{Name: name, Source: source}
	if err := checkName(name); err != nil {
		return Spec{}, err
	}
	if err := spec.checkSource(); err != nil {
		return Spec{}, fmt.Errorf("cannot use dataset %q: %w", name, err)
	}
	return spec, nil
}

// checkName refuses what would not make a name of a file, of a memfd and of variables all at once.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("cannot use dataset without a name: write NAME=SOURCE, for example emb=./emb.npy")
	case len(name) > maxName:
		return fmt.Errorf("cannot use dataset name %q…: it is longer than %d characters", name[:maxName/4], maxName)
	case !nameForm.MatchString(name):
		return fmt.Errorf("cannot use dataset name %q: it must match [a-z][a-z0-9_-]*", name)
	}
	for _, suffix := range []string{"_FD", "_SIZE"} {
		if v := contract.Variable(name); strings.HasSuffix(v, suffix) {
			return fmt.Errorf("cannot use dataset name %q: PREFORKD_DATA_%s is the variable of another dataset's "+
				"descriptor or size; choose a name that does not end in _fd or _size", name, v)
		}
	}
	return nil
}

// checkSource refuses sources that no version or only a later one can load. The source is not repeated in the error: it
// may hold a password.
func (s Spec) checkSource() error {
	switch {
	case s.Source == "":
		return errors.New("its source is empty: give a path, -, cmd:COMMAND, https://… or direct:PATH")
	case strings.ContainsRune(s.Source, 0):
		return errors.New("its source holds a zero byte")
	case s.Source == directPrefix:
		return errors.New("direct: needs the path of a file or a directory")
	case s.remote():
		return remote.CheckURL(s.Source)
	}
	if scheme := schemeForm.FindString(s.Source); scheme != "" {
		return fmt.Errorf("%s is not supported by this version: use cmd: with a command that writes the data to its "+
			"standard output, or a file", scheme)
	}
	if command, ok := strings.CutPrefix(s.Source, commandPrefix); ok && strings.TrimSpace(command) == "" {
		return errors.New("cmd: needs a command")
	}
	return nil
}

// remote tells whether the source is a URL that preforkd loads itself.
func (s Spec) remote() bool {
	switch strings.ToLower(schemeForm.FindString(s.Source)) {
	case "http://", "https://":
		return true
	}
	return false
}

// stream tells whether the source is no path.
func (s Spec) stream() bool {
	return s.Source == stdinSource || strings.HasPrefix(s.Source, commandPrefix) || s.remote()
}

// Direct tells whether workers open the source itself.
func (s Spec) Direct() bool { return strings.HasPrefix(s.Source, directPrefix) }

// Local tells whether a load that is cancelled before it begins finds all that [Spec.Look] finds without asking or waking
// anybody: files, directories, standard input.
func (s Spec) Local() bool {
	return !strings.HasPrefix(s.Source, commandPrefix) && !s.remote() && !s.fifo()
}

// path is where the source's file or directory is; "" when it is no path.
func (s Spec) path() string {
	if s.stream() {
		return ""
	}
	return strings.TrimPrefix(s.Source, directPrefix)
}

// CheckNames refuses specs that cannot live side by side: equal names, names whose variables collide (a-b and a_b), and
// standard input used twice.
func CheckNames(specs []Spec) error {
	variables := make(map[string]string, len(specs))
	stdin := ""
	for _, s := range specs {
		v := contract.Variable(s.Name)
		switch other, taken := variables[v]; {
		case taken && other == s.Name:
			return fmt.Errorf("cannot use two datasets named %q: give each its own name", s.Name)
		case taken:
			return fmt.Errorf("cannot use datasets %q and %q together: both would be PREFORKD_DATA_%s", other, s.Name, v)
		}
		variables[v] = s.Name
		if s.Source != stdinSource {
			continue
		}
		if stdin != "" {
			return fmt.Errorf("cannot use standard input for both %q and %q: it can be read once", stdin, s.Name)
		}
		stdin = s.Name
	}
	return nil
}

// Display is the source as it may stand in logs and statistics: without user, query and fragment of a URL, and of a
// command only its first word, and not even that where it is more than a plain word.
func (s Spec) Display() string {
	if command, ok := strings.CutPrefix(s.Source, commandPrefix); ok {
		first, rest, _ := strings.Cut(strings.TrimSpace(command), " ")
		switch {
		case !plainWord.MatchString(first):
			return commandPrefix + "…"
		case rest == "":
			return commandPrefix + first
		}
		return commandPrefix + first + " …"
	}
	if scheme := schemeForm.FindString(s.Source); scheme != "" {
		u, err := url.Parse(s.Source)
		if err != nil {
			return scheme + "…"
		}
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		return u.String()
	}
	return s.Source
}

// label names the source in an error.
func (s Spec) label() string {
	if s.Source == stdinSource {
		return "standard input"
	}
	return s.Display()
}
