// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: every command line of the READMEs in examples/python/*/ does what stands there, in the order in which it stands there, on a
// copy of the example: the data is made, preforkd starts the service, what asks it is typed after each start and each reload
// and gets the answer that the data gives; the application runs without preforkd as the text says; and an example pins the versions
// that are tested. What is not run is in notRun, with the reason.

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// notRun are the lines that no test types, and why.
var notRun = map[string]string{
	"pip install -r requirements.txt ../../../clients/python": "the tests' environment has these versions (checked before each " +
		"example), and python_fresh_test.go and python_wheel_test.go install the package",
	"redis-server &": "its port is the whole machine's; the test has a server of its own, on a unix socket",
	`Parallel(n_jobs=2)(delayed(part)(preforkd.data("emb"), begin, end) for …)      # part begins with emb.array()`: "a piece of " +
		"Python; app.py has the whole of it, and is run",
}

var (
	asks     = regexp.MustCompile(`^(curl |echo |cat |python -c 'import tasks)`) // lines that need the service
	alone    = regexp.MustCompile("`([^`]+)`\\s+alone\\s+runs\\s+\\S+\\s+without\\s+preforkd,")
	withouts = regexp.MustCompile(`without\s+preforkd,\s+on`)
	behind   = regexp.MustCompile("behind\\s+`(preforkd [^`]+ --)`")
	rowAsked = regexp.MustCompile(`\brow"?[=:] ?(\d+)`)
	taken    = regexp.MustCompile(`# (\d+ took the new data in place)`)
)

// port is how a server that is run by its own command is told a port, as 8000 may be taken; app.py has it in its text.
var port = map[string]string{"uvicorn": " --port 8000", "gunicorn": " --bind 127.0.0.1:8000", "hypercorn": " --bind 127.0.0.1:8000"}

// typed are the lines of a page that its reader types: indented by four, or between fences.
func typed(text string) (lines []string) {
	inside := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			inside = !inside
			continue
		}
		command, indented := strings.CutPrefix(line, "    ")
		if command = strings.TrimSpace(command); command != "" && (indented || inside) {
			lines = append(lines, command)
		}
	}
	return lines
}

func TestTheREADMEsOfThePythonExamplesAreTrue(t *testing.T) {
	pages, err := filepath.Glob("../examples/python/*/README.md")
	if err != nil || len(pages) < 9 {
		t.Fatalf("READMEs: %q, %v", pages, err)
	}
	seen := map[string]bool{}
	for _, path := range pages {
		lines := typed(textOf(t, path))
		for _, line := range lines {
			seen[line] = true
		}
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { newVisit(t, path).types(lines) })
	}
	for line := range notRun {
		if !seen[line] {
			t.Errorf("notRun has what no README has: %q", line)
		}
	}
}

// visit is one example whose README is being followed.
type visit struct {
	*page
	asked   []string // the lines that ask the service
	version int      // of the data, in the preforkd that runs
}

func newVisit(t *testing.T, path string) *visit {
	t.Helper()
	from := filepath.Dir(path)
	for name, version := range pins(t, filepath.Join(from, "requirements.txt")) {
		name, _, _ := strings.Cut(name, "[")
		cmd := exec.Command(venv(t, "python"), "-c", "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))", name)
		if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != version {
			missing(t, name+" "+version+" in the virtual environment")
		}
	}
	v := &visit{page: newPage(t, path)}
	if err := os.CopyFS(v.dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if app := filepath.Join(v.dir, "app.py"); filepath.Base(from) != "celery" {
		put(t, app, v.here(textOf(t, app)))
	} else {
		url := (&celery{t: t, dir: v.dir}).redis()
		v.env = append(v.env, "CELERY_BROKER_URL="+url, "CELERY_RESULT_BACKEND="+url)
	}
	return v
}

// types follows the page.
func (v *visit) types(lines []string) {
	v.t.Helper()
	for _, line := range lines {
		if asks.MatchString(line) {
			v.asked = append(v.asked, line)
		}
	}
	if len(v.asked) == 0 {
		v.t.Fatalf("%s does not say how the service is asked", v.path)
	}
	for _, line := range lines {
		switch {
		case notRun[line] != "":
		case asks.MatchString(line):
			if v.server == nil {
				v.t.Fatalf("%s: nothing runs that %q could ask", v.path, line)
			}
		case strings.HasPrefix(line, "preforkd -"):
			v.begins(line)
			v.ask()
		case strings.HasPrefix(line, "granian "):
			v.begins(behind.FindStringSubmatch(v.text)[1] + " " + line)
			v.everyWorkerIsThere()
			v.ask()
		case strings.Contains(line, "preforkd reload"):
			v.reload(line)
			v.ask()
		default:
			v.execute(line, "bash", "set -euo pipefail\n"+line)
		}
	}
	v.end()
	found := alone.FindAllStringSubmatch(v.text, -1)
	if want := len(withouts.FindAllString(v.text, -1)); len(found) != want {
		v.t.Errorf("%s says %d times how it runs without preforkd, found %q", v.path, want, found)
	}
	for _, command := range found {
		program, _, _ := strings.Cut(command[1], " ")
		v.serve(command[1] + port[program])
		v.ask()
		v.end()
	}
}

// begins starts a preforkd, which loads the first version.
func (v *visit) begins(line string) {
	v.t.Helper()
	v.serve(line)
	v.version = 1
}

// everyWorkerIsThere asks until each has answered, where readiness is only a time.
func (v *visit) everyWorkerIsThere() {
	v.t.Helper()
	snap, err := v.server.snapshot()
	if err != nil {
		v.t.Fatal(err)
	}
	seen := map[int]bool{}
	within(v.t, patience, "an answer of every worker", func() bool {
		var a answer
		body, err := get("127.0.0.1:" + v.port + "/?row=7")
		if err == nil && json.Unmarshal([]byte(body), &a) == nil {
			seen[a.Worker] = true
		}
		return len(seen) == len(snap.Workers)
	})
}

// reload types a line that reloads, with new data where the line puts it in place.
func (v *visit) reload(line string) {
	v.t.Helper()
	all := len(v.server.until("its workers", func(s *supervisor.Snapshot) bool { return len(s.Workers) > 0 }).Workers)
	before := v.server.settled(all)
	if strings.HasPrefix(line, "mv new.npy ") {
		v.execute(line, "python", `import numpy; numpy.save("new.npy", numpy.random.rand(100_000, 64).astype("f4"))`)
		v.version++
	}
	v.execute(line, "bash", "set -euo pipefail\n"+line)
	after := v.server.settled(all)
	if says := taken.FindStringSubmatch(line); says == nil {
		replacedAll(v.t, before, after)
	} else if !strings.Contains(v.output, says[1]) || !slices.Equal(mainPIDs(before), mainPIDs(after)) {
		v.t.Errorf("%q has printed %q, and the processes are %v, before %v", line, v.output, mainPIDs(after), mainPIDs(before))
	}
}

// ask types the lines that ask the service, and checks what they print against the file that it serves.
func (v *visit) ask() {
	v.t.Helper()
	for _, line := range v.asked {
		file := "" // that is there "a moment later"
		if words := strings.Fields(line); words[0] == "cat" {
			file = filepath.Join(v.dir, words[1])
			within(v.t, patience, file, func() bool { _, err := os.Stat(file); return err == nil })
		}
		v.execute(line, "bash", "set -euo pipefail\n"+line)
		switch {
		case file != "":
			v.answered()
			if err := os.Remove(file); err != nil { // the next one is new
				v.t.Error(err)
			}
		case strings.HasPrefix(line, "curl "):
			v.answered()
		case strings.HasPrefix(line, "python "):
			v.taskDone()
		}
	}
}

// answered checks what was printed: of a row of the data, or of all of it.
func (v *visit) answered() {
	v.t.Helper()
	var a struct {
		Worker, Rows, Row *int
		Version           int
		Sum               float64
	}
	if err := json.Unmarshal([]byte(v.output), &a); err != nil {
		v.t.Fatalf("printed %q: %v", v.output, err)
	}
	sums, want := v.sums(), 0.0
	row := rowAsked.FindStringSubmatch(strings.Join(v.asked, "\n"))
	if (row == nil) != (a.Row == nil) || row != nil && row[1] != strconv.Itoa(*a.Row) {
		v.t.Errorf("%q has printed %q", v.asked, v.output)
	}
	if a.Row != nil {
		want = sums[*a.Row]
	} else {
		for _, sum := range sums {
			want += sum
		}
	}
	if a.Rows != nil && *a.Rows != len(sums) || math.Abs(a.Sum-want) > 2e-6*want {
		v.t.Errorf("printed %q, want the sum %v of %d rows", v.output, want, len(sums))
	}
	if (a.Worker != nil) != v.ours || v.ours && a.Version != v.version {
		v.t.Errorf("printed %q, want version %d of a worker: %v", v.output, v.version, v.ours)
	}
}

// taskDone waits for the result of the one task that was given to Celery.
func (v *visit) taskDone() {
	v.t.Helper()
	v.execute("the task's result", "python", `
import time, tasks
redis, deadline = tasks.app.backend.client, time.monotonic() + 60
while not (keys := redis.keys("celery-task-meta-*")):
    assert time.monotonic() < deadline, "no task was done"
    time.sleep(0.01)
print(redis.get(keys[0]).decode())
`)
	var said struct {
		Status string
		Result struct {
			Version int
			Rows    []int
		}
	}
	sums := v.sums()
	if err := json.Unmarshal([]byte(v.output), &said); err != nil || said.Status != "SUCCESS" || said.Result.Version != v.version ||
		len(said.Result.Rows) != 1 || sums[said.Result.Rows[0]] < slices.Max(sums)-1e-4 {
		v.t.Errorf("the task has returned %s, want the row with the greatest sum: %v", v.output, err)
	}
}

// sums are those of the rows of emb.npy, 64 float32 each.
func (v *visit) sums() (sums []float64) {
	v.t.Helper()
	content := []byte(textOf(v.t, filepath.Join(v.dir, "emb.npy")))
	content = content[10+int(binary.LittleEndian.Uint16(content[8:])):]
	for row := range slices.Chunk(content, 4*64) {
		sum := 0.0
		for number := range slices.Chunk(row, 4) {
			sum += float64(math.Float32frombits(binary.LittleEndian.Uint32(number)))
		}
		sums = append(sums, sum)
	}
	return sums
}

// pins are the packages of a requirements.txt, with their versions.
func pins(t *testing.T, path string) map[string]string {
	t.Helper()
	list := map[string]string{}
	for line := range strings.Lines(textOf(t, path)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, version, ok := strings.Cut(line, "==")
		if !ok {
			t.Fatalf("%s does not pin %q", path, line)
		}
		list[name] = version
	}
	return list
}

func TestThePythonExamplesPinTheVersionsThatAreTested(t *testing.T) {
	tested := pins(t, "requirements.txt")
	for _, pattern := range []string{"../examples/python/requirements.txt", "../examples/python/*/requirements.txt"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			for name, version := range pins(t, path) {
				if tested[name] != version {
					t.Errorf("%s has %s==%s, test/requirements.txt has %q", path, name, version, tested[name])
				}
			}
		}
	}
}
