// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: a DataFrame of 400 MB of numbers, categories, dates and strings in four workers of one preforkd costs what the table of
// docs/pack.md says, within 10 %, loaded from a .pk5, a converted .pk5 and .arrow, beside a plain pickle; every value is the same;
// and what pack said would be private is what is private then, within 5 %. And what docs/pack.md shows is what its commands print.
// PREFORKD_UPDATE=1 writes the table.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// The page's own commands, as the pages that answer questions are tried.
func TestThePageAboutPackIsTrue(t *testing.T) {
	needPandas(t)
	newPage(t, "../docs/pack.md").run()
}

func needPandas(t *testing.T) {
	t.Helper()
	if exec.Command(venv(t, "python"), "-c", "import pandas, pyarrow").Run() != nil {
		missing(t, "pandas and pyarrow in the virtual environment")
	}
}

// packed is what dataframe_make.py tells.
type packed struct {
	Python, Versions string
	Memory           int64
	Files            map[string]struct {
		Private, Size int64
		Problem, Text string
		Parts         map[string]int64
	}
}

// framed is what four workers that have loaded the frame cost.
type framed struct {
	empty, pss int64 // Σ PSS before and after
	share      int64 // by how much Σ PSS grew without files: pages of libraries may be shared with processes that come and go
	used       int64 // what /stats says that all takes, the data and preforkd included
	grew       [4]int64
	digest     string
}

func TestPackSaysWhatOfADataFrameIsPrivate(t *testing.T) {
	needPandas(t)
	python := venv(t, "python")
	dir := place(t)
	client := "PYTHONPATH=" + script(t, "../../clients/python/src")
	cmd := exec.Command(python, script(t, "dataframe_make.py"), dir, "400")
	cmd.Env = append(os.Environ(), client, "PYTHONDONTWRITEBYTECODE=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	var made packed
	if err = errors.Join(err, json.Unmarshal(text, &made)); err != nil {
		t.Fatalf("cannot make the files: %v\n%s", err, stderr.String())
	}

	const pickle, plain, converted, arrow = "frame.pkl", "plain.pk5", "converted.pk5", "frame.arrow"
	costs := map[string]framed{}
	var table []string
	for _, file := range []string{pickle, plain, converted, arrow} {
		env := []string{client, "OPENBLAS_NUM_THREADS=1"}
		var data []string
		if file == pickle {
			env = append(env, "FRAME_PICKLE="+filepath.Join(dir, file))
		} else {
			data = []string{"-d", "frame=" + filepath.Join(dir, file)}
		}
		c := loadFrames(t, python, env, data)
		costs[file] = c
		said := "–"
		if r, ok := made.Files[file]; ok {
			said = fmt.Sprintf("%.1f", float64(r.Private)/1e6)
			t.Log(r.Text)
		}
		name := map[string]string{
			pickle: "plain pickle, loaded by each worker", plain: "`.pk5`", converted: "`.pk5`, converted", arrow: "`.arrow`",
		}[file]
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		table = append(table, fmt.Sprintf("| %s | %.0f | %.0f | %.0f | %.0f | %.1f | %s |\n", name, float64(info.Size())/1e6,
			float64(c.pss)/1e6, float64(c.empty)/1e6, float64(c.used)/1e6, float64(c.grew[0])/1e6, said))
	}
	if mb := made.Memory / 1e6; mb < 390 || mb > 410 {
		t.Errorf("the frame has %d MB, not 400", mb)
	}

	for file, r := range made.Files {
		if r.Problem != "" {
			t.Errorf("%s: %s", file, r.Problem)
		}
		if costs[file].digest != costs[pickle].digest {
			t.Errorf("%s: its values are not those of the pickle", file)
		}
		for worker, grew := range costs[file].grew {
			off := max(r.Private-grew, grew-r.Private)
			if file == plain && off > grew/20 || file != plain && max(off, grew) > 2*mib { // of 400 MB it is as good as nothing
				t.Errorf("%s: pack said %.1f MB would be private, in worker %d %.1f MB are", file, float64(r.Private)/1e6, worker, float64(grew)/1e6)
			}
		}
	}
	named := int64(0)
	for _, name := range []string{"column word (object)", "column ts (datetime64[ns])"} {
		if made.Files[plain].Parts[name] == 0 {
			t.Errorf("pack did not name %s:\n%s", name, made.Files[plain].Text)
		}
		named += made.Files[plain].Parts[name]
	}
	if off := named - made.Files[plain].Private; max(off, -off) > made.Files[plain].Private/20 {
		t.Errorf("of %d bytes that are private pack has named %d", made.Files[plain].Private, named)
	}
	for _, file := range []string{converted, arrow} {
		if c := costs[file]; c.share > made.Files[file].Size+8*mib {
			t.Errorf("%s: four workers take %.1f MB of it: %+v", file, float64(c.share)/1e6, c)
		}
	}
	want := made.Files[plain].Size + 4*made.Files[plain].Private
	if off := costs[plain].share - want; max(off, -off) > want/20 {
		t.Errorf("%s: four workers take %.1f MB of it, want the file and four times what is private, %.1f", plain,
			float64(costs[plain].share)/1e6, float64(want)/1e6)
	}
	if c := costs[pickle]; c.share < 4*made.Memory*9/10 {
		t.Errorf("%s: four workers take %.1f MB of it: is this measure blind?", pickle, float64(c.share)/1e6)
	}
	made.onThePage(t, table)
}

// onThePage compares the rows with those of docs/pack.md, or writes them.
func (made packed) onThePage(t *testing.T, rows []string) {
	t.Helper()
	const path, begin, end = "../docs/pack.md", "<!-- measured -->\n", "<!-- end -->\n"
	page := textOf(t, path)
	before, rest, ok := strings.Cut(page, begin)
	table, after, closed := strings.Cut(rest, end)
	lines := slices.Collect(strings.Lines(table))
	versions := regexp.MustCompile(`pandas \S+, pyarrow \S+, Python (\d+\.\d+)`)
	python := versions.FindStringSubmatch(before)
	if !ok || !closed || len(lines) < 2 || python == nil {
		t.Fatalf("%s has no table that was measured", path)
	}
	now := made.Versions + ", Python " + made.Python
	t.Logf("%s:\n%s", now, strings.Join(rows, ""))
	switch {
	case os.Getenv("PREFORKD_UPDATE") == "1":
		if !t.Failed() {
			put(t, path, versions.ReplaceAllString(before, now)+begin+strings.Join(lines[:2], "")+strings.Join(rows, "")+end+after)
		}
		return
	case python[1] != made.Python:
		t.Logf("not compared with the page: its figures are those of Python %s", python[1])
		return
	case python[0] == now && slices.EqualFunc(rows, lines[2:], sameRow):
		return
	}
	t.Errorf("%s says, of %s:\n%s\nwrite what was measured: cd test && PREFORKD_UPDATE=1 go test -run %s .", path, python[0], table, t.Name())
}

// sameRow tells whether no figure of a row differs by more than a tenth, or by 2 MB where that is more: next to nothing moves so much.
func sameRow(a, b string) bool {
	return slices.EqualFunc(strings.Split(a, "|"), strings.Split(b, "|"), func(a, b string) bool {
		x, y := figure(strings.TrimSpace(a)), figure(strings.TrimSpace(b))
		return a == b || math.Abs(x-y) <= max(0.1*y, 2)
	})
}

// loadFrames has four workers load the frame and measures them.
func loadFrames(t *testing.T, python string, env, data []string) (c framed) {
	t.Helper()
	f := start(t, spec{
		flags:   append([]string{"-w", "4", "--ready", "notify", "--start-timeout", "5m", "--stats-budget", "20%"}, data...),
		command: []string{python, script(t, "dataframe_load.py")},
		env:     env,
	})
	step := func(from, to string) *supervisor.Snapshot {
		signalled := f.until("workers that have "+from, func(s *supervisor.Snapshot) bool { return len(withText(s, from)) == 4 })
		for _, pid := range mainPIDs(signalled) {
			if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
		}
		return f.until("workers that have "+to, func(s *supervisor.Snapshot) bool { return len(withText(s, to)) == 4 })
	}
	snap := f.until("workers that have imported", func(s *supervisor.Snapshot) bool { return len(withText(s, "imported")) == 4 })
	c.empty, c.share = pss(t, snap), -notOfFiles(t, mainPIDs(snap))
	snap = step("imported", "loaded")
	c.share += notOfFiles(t, mainPIDs(snap))
	snap = f.until("Σ PSS in /stats as the kernel has it, within 1 %", func(s *supervisor.Snapshot) bool {
		c.pss = pss(t, s)
		off := value(s.Memory.PSS) - float64(c.pss)
		return max(off, -off) < float64(c.pss)/100
	})
	c.used = int64(value(snap.Memory.Used))
	step("loaded", "read")
	for i := range c.grew {
		var one struct {
			Grew   int64
			Digest string
		}
		text, err := os.ReadFile(filepath.Join(f.dir, fmt.Sprint(i, ".json")))
		if err = errors.Join(err, json.Unmarshal(text, &one)); err != nil {
			t.Fatal(err)
		}
		if i > 0 && one.Digest != c.digest {
			t.Errorf("workers 0 and %d have found different values", i)
		}
		c.grew[i], c.digest = one.Grew, one.Digest
	}
	if strings.Contains(f.output(), "Traceback") {
		t.Error("a worker has failed")
	}
	f.stop()
	return c
}

// notOfFiles is Σ PSS of what is in no file: private memory and segments. Nobody else who maps the same libraries changes it.
func notOfFiles(t *testing.T, pids []int) (sum int64) {
	t.Helper()
	for _, pid := range pids {
		rollup := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
		sum += kilobytes(t, rollup, "Pss_Anon") + kilobytes(t, rollup, "Pss_Shmem")
	}
	return sum
}
