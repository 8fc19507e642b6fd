// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: a DataFrame of numbers, categories, dates and strings in four workers of one preforkd costs what docs/pack.md
// says, loaded from a .pk5, a converted .pk5 and .arrow, beside a plain pickle; every value is the same; and what pack
// said would be private is what is private then, within 5 %. And what docs/pack.md shows is what its commands print.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	Memory int64
	Files  map[string]struct {
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
	megabytes := "100"
	if os.Getenv("PREFORKD_E2E_LONG") == "1" {
		megabytes = "400"
	}
	dir := place(t)
	client := "PYTHONPATH=" + script(t, "../../clients/python/src")
	cmd := exec.Command(python, script(t, "dataframe_make.py"), dir, megabytes)
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
	table := fmt.Sprintf("DataFrame of %d MB (memory_usage(deep=True)), 4 workers, MB:\n%-14s %8s %14s %8s %8s %10s %10s",
		made.Memory/1e6, "", "file", "Σ PSS before", "Σ PSS", "used", "private", "pack said")
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
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		table += fmt.Sprintf("\n%-14s %8.1f %14.1f %8.1f %8.1f %10.1f %10s", file, float64(info.Size())/1e6,
			float64(c.empty)/1e6, float64(c.pss)/1e6, float64(c.used)/1e6, float64(c.grew[0])/1e6, said)
	}
	t.Log(table)

	for file, r := range made.Files {
		if r.Problem != "" {
			t.Errorf("%s: %s", file, r.Problem)
		}
		if costs[file].digest != costs[pickle].digest {
			t.Errorf("%s: its values are not those of the pickle", file)
		}
		// 2 MiB is what an allocator's or a library's own memory moves by.
		for worker, grew := range costs[file].grew {
			if off := r.Private - grew; max(off, -off) > max(grew/20, 2*mib) {
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
