// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the way in, taken from the text of docs/python.md, whose first part README.md repeats: the diff changes one line of a FastAPI service, the
// start command runs it; it answers as before; four workers hold three copies less, by the kernel's PSS and by preforkd's
// `saved`; and new data comes without a failed request.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// way is what a page tells its reader to do.
type way struct {
	diffs         [][]string // the lines of each
	prepare       []string   // what makes an environment and data
	before, after []string   // start commands, one for the other
	reload        []string
}

// toldBy reads the section of a page under a heading.
func toldBy(t *testing.T, page, heading string) (w way) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, found := range regexp.MustCompile("(?s)```diff\n(.*?)\n```").FindAllStringSubmatch(section, -1) {
		w.diffs = append(w.diffs, strings.Split(found[1], "\n"))
	}
	for line := range strings.Lines(section) {
		command, _, _ := strings.Cut(line, "  #")
		command = strings.TrimSpace(command)
		words := strings.Fields(command)
		switch {
		case !strings.HasPrefix(line, "    "):
		case strings.HasPrefix(words[0], "python") || words[0] == "pip":
			w.prepare = append(w.prepare, command)
		case words[0] == "uvicorn" || words[0] == "gunicorn":
			w.before = append(w.before, command)
		case words[0] == "preforkd" && slices.Contains(words, "--"):
			w.after = append(w.after, command)
		case words[0] == "preforkd" && words[1] == "reload":
			w.reload = words[2:]
		}
	}
	if len(w.diffs) == 0 || len(w.after) == 0 || len(w.before) != len(w.after) || w.reload == nil {
		t.Fatalf("%s does not tell the way in under %q: %+v", page, heading, w)
	}
	return w
}

// apply changes a program as a diff says: one line becomes another, and an import goes to the other imports.
func apply(t *testing.T, program string, diff []string) string {
	t.Helper()
	imports, from, to := "", "", ""
	for _, line := range diff {
		switch {
		case strings.HasPrefix(line, "+import "):
			imports += line[1:] + "\n"
		case strings.HasPrefix(line, "-") && from == "":
			from = "\n" + line[1:] + "\n"
		case strings.HasPrefix(line, "+") && to == "":
			to = "\n" + line[1:] + "\n"
		default:
			t.Fatalf("the diff changes more than one line: %q", diff)
		}
	}
	if from == "" || to == "" || strings.Count(program, from) != 1 {
		t.Fatalf("the diff does not fit the program: %q", diff)
	}
	const last = "from fastapi "
	return strings.Replace(strings.Replace(program, from, to, 1), last, imports+last, 1)
}

// searchBytes is the data of the service: 192 × 1024 rows of 512 bytes.
const searchBytes = 96 * mib

func questions() (paths []string) {
	for row := range 3 {
		paths = append(paths, fmt.Sprintf("/search?row=%d&k=4", row*60_000))
	}
	return paths
}

// answers asks every question once.
func answers(address string) (list []string, err error) {
	for _, path := range questions() {
		body, err := get(address + path)
		if err != nil {
			return nil, err
		}
		list = append(list, body)
	}
	return list, nil
}

// searched makes the service with two versions of its data, v1.npy and v2.npy, and one of them as emb.npy.
func searched(t *testing.T) (dir string) {
	t.Helper()
	dir = place(t)
	program, err := os.ReadFile(script(t, "way_in/before.py"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "app.py"), string(program))
	cmd := exec.Command(venv(t, "python"), "-c", `
import numpy as np
for version in 1, 2:
    rng = np.random.default_rng(version)
    np.save(f"v{version}.npy", rng.standard_normal((192 * 1024, 128), dtype="float32"))
`)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// newVersion puts a version where the service expects its data, by renaming.
func newVersion(t *testing.T, dir string, version int) {
	t.Helper()
	next := filepath.Join(dir, "next.npy")
	if err := os.Link(filepath.Join(dir, fmt.Sprintf("v%d.npy", version)), next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "emb.npy")); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(next) // rename leaves it when both are the same file
}

// wayInEnv has the servers in its PATH, and the package.
func wayInEnv(t *testing.T) []string {
	t.Helper()
	return []string{
		"PATH=" + filepath.Dir(venv(t, "fastapi")) + ":" + os.Getenv("PATH"),
		"PYTHONPATH=" + script(t, "../../clients/python/src"), "PYTHONDONTWRITEBYTECODE=1", "OPENBLAS_NUM_THREADS=1",
	}
}

// firstAnswer waits for it, and logs how long it took.
func firstAnswer(t *testing.T, address, command string, began time.Time) {
	t.Helper()
	within(t, patience, "an answer", func() bool { _, err := get(address + questions()[0]); return err == nil })
	t.Logf("%s: the first answer after %.1f s", command, time.Since(began).Seconds())
}

// unshared runs the service as it was. It returns its answers, and Σ PSS of its processes without files.
func unshared(t *testing.T, dir string, env []string, command string) (told []string, held int64) {
	t.Helper()
	address, mark := freeAddress(t), "PREFORKD_E2E=before "+dir
	_, port, _ := strings.Cut(address, ":")
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Dir = dir
	// The commands name no port: they have their default's.
	cmd.Env = slices.Concat(os.Environ(), env, []string{mark, "UVICORN_PORT=" + port, "GUNICORN_CMD_ARGS=--bind " + address})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(filepath.Join(dir, "before.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		within(t, patience, "its end", func() bool { return len(marked(t, mark)) == 0 })
	}()
	firstAnswer(t, address, command, began)
	within(t, patience, "four processes that have loaded the data", func() bool {
		return strings.Count(textOf(t, log.Name()), "Application startup complete") == 4
	})
	if told, err = answers(address); err != nil {
		t.Fatal(err)
	}
	return told, notOfFiles(t, marked(t, mark))
}

// shared starts the service as the page says.
func shared(t *testing.T, dir string, env []string, command string) *fleet {
	t.Helper()
	flags, program, _ := strings.Cut(strings.TrimPrefix(command, "preforkd "), " -- ")
	flags = strings.Replace(flags, "127.0.0.1:8000", "127.0.0.1:0", 1) // another may be taken
	return start(t, spec{dir: dir, flags: strings.Fields(flags), command: strings.Fields(program), env: env})
}

func TestOneLineAndTheStartCommandMakeOneCopy(t *testing.T) {
	told := toldBy(t, "../docs/python.md", "The way in")
	dir := searched(t)
	app := filepath.Join(dir, "app.py")
	program := textOf(t, app)
	newVersion(t, dir, 2)
	env := wayInEnv(t)
	second, _ := unshared(t, dir, env, told.before[0])
	for i, before := range told.before {
		put(t, app, program)
		newVersion(t, dir, 1)
		first, held := unshared(t, dir, env, before)
		if slices.Equal(first, second) {
			t.Fatal("both versions give the same answers")
		}
		more := int64(8 * mib) // preforkd's own, and noise
		if strings.HasPrefix(before, "gunicorn") {
			more += 32 * mib // a master for each worker, instead of one for all
		}
		for k, diff := range told.diffs {
			if i > 0 && k > 0 {
				continue // each start command, and each change, once
			}
			t.Run(fmt.Sprintf("%s, change %d", strings.Fields(before)[0], k+1), func(t *testing.T) {
				put(t, app, apply(t, program, diff))
				newVersion(t, dir, 1)
				f := shared(t, dir, env, told.after[i])
				f.savesThreeOfFour(searchBytes, held, more, first)
				f.takesNewData(told.reload, dir, first, second)
				f.stop()
			})
		}
	}
}

func TestTheReadmeTellsTheFirstOfTheseWays(t *testing.T) {
	short, long := toldBy(t, "../README.md", "One line for a Python service"), toldBy(t, "../docs/python.md", "The way in")
	long.prepare = nil
	long.diffs, long.before, long.after = long.diffs[:1], long.before[:1], long.after[:1]
	if !reflect.DeepEqual(short, long) {
		t.Errorf("README.md tells %+v, docs/python.md %+v", short, long)
	}
}

// savesThreeOfFour asks until every worker has read all of the data, which has so many bytes. Before, Σ PSS without files was held;
// a worker may hold a little more of its own now.
func (f *fleet) savesThreeOfFour(size, held, more int64, want []string) {
	f.t.Helper()
	address := f.untilReady(4).Listen[0].Address
	snap := f.until("four workers that have read all of it", func(s *supervisor.Snapshot) bool {
		if got, err := answers(address); err != nil || !slices.Equal(got, want) {
			f.t.Fatalf("answers %q, %v, want %q", got, err, want)
		}
		return s.Memory.Saved != nil && *s.Memory.Saved >= 3*size
	})
	if text, _, _ := f.verb("status"); !strings.Contains(text, fmt.Sprintf("Sharing: saved %d", 3*size/mib/10)) { // MiB, but for the last digit
		f.t.Errorf("status says\n%s", text)
	}
	now := notOfFiles(f.t, marked(f.t, f.mark))
	f.t.Logf("Σ PSS without files: %d MiB before, %d MiB now; preforkd says %d MiB saved", held/mib, now/mib, *snap.Memory.Saved/mib)
	if less := held - now; less < 3*size-4*more {
		f.t.Errorf("Σ PSS without files is %d MiB less, want three copies of %d MiB, but for %d MiB in each worker", less/mib, size/mib, more/mib)
	}
	for _, w := range snap.Workers {
		if w.Data[0].COW == nil || *w.Data[0].COW != 0 {
			f.t.Errorf("worker %d has pages of its own: %+v", w.ID, w.Data)
		}
	}
}

// takesNewData reloads under load: every answer is of one version or the other, and in the end of the second.
func (f *fleet) takesNewData(names []string, dir string, first, second []string) {
	f.t.Helper()
	address := f.settled(4).Listen[0].Address
	stop := load{clients: 2, pace: 20 * time.Millisecond, address: address, path: questions()[1], right: func(body string) bool {
		return body == first[1] || body == second[1]
	}}.start(f.t)
	newVersion(f.t, dir, 2)
	f.t.Log(f.must("reload", names...))
	for range 3 {
		if got, err := answers(address); err != nil || !slices.Equal(got, second) {
			f.t.Errorf("answers after the reload %q, %v, want %q", got, err, second)
		}
	}
	result := stop()
	f.t.Log(result)
	result.nothingLost(f.t)
	if data := f.settled(4).Data; len(data) != 1 || data[0].Version != 2 {
		f.t.Errorf("data after the reload: %+v", data)
	}
}
