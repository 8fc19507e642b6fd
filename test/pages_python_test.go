// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the pages of docs/ that answer Python's questions are true: every block of theirs is run, in order, in a folder of the
// page's own, and prints what the page says it prints.
//
// A block is what its info string says: ```python is run, or, when its first line is `# NAME.py`, kept as that file; ```sh is run
// by bash, and a server that it names (preforkd, gunicorn …) serves until the next one; ```text is what the block before it
// has printed, where … stands for anything, and amounts in MB may differ by a tenth or 5 MB. Nothing else is allowed, indented
// lines neither, so nothing stands there untried. PREFORKD_UPDATE=1 puts what was printed into the page where it differs.

import (
	"bytes"
	"context"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// pythonsPages are the pages, and the modules that their blocks import.
var pythonsPages = map[string][]string{
	"loaded-eight-times": {"numpy", "fastapi", "uvicorn"},
	"rss":                {"numpy"},
	"preload":            {"numpy", "gunicorn"},
	"what-can-be-shared": {"numpy", "pandas", "pyarrow"},
	"data-reload":        {"numpy", "gunicorn"},
	"from-shared-memory": {"numpy"},
}

func TestPythonsPagesAreTrue(t *testing.T) {
	for name, modules := range pythonsPages {
		t.Run(name, func(t *testing.T) {
			for _, module := range modules {
				if err := exec.Command(venv(t, "python"), "-c", "import "+module).Run(); err != nil {
					missing(t, module+" in the virtual environment")
				}
			}
			newPage(t, "../docs/"+name+".md").run()
		})
	}
}

// page is one that is being tried.
type page struct {
	t      *testing.T
	path   string
	text   string
	dir    string
	port   string            // in the place of 8000
	own    *strings.Replacer // what all of the machine shares, port and segment, becomes this page's alone
	back   *strings.Replacer
	env    []string
	server *fleet
	ours   bool   // the server is a preforkd
	output string // of the last block
}

func newPage(t *testing.T, path string) *page {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := filepath.Abs("../clients/python/src")
	if err != nil {
		t.Fatal(err)
	}
	dir, bin := place(t), t.TempDir()
	if err := os.Symlink(preforkd, filepath.Join(bin, "preforkd")); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	const segment = "emb_example" // of docs/from-shared-memory.md, in /dev/shm
	own, back := strings.NewReplacer("8000", port, segment, segment+"_"+port), strings.NewReplacer(segment+"_"+port, segment, port, "8000")
	return &page{t: t, path: path, text: string(text), dir: dir, port: port, own: own, back: back, env: []string{
		"PATH=" + bin + ":" + filepath.Dir(venv(t, "python")) + ":" + os.Getenv("PATH"),
		"PYTHONPATH=" + client + ":" + dir, "PREFORKD_OPT_RUN_DIR=" + filepath.Join(dir, "run"), "HOME=" + dir,
		"PYTHONDONTWRITEBYTECODE=1", "OPENBLAS_NUM_THREADS=1", "PREFORKD_E2E=" + dir, // fleet's mark: nothing of a page is left
	}}
}

const amountAlone = `(-?[0-9][0-9,.]*)`

var (
	fenced     = regexp.MustCompile("(?ms)^```(\\S*)([^\n]*)\n(.*?)^```$")
	unfenced   = regexp.MustCompile("(?m)^( {4}|\t| *(```|~~~)).*$") // what Markdown shows as a block all the same
	pythonFile = regexp.MustCompile(`^# (\w+\.py)\n`)
	serves     = regexp.MustCompile(`^(preforkd -|gunicorn |uvicorn |celery .* worker)`)
	amount     = regexp.MustCompile(amountAlone + ` (MB)`)
)

func (p *page) run() {
	blocks := fenced.FindAllStringSubmatchIndex(p.text, -1)
	if len(blocks) == 0 {
		p.t.Fatalf("%s has no blocks", p.path)
	}
	outside := fenced.ReplaceAllStringFunc(p.text, func(block string) string { return strings.Repeat("\n", strings.Count(block, "\n")) })
	if at := unfenced.FindStringIndex(outside); at != nil {
		p.t.Fatalf("%s:%d: nobody runs this: %s", p.path, 1+strings.Count(outside[:at[0]], "\n"), outside[at[0]:at[1]])
	}
	updated, last := "", 0
	defer func() {
		if os.Getenv("PREFORKD_UPDATE") == "1" && last > 0 {
			if err := os.WriteFile(p.path, []byte(updated+p.text[last:]), 0o644); err != nil {
				p.t.Error(err)
			}
		}
	}()
	for _, at := range blocks {
		language, rest, text := p.text[at[2]:at[3]], p.text[at[4]:at[5]], p.text[at[6]:at[7]]
		line := strconv.Itoa(1 + strings.Count(p.text[:at[0]], "\n"))
		switch file := pythonFile.FindStringSubmatch(text); {
		case rest != "":
			p.t.Fatalf("%s:%s: a block says %q: what is not run does not belong here", p.path, line, language+rest)
		case language == "text":
			if p.printed(text) {
				continue
			}
			p.t.Errorf("%s:%s: the page says\n%s\nbut this was printed (PREFORKD_UPDATE=1 takes it over):\n%s", p.path, line, text, p.output)
			updated, last = updated+p.text[last:at[6]]+p.output, at[7]
		case language == "python" && file != nil:
			if err := os.WriteFile(filepath.Join(p.dir, file[1]), []byte(p.here(text)), 0o644); err != nil {
				p.t.Fatal(err)
			}
		case language == "python":
			p.execute(line, "python", text)
		case language == "sh" && serves.MatchString(text):
			p.serve(text)
		case language == "sh":
			p.execute(line, "bash", "set -euo pipefail\n"+text)
		default:
			p.t.Fatalf("%s:%s: nobody knows how to run %q", p.path, line, language)
		}
	}
	p.end()
}

// here is a block's text with the names that are free here.
func (p *page) here(text string) string { return p.own.Replace(text) }

// execute runs a block by a program that reads it from its standard input.
func (p *page) execute(line, program, text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-")
	if program == "bash" {
		cmd.Args = []string{program, "-s"}
		for _, name := range []string{"curl", "pgrep"} { // which a small image of Debian has not
			if strings.Contains(text, name+" ") {
				tool(p.t, name)
			}
		}
	}
	cmd.Path = tool(p.t, "bash")
	if program == "python" {
		cmd.Path = venv(p.t, "python")
	}
	cmd.Dir, cmd.Env, cmd.Stdin = p.dir, append(os.Environ(), p.env...), strings.NewReader(p.here(text))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	p.output = p.back.Replace(out.String())
	p.t.Logf("%s:%s:\n%s%s", filepath.Base(p.path), line, p.output, errs.String())
	if err != nil {
		p.t.Fatalf("%s:%s: %v\n%s", p.path, line, err, errs.String())
	}
}

// serve starts the server of a block in the place of the one before it.
func (p *page) serve(text string) {
	p.t.Helper()
	p.end()
	// start's own flags stand in front of the page's, as if they were typed there.
	script := `own=("$0" "$@"); preforkd() { exec "${own[@]}" "$@"; }; ` + p.here(text)
	if p.ours = strings.HasPrefix(text, "preforkd "); !p.ours {
		script = "exec " + p.here(text)
	}
	p.server = start(p.t, spec{dir: p.dir, env: p.env, through: []string{"bash", "-c", script}})
	if p.ours {
		// A page that prints figures of /stats is not about what was measured of a worker before the others were there.
		var since time.Time
		printed := strings.Contains(p.text, `"pss"`)
		p.server.until("every worker ready and measured", func(s *supervisor.Snapshot) bool {
			if len(s.Workers) == 0 || len(ready(s)) < len(s.Workers) {
				return false
			}
			if printed && since.IsZero() {
				since = time.Now()
			}
			return !slices.ContainsFunc(s.Workers, func(w supervisor.Worker) bool { return !w.Sample.Exact || w.Sample.At.Before(since) })
		})
		return
	}
	within(p.t, patience, "the server's port", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+p.port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// end stops the server that still runs; a page may have done so itself.
func (p *page) end() {
	p.t.Helper()
	f := p.server
	if p.server = nil; f == nil {
		return
	}
	select {
	case <-f.ended:
	default:
		if p.ours {
			f.stop()
		} else if err := syscall.Kill(f.pid, syscall.SIGTERM); err != nil {
			p.t.Fatal(err)
		}
	}
	within(p.t, patience, "the end of every process of the server", func() bool { return len(marked(p.t, f.mark)) == 0 })
}

// printed tells whether the last block has printed this; how wide its columns are does not count.
func (p *page) printed(want string) bool {
	want, got := strings.Join(strings.Fields(want), " "), strings.Join(strings.Fields(p.output), " ")
	pattern := regexp.QuoteMeta(amount.ReplaceAllString(want, "AMOUNT $2"))
	pattern = strings.NewReplacer("AMOUNT", amountAlone, "…", ".*").Replace(pattern)
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(got)
	if found == nil {
		return false
	}
	for i, said := range amount.FindAllStringSubmatch(want, -1) {
		a, b := figure(said[1]), figure(found[i+1])
		if math.Abs(a-b) > math.Max(0.1*a, 5) {
			return false
		}
	}
	return true
}

func figure(text string) float64 {
	n, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
	if err != nil {
		return math.NaN()
	}
	return n
}
