// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package top

// The page that ? shows.

import "fmt"

func (m *model) explain() []string {
	bold := m.style.bold
	lines := []string{
		m.style.title(" preforkd top ") + "  any key goes back", "",
		bold("Keys"),
		"  ↑ ↓ PgUp PgDn Home End  select a worker",
		"  r  restart it: the new one is ready before the old one is told to stop",
		"  R  reload: configuration, data and code anew, every worker replaced",
		"  p  pause, and go on    q, Ctrl-C  quit; what was ordered goes on",
		"",
		bold("Sort") + "  by the key of a column; once more reverses; unknown figures come last",
	}
	text := " "
	for _, c := range columns() {
		if c.key == "" {
			continue
		}
		item := fmt.Sprintf("  %s %s", bold(c.key), c.name)
		if width(text)+width(item) > m.width {
			lines, text = append(lines, text), " "
		}
		text += item
	}
	return append(lines, text, "",
		bold("Bars"),
		"  "+m.style.private(full)+" private  "+m.style.share(shared)+" its share of what is in memory once  "+
			m.style.faint(claimed)+" counted again by RSS",
		"  at the top: "+m.style.private(full)+" workers and preforkd  "+m.style.share(shared)+" the data, once  "+
			m.style.faint(claimed)+" saved by sharing",
		bold("Figures"),
		"  RSS counts the data in full in every worker, PSS only its share; PRIVATE is",
		"  the worker's own memory, COW what it has copied of the data by writing.",
		"  CPU % and REQ/S are of the last seconds. AGE is that of the memory figures,",
		"  ~ not counted page by page. – is not known. ↻ is to be replaced.")
}
