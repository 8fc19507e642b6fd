// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: in a real browser the dashboard shows the figures of /stats, each of them; a reload, a failed one and a crash are seen as
// they happen; and the page finds back when preforkd was killed and started anew.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/supervisor"
)

// watched is a fleet of three with a dashboard, and a page that shows it.
func watched(t *testing.T, s spec) (f *fleet, at string) {
	t.Helper()
	chromium(t) // skip before anything is started
	if s.dir == "" {
		s.dir = place(t)
		fill(t, s.dir, 'a')
	}
	at = address(t)
	s.flags = append([]string{"-w", "3", "-d", "emb=emb.bin", "--ready", "notify", "--stats", at, "-l", "127.0.0.1:0"}, s.flags...)
	s.env = append(s.env, "PAGES=100")
	s.command = []string{python(t, nil), script(t, "dashboard.py")}
	return start(t, s), at
}

// fill writes new content for the dataset.
func fill(t *testing.T, dir string, letter byte) {
	t.Helper()
	put(t, filepath.Join(dir, "emb.bin"), strings.Repeat(string(letter), 24*mib+12345))
}

// precise is how sentences write bytes.
func precise(n int64) string {
	text := humanize.IBytesN(uint64(max(n, -n)), 3)
	if number, unit, _ := strings.Cut(text, " "); strings.Contains(number, ".") {
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			panic(err)
		}
		if value < 10 { // one digit behind the point
			text = humanize.IBytes(uint64(max(n, -n)))
		} else {
			text = fmt.Sprintf("%.1f %s", value, unit)
		}
	}
	return text
}

// figures are what a page says in numbers: by the id of an element or the place of a cell, the exact value and its text.
type figures map[string][2]string

func (b *tab) figures() figures {
	b.t.Helper()
	return read[figures](b, `(() => {
		const all = {};
		const put = (name, node) => { all[name] = [node.dataset.value ?? "", node.textContent]; };
		for (const id of ["saved", "used", "without", "data-held", "own", "self", "saved-full", "cow", "rss", "ratio", "copies"])
			put(id, document.getElementById(id));
		for (const [table, key] of [["rows", "id"], ["data", "name"]])
			for (const row of document.querySelectorAll("#" + table + " tr:not(.load)")) {
				const of = table + " " + row.querySelector("." + key + " b, ." + key + ":not(:has(b))").textContent + " ";
				for (const cell of row.querySelectorAll("td")) put(of + cell.className.replace("n ", ""), cell);
			}
		return all;
	})()`)
}

// wanted is the same, made of a snapshot.
func wanted(s *supervisor.Snapshot) figures {
	f := figures{}
	put := func(name string, n *int64, format func(uint64) string) {
		if n == nil {
			f[name] = [2]string{"", "–"}
			return
		}
		f[name] = [2]string{strconv.FormatInt(*n, 10), format(uint64(*n))}
	}
	exact := func(n uint64) string { return precise(int64(n)) }
	m := &s.Memory
	put("saved", m.Saved, exact)
	put("used", m.Used, exact)
	put("without", m.WithoutSharing, exact)
	put("rss", m.RSS, exact)
	put("saved-full", m.SavedFull, exact)
	put("data-held", &m.Data, humanize.IBytes)
	put("self", m.Supervisor, humanize.IBytes)
	put("cow", m.COW, humanize.IBytes)
	if m.Used != nil && m.Supervisor != nil {
		put("own", new(*m.Used-m.Data-*m.Supervisor), humanize.IBytes)
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, w := range s.Workers {
		of := fmt.Sprintf("rows %d ", w.ID)
		put(of+"private", w.Private, humanize.IBytes)
		put(of+"rss", w.RSS, humanize.IBytes)
		put(of+"requests", w.Requests, func(n uint64) string { return humanize.Comma(int64(n)) })
		share := new(int64)
		for _, d := range w.Data {
			if d.PSS == nil || d.COW == nil {
				share = nil
				break
			}
			*share += *d.PSS - *d.COW
		}
		put(of+"share", share, humanize.IBytes)
		f[of+"incarnation"] = [2]string{"", strconv.Itoa(w.Incarnation)}
		if w.PID != nil {
			f[of+"pid"] = [2]string{"", strconv.Itoa(*w.PID)}
		}
	}
	for _, d := range s.Data {
		of := "data " + d.Name + " "
		put(of+"size", d.Size, humanize.IBytes)
		put(of+"resident", d.Resident, humanize.IBytes)
		put(of+"huge", d.Huge, humanize.IBytes)
		put(of+"users", new(int64(d.Workers)), func(n uint64) string { return number(int64(n)) })
		digest := "–"
		if d.SHA256 != nil {
			digest = (*d.SHA256)[:12]
		}
		f[of+"version"] = [2]string{"", fmt.Sprintf("v%d%s", d.Version, digest)}
	}
	return f
}

// onPage waits until every figure of /stats stands on the page, and nothing that /stats calls unknown has a number. The page has
// the figures of up to a second ago, so it is held against several answers of late: against the newest alone it might always be one
// sample behind.
func (f *fleet) onPage(b *tab) (s *supervisor.Snapshot, compared int) {
	f.t.Helper()
	const answers = 20
	var wrong []string
	var late []*supervisor.Snapshot // newest first
	defer func() {
		for _, line := range wrong {
			f.t.Log(line)
		}
	}()
	within(f.t, patience, "the figures of /stats on the page", func() bool {
		now, err := f.snapshot()
		if err != nil {
			return false
		}
		late = append([]*supervisor.Snapshot{now}, late[:min(len(late), answers-1)]...)
		shown := b.figures()
		for i, answer := range late {
			want := wanted(answer)
			other := differing(shown, want)
			if i == 0 {
				wrong = other
			}
			if len(other) == 0 {
				s, compared, wrong = answer, len(want), nil
				return true
			}
		}
		return false
	})
	return s, compared
}

// differing says which of the figures wanted are not those shown.
func differing(shown, want figures) (lines []string) {
	for name, w := range want {
		if shown[name] != w {
			lines = append(lines, fmt.Sprintf("%s: the page shows %q, /stats has %q", name, shown[name], w))
		}
	}
	return lines
}

func TestDashboardShowsEveryFigureOfTheStats(t *testing.T) {
	f, at := watched(t, spec{})
	f.untilExact(3)
	f.untilDigested(3)
	b := open(t, at)
	s, compared := f.onPage(b)
	t.Logf("%d figures compared", compared)
	if compared < 30 || *s.Memory.Saved <= 0 || *s.Memory.COW < 100*4096 {
		t.Fatalf("%d figures, saved %d, copied %d: that shows little", compared, *s.Memory.Saved, *s.Memory.COW)
	}
	if got, want := b.text("h1"), fmt.Sprintf("Sharing saves %s (", precise(*s.Memory.Saved)); !strings.HasPrefix(got, want) {
		t.Errorf("the headline is %q, want %q", got, want)
	}
	b.says("#sentence", "3 workers use one copy of "+precise(s.Memory.Data), "have copied "+precise(*s.Memory.COW),
		precise(*s.Memory.Used)+" instead of "+precise(*s.Memory.WithoutSharing))
	read[bool](b, `document.querySelector(".hero details").open = true`)
	b.says("#counterfactual", s.Memory.Counterfactual[len(s.Memory.Counterfactual)/2:])
	b.says("#command", "dashboard.py")
	b.says("#listen", s.Listen[0].Address)
	b.says("#workers-count", "3 ready")
	b.says("#events", "ready", "worker 0", "worker 2")
	b.says("footer", s.Supervisor.Version, "longest read", "Memory cgroup")

	// The bars are drawn to one scale, by the figures beside them.
	bars := read[[][]float64](b, `[...document.querySelectorAll("#rows tr")].map((row) => {
		const width = (kind) => row.querySelector(".track ." + kind).getBoundingClientRect().width;
		const value = (kind) => Number(row.querySelector("td." + kind).dataset.value);
		return ["private", "share", "claim"].map((kind) => width(kind) / value(kind === "claim" ? "rss" : kind));
	})`)
	for _, bar := range bars {
		for _, scale := range bar {
			if off := scale/bars[0][2] - 1; off > 0.02 || off < -0.02 {
				t.Errorf("pixels for each byte: %v, want one scale", bars)
			}
		}
	}
	// What a worker says of itself is text.
	b.says("#rows", "<img src=x onerror=alert(1)> warm")
	if n := read[int](b, `document.querySelectorAll("main img, main script").length`); n != 0 {
		t.Errorf("%d elements have come out of a text", n)
	}
	// The time line has a past and is drawn.
	b.until("a time line", `(() => {
		const c = document.querySelector("#chart canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		return d.some((v, i) => i % 4 === 3 && v > 0) && document.getElementById("at-used").textContent !== "–";
	})()`)
	b.says("#at-ready", "3")
	for _, scheme := range []string{"light", "dark"} {
		b.look(1440, 900, scheme)
		b.screenshot(scheme)
	}
	b.look(390, 844, "light")
	b.screenshot("phone")
	f.stop()
	b.allowed = []string{"ERR_"}
}

func TestDashboardSeesAReloadAndACrashAsTheyHappen(t *testing.T) {
	dir := place(t)
	fill(t, dir, 'a')
	f, at := watched(t, spec{dir: dir})
	first := f.untilExact(3)
	b := open(t, at)
	f.onPage(b)
	read[bool](b, `window.same = true`)

	// A reload that stands still while the first new worker starts.
	put(t, filepath.Join(dir, "hold"), "")
	fill(t, dir, 'b')
	done := make(chan string, 1)
	go func() { text, err := f.post("/reload", `{}`); done <- fmt.Sprint(text, err) }()
	b.says("#change", "Reload for", "rolling, 0 of 3 workers replaced")
	b.until("both workers of a slot in neighbouring rows", `(() => {
		const two = document.querySelectorAll("#rows [data-slot]");
		return two.length === 2 && two[0].nextElementSibling === two[1] && two[1].dataset.status === "starting" &&
			two[0].querySelector(".note").textContent.includes("reload");
	})()`)
	b.until("both versions", `document.querySelectorAll("#data tr").length === 2`)
	b.says("#workers-count", "3 ready, 1 starting")
	b.screenshot("reload")
	if err := os.Remove(filepath.Join(dir, "hold")); err != nil {
		t.Fatal(err)
	}
	if said := <-done; !strings.Contains(said, "3 workers replaced") {
		t.Errorf("reload said %q", said)
	}
	b.says("#change", "Last reload", "every worker was replaced")
	f.untilExact(3)
	f.untilDigested(3)
	second, _ := f.onPage(b)
	sum := sha256.Sum256(bytes.Repeat([]byte("b"), 24*mib+12345))
	b.says("#data", "v2", hex.EncodeToString(sum[:])[:12])
	b.says("#events", "emb", "reload")
	for i, w := range second.Workers {
		if *w.PID == *first.Workers[i].PID {
			t.Errorf("worker %d has not been replaced", i)
		}
	}

	// A crash.
	if n := read[int](b, `document.querySelectorAll("#events [data-bad]").length`); n != 0 {
		t.Errorf("%d bad events in a good life", n)
	}
	if err := syscall.Kill(*second.Workers[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.says("#events [data-bad]", "Problem:", "worker 1", "killed", "crash")
	b.says("#rows tr:nth-child(2) .note", "SIGKILL (crash)")
	f.untilExact(3)
	third, _ := f.onPage(b)
	if *third.Workers[1].PID == *second.Workers[1].PID {
		t.Error("there is no new worker 1")
	}
	b.screenshot("crash")

	// A reload that fails: its last words are text, too.
	put(t, filepath.Join(dir, "broken"), "")
	if said, err := f.post("/reload", `{}`); err == nil {
		t.Errorf("reload said %q", said)
	}
	b.says("#change", "failed, the old workers and the old data serve on")
	read[bool](b, `document.getElementById("change-more").open = true`)
	b.says("#change-error", "<b>this release</b> is broken")
	b.screenshot("failed-reload")
	if !read[bool](b, `window.same === true`) {
		t.Error("the page was loaded again")
	}
	b.quiet()
	b.allowed = []string{"ERR_"} // the end of the stream
	f.stop()
}

func TestDashboardFindsBackToAPreforkdThatWasStartedAnew(t *testing.T) {
	dir := place(t)
	fill(t, dir, 'a')
	f, at := watched(t, spec{dir: dir})
	first := f.untilExact(3)
	b := open(t, at)
	b.allowed = []string{"ERR_"}
	f.onPage(b)
	read[bool](b, `window.same = true`)
	f.kill()
	b.says("#banner", "Connection lost, trying again in", "figures are", "old")
	b.says("#link", "not live")
	b.screenshot("lost")
	again := start(t, spec{
		dir: dir, run: filepath.Join(dir, "run"), env: []string{"PAGES=100"}, command: []string{python(t, nil), script(t, "dashboard.py")},
		flags: []string{"--run-dir", filepath.Join(dir, "run"), "-w", "2", "-d", "emb=emb.bin", "--ready", "notify", "--stats", at},
	})
	again.untilExact(2)
	b.until("the page is live again", `document.getElementById("banner").hidden`)
	second, _ := again.onPage(b)
	if *second.Workers[0].PID == *first.Workers[0].PID {
		t.Fatal("it is the same worker")
	}
	b.says("#workers-count", "2 ready")
	b.until("the new one's events alone", fmt.Sprintf(`document.querySelectorAll("#events li").length === %d`, events(t, again)))
	b.until("a time line of the new one alone", `document.getElementById("at-ready").textContent === "2"`)
	if !read[bool](b, `window.same === true && document.querySelectorAll("#rows tr").length === 2`) {
		t.Error("the page was loaded again, or old rows are left")
	}
	again.stop()
}

// events counts those that a fleet has to tell.
func events(t *testing.T, f *fleet) int {
	t.Helper()
	n := 0
	for _, w := range f.until("all digests", func(s *supervisor.Snapshot) bool { return s.Data[0].SHA256 != nil }).Workers {
		n += 2 * w.Incarnation // started, ready
	}
	return n + 1 // loaded
}
