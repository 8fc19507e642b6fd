// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// The file says what the flags say, in each of its forms.
func TestTheFileSaysWhatTheFlagsSay(t *testing.T) {
	want, _ := good(t, "-w", "4", "--surge", "0", "--max-requests", "1000", "--max-age", "12h±5%", "-d", "emb=./emb.npy", "-d", "a-b=cmd:cat x",
		"-l", ":8000", "-e", "A=1", "-e", "B=x=y", "--stop-signal", "INT", "--", "python", "app.py")
	want.Config = ""
	for what, content := range map[string]string{
		"tables": `
workers = 4
surge = 0
max-requests = 1_000
max-age = "12h±5%"
listen = ":8000"
stop-signal = 'INT'
command = ["python", "app.py"] # as it is
[data]
emb = "./emb.npy"
"a-b" = "cmd:cat x"
[env]
A = "1"
B = "x=y"`,
		"arrays": "workers = 0x4\nsurge = +0\nmax-requests = \"1000\"\nmax-age = \"12h+-5%\"\ndata = [\n\"emb=./emb.npy\", # the first\n'a-b=cmd:cat x',\n]\n" +
			"listen = [':8000']\nenv = [\"A=1\", \"B=x=y\"]\nstop-signal = \"2\"\ncommand = [\"python\",\n\"app.py\"]\n",
		"inline": "workers='4'\r\nsurge='0'\r\nmax-requests=0o1750\r\nmax-age='12h±5%'\r\ndata={emb='./emb.npy',a-b='cmd:cat x'}\r\nlisten=':8000'\r\n" +
			"env.A='1'\r\nenv.B='x=y'\r\n\"stop-signal\"='sigint'\r\ncommand=['python','app.py']",
	} {
		o, _, err := read("--config", file(t, content))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		o.Config = ""
		equal(t, *o, *want)
	}
}

func TestMistakesInTheFileAreToldWithTheirPlace(t *testing.T) {
	for content, wants := range map[string][]string{
		"\n\nworkers = \"many\"":                       {`3:11: workers = "many": give a number from 1 to 4096, or auto`},
		"surge = 1\nwrokers = 3":                       {`2:1: there is no option "wrokers" (did you mean workers?)`},
		"start_timeout = '1s'":                         {`1:1: there is no option "start_timeout" (did you mean start-timeout?)`},
		"nonsense = 3\nlisten = '8000'":                {`1:1: there is no option "nonsense"`, `2:10: listen "8000": write [NAME=]HOST:PORT, [NAME=]unix:/PATH or [NAME=]fd://N`},
		"[nonsense]\na = 1\nb = 2\n[data]\nX='1'":      {`1:2: there is no option "nonsense"`, `5:3: data name "X": it must match [a-z][a-z0-9_-]*`},
		"workers.a = 1":                                {`1:1: there is no option "workers.a"`},
		"data.a.b = '1'":                               {`1:1: there is no option "data.a.b"`},
		"data = {a.b = '1'}":                           {`1:9: there is no option "data.a.b"`},
		"[data.a]\nb='1'":                              {`1:2: there is no option "data.a"`},
		"[[data]]\na = '1'":                            {`1:3: there is only one table data: write [data]`},
		"[workers]\na = 1":                             {`1:2: workers is no table: give one value, N|auto`},
		"workers = [1]":                                {`1:11: workers: give one value, N|auto`},
		"name = true":                                  {`1:8: name = true: give it in quotes, as "NAME"`},
		"start-timeout = 30":                           {`1:17: start-timeout = 30: give a time such as 500ms, 30s or 2m, from 1ms to 8760h`},
		"data = 3":                                     {`1:8: data = 3: give it in quotes, as "NAME=SOURCE"`},
		"data = ['a=b',\n  7]":                         {`2:3: data = 7: give it in quotes, as "NAME=SOURCE"`},
		"[data]\na = './a'\nworkers = 4":               {`3:11: data.workers = 4: give it in quotes; options stand above all tables`},
		"[env]\nPORT = 8000":                           {`2:8: env.PORT = 8000: give it in quotes; options stand above all tables`},
		"[data]\n'a=b' = 'c'":                          {`2:9: data: the name "a=b" must not hold = or a zero byte`},
		"chdir = \"a\\u0000b\"":                        {"1:9: chdir: the value holds a zero byte; give DIR"},
		"command = 'python app.py'":                    {`1:11: command: give its words as strings, as in command = ["python", "app.py"]`},
		"command = []":                                 {`1:11: command: give its words as strings, as in command = ["python", "app.py"]`},
		"command = ['a', 1]":                           {`1:11: command: give its words as strings, as in command = ["python", "app.py"]`},
		"workers = 1\nsurge = 1\nworkers = 2":          {"3:1: key workers is already defined"},
		"[data]\na='1'\n[env]\nA='1'\n[data]":          {"5:2: table data already exists"},
		"workers = 1\nsurge =":                         {"2:7: expected value, not end of input"},
		"workers = 'x'\nworkers = 'y'\n= 3":            {"2:1: key workers is already defined", `1:11: workers = "x": give a number from 1 to 4096, or auto`, `2:11: workers = "y": give a number from 1 to 4096, or auto`},
		"socket-mode = 0660":                           {"1:15: integers cannot have leading zeroes"},
		"socket-mode = 0o660":                          {"1:15: socket-mode = 0o660: give a mode in octal from 0001 to 0777, such as 0660"},
		"# é\nworkers = \"" + strings.Repeat("9", 200): {"2:211: unterminated basic string"},
		"surge = \"" + strings.Repeat("9", 200) + `"`:  {`1:9: surge = "` + strings.Repeat("9", 100) + `"…: give a number from 0 to 64`},
	} {
		path := file(t, content)
		_, _, err := read("--config", path, "app")
		for i, want := range wants {
			wants[i] = "cannot use " + path + ":" + want
		}
		fails(t, content, err, strings.Join(wants, "\n"))
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	pipe, large, latin := filepath.Join(dir, "pipe"), filepath.Join(dir, "large"), filepath.Join(dir, "latin")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{large: strings.Repeat("#\n", maxFile/2) + "#", latin: "# caf\xe9"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory",
		filepath.Join(latin, "x"):  "not a directory",
		dir:                        "it is not a regular file, which a reload could read again",
		pipe:                       "it is not a regular file, which a reload could read again",
		large:                      "it is larger than 1 MiB, which no configuration is",
	} {
		_, _, err := read("--config", path, "app")
		fails(t, path, err, `cannot use --config "`+path+`": `+want)
		_, _, err = readWith([]string{"PREFORKD_OPT_CONFIG=" + path}, "app")
		fails(t, path, err, `cannot use PREFORKD_OPT_CONFIG="`+path+`": `+want)
	}
	_, _, err := read("--config", latin, "app")
	fails(t, "latin", err, "cannot use "+latin+": it is not UTF-8")
	if os.Geteuid() != 0 {
		path := file(t, "")
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		_, _, err = read("--config", path, "app")
		fails(t, "mode 0", err, `cannot use --config "`+path+`": permission denied`)
	}
}

const configurationPage = "../../docs/configuration.md"

// The page's example is complete: every option stands in it, and it works.
func TestTheExampleOfThePageWorks(t *testing.T) {
	page, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```toml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no example")
	}
	_, reload, _ := strings.Cut(string(page), "## Reload\n")
	for _, opt := range table() {
		if opt.is(frozen) != strings.Contains(reload, "`"+opt.name+"`") {
			t.Errorf("the page is wrong about a reload that changes %s", opt.name)
		}
	}
	path := file(t, example)
	o, err := Load([]string{"--config", path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range table() {
		if !opt.is(outside) && !strings.HasPrefix(o.Origin(opt.name), path+":") {
			t.Errorf("%s is not in the example", opt.name)
		}
	}
	if o.MaxPrivate != (supervisor.Limit{Value: 200 << 20, Jitter: 0.2}) || o.StopTimeout != 25*time.Second || len(o.Data) != 3 || len(o.DataOptions) != 5 {
		t.Errorf("it gives %+v", o)
	}
	o.User, o.Group = "", "" // not every machine has them
	c, err := o.Supervisor()
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		t.Error(err)
	}
}

// Whatever the file holds, it is read or refused by name, and what is read can be said in flags.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"workers = 4\n[data]\na = './a'\n", "data = ['a=b', 7, [1]]", "env.A = '1'", "command = ['a', '']", "data={a='1', b.c=[2]}", "[[data]]",
		"a.'b'.\"c\" = 2026-01-01", "workers = \"\\u0000\"", "listen = [[[{", "workers = 1\nworkers = 2", "max-age = '1h±10%'", "\xff", "\r", "surge=0b1",
		"watch = true\ndata-opt.a.b = [true, 'x']", "[data-opt.a]\nb={c=1}\nd=false", "data-opt={a={b='c', d=true}, e.f=['g']}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		found, problems := parseFile("f.toml", content)
		for _, err := range problems {
			if !strings.HasPrefix(err.Error(), "cannot use f.toml") {
				t.Fatalf("%v", err)
			}
		}
		o := defaults()
		problems = append(problems, o.apply(found)...)
		if len(problems) > 0 {
			return
		}
		again := defaults()
		for _, it := range found.items {
			opt, ok := find(it.at.option)
			if !ok || it.at.line < 1 || it.at.column < 1 {
				t.Fatalf("%+v", it)
			}
			if err := opt.value(again).Set(it.text); err != nil {
				t.Fatalf("--%s %q: %v", opt.name, it.text, err)
			}
		}
		o.Command = nil
		equal(t, *again, *o)
	})
}
