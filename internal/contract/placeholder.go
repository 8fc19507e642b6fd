// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// placeholder matches a known word in braces and nothing else, so that JSON, shell and format strings in a command line
// stay as they are; after the colon must stand what could be a name, so {fd: 3} and {port:8000} of JavaScript do too.
// "{{" before one escapes it: {{worker} becomes {worker}.
var placeholder = regexp.MustCompile(`\{?\{(?:(path|fd|size|listen|port):([A-Za-z][A-Za-z0-9_-]*)|(worker|workers))\}`)

// pathMark stands for paths that are not known yet when a plan is only checked.
const pathMark = "/proc/self/fd/N"

// Check tells, before anything starts, whether every placeholder of the command and of --env names something.
func (p *Plan) Check() error {
	paths := make([]string, len(p.Data))
	for i := range paths {
		paths[i] = pathMark
	}
	if _, err := p.Args(paths); err != nil {
		return err
	}
	_, err := p.Environ(1, paths)
	return err
}

func (p *Plan) expand(text string, paths []string) (string, error) {
	if !strings.Contains(text, "{") {
		return text, nil
	}
	var failed error
	out := placeholder.ReplaceAllStringFunc(text, func(match string) string {
		if strings.HasPrefix(match, "{{") {
			return match[1:]
		}
		parts := placeholder.FindStringSubmatch(match)
		value, err := p.lookup(parts[1]+parts[3], parts[2], paths)
		if err != nil && failed == nil {
			failed = fmt.Errorf("cannot expand %s in %q (write {%s to keep it): %w", match, text, match, err)
		}
		return value
	})
	return out, failed
}

func (p *Plan) lookup(word, name string, paths []string) (string, error) {
	switch word {
	case "worker":
		return strconv.Itoa(p.Worker), nil
	case "workers":
		return strconv.Itoa(p.Workers), nil
	}
	for i, d := range p.Data {
		if d.Name != name {
			continue
		}
		switch word {
		case "path":
			return paths[i], nil
		case "fd":
			return strconv.Itoa(p.DataFD(i)), nil
		case "size":
			return strconv.FormatInt(d.Size, 10), nil
		}
	}
	for i, s := range p.Sockets {
		if s.Name != name {
			continue
		}
		switch word {
		case "fd":
			return strconv.Itoa(p.SocketFD(i)), nil
		case "listen":
			return "fd://" + strconv.Itoa(p.SocketFD(i)), nil
		case "port":
			if s.Port == 0 {
				return "", fmt.Errorf("listener %q is a unix socket and has no port; use {fd:%s}", name, name)
			}
			return strconv.Itoa(s.Port), nil
		}
	}
	kind := "dataset"
	switch word {
	case "fd":
		kind = "dataset or listener"
	case "listen", "port":
		kind = "listener"
	}
	return "", fmt.Errorf("no %s is called %q; %s", kind, name, p.known())
}

func (p *Plan) known() string {
	var data, sockets []string
	for _, d := range p.Data {
		data = append(data, d.Name)
	}
	for _, s := range p.Sockets {
		sockets = append(sockets, s.Name)
	}
	list := func(names []string) string {
		if len(names) == 0 {
			return "none"
		}
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("datasets: %s; listeners: %s", list(data), list(sockets))
}
