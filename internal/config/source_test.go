// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"
)

func TestAFlagWinsOverAVariableAndAVariableOverTheFile(t *testing.T) {
	path := file(t, `
workers = 2
surge = 3
stop-timeout = "4s"
command = ["python", "file.py"]`)
	environ := []string{"PREFORKD_OPT_WORKERS=5", "PREFORKD_OPT_SURGE=6", "PREFORKD_OPT_CONFIG=" + path}
	o, _, err := readWith(environ, "--workers", "7")
	if err != nil {
		t.Fatal(err)
	}
	if o.Workers != 7 || o.Surge != 6 || o.StopTimeout.Seconds() != 4 || !slices.Equal(o.Command, []string{"python", "file.py"}) {
		t.Errorf("it is %+v", o)
	}
	for name, want := range map[string]string{
		"workers": "flag", "surge": "PREFORKD_OPT_SURGE", "stop-timeout": path + ":4", "command": path + ":5", "config": "PREFORKD_OPT_CONFIG",
		"start-timeout": "default",
	} {
		if have := o.Origin(name); have != want {
			t.Errorf("%s comes from %s, want %s", name, have, want)
		}
	}

	o, _, err = readWith(environ, "--config", file(t, "surge = 0"), "--", "ruby", "flag.rb")
	if err != nil || !slices.Equal(o.Command, []string{"ruby", "flag.rb"}) || o.Origin("command") != "flag" || o.StopTimeout.Seconds() != 25 {
		t.Errorf("with a flag for the file and the command: %+v %v", o, err)
	}
}

func TestAListReplacesThatOfTheSourceBelow(t *testing.T) {
	path := file(t, `
data = ["a=1", "b=2"]
listen = ":1"
env = {A = "1", B = "2"}
command = ["app"]`)
	environ := []string{"PREFORKD_OPT_DATA=c=cmd:x; y=z\nd=4\n", "PREFORKD_OPT_LISTEN=:2", "PREFORKD_OPT_CONFIG=" + path}
	o, _, err := readWith(environ, "--listen", ":3", "-l", "web=:4")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, o.Data, []string{"c=cmd:x; y=z", "d=4"})
	equal(t, o.Listen, []string{":3", "web=:4"})
	equal(t, o.Env, []string{"A=1", "B=2"})
	if o.Origin("env") != path+":4" || o.Origin("data") != "PREFORKD_OPT_DATA" || o.Origin("listen") != "flag" {
		t.Errorf("they come from %s, %s, %s", o.Origin("env"), o.Origin("data"), o.Origin("listen"))
	}
}

// A mistake is one where it is overridden too: it would come to light with the next change.
func TestWhatIsOverriddenMustBeRight(t *testing.T) {
	path := file(t, `workers = "many"`)
	_, _, err := readWith([]string{"PREFORKD_OPT_WORKERS=0", "PREFORKD_OPT_SRUGE=1"}, "--config", path, "-w", "1", "-w", "x", "-w", "2")
	if err == nil {
		t.Fatal("it is accepted")
	}
	equal(t, strings.Split(err.Error(), "\n"), []string{
		"cannot use PREFORKD_OPT_SRUGE: there is no such option (did you mean PREFORKD_OPT_SURGE?); preforkd --help lists them",
		"cannot use " + path + `:1:11: workers = "many": give a number from 1 to 4096, or auto`,
		`cannot use PREFORKD_OPT_WORKERS="0": give a number from 1 to 4096, or auto`,
		`cannot use --workers "x": give a number from 1 to 4096, or auto`,
		"cannot run without a command: write it behind --, as in preforkd -w 4 -- python app.py",
	})
}

func TestUsersAreRefusedWhereTheyWereGiven(t *testing.T) {
	path := file(t, `user = "no-such-user"`)
	_, _, err := read("--config", path, "app")
	fails(t, "file", err, "cannot use "+path+`:1:8: user = "no-such-user": there is no user "no-such-user"; give a name or a number`)
	_, _, err = readWith([]string{"PREFORKD_OPT_GROUP=no-such-group"}, "--user", "0:1", "app")
	fails(t, "both", err, `cannot use --user "0:1" with PREFORKD_OPT_GROUP="no-such-group": give the group once`)
}

func TestAReloadCannotChangeWhatWasOpenedAtTheStart(t *testing.T) {
	load := func(args ...string) *Options {
		o, err := Load(append(args, "app"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	before := load("-l", ":1", "-l", ":2", "--user", "0")
	if err := Frozen(before, load("-l", ":1", "-l", ":2", "--user", "0", "--stats", defaultStats, "-w", "9", "-d", "a=b", "--data-opt", "a.lock=true", "--watch",
		"--huge-pages", "off", "--lock-memory", "--hide-args", "-e", "A=1", "-C", "/",
		"--ready", "notify", "--start-timeout", "1s", "--stop-timeout", "1s", "--stop-signal", "INT", "--backoff-max", "1s", "--surge", "3",
		"--watchdog", "1s", "--max-age", "1h", "--max-requests", "5", "--max-private", "1GiB")); err != nil {
		t.Errorf("what may change: %v", err)
	}
	fails(t, "another order", Frozen(before, load("-l", ":2", "-l", ":1", "--user", "0")),
		"cannot change listen by a reload: preforkd must be restarted for it")
	fails(t, "everything", Frozen(before, load("-l", ":1", "--accept", "reuseport", "--socket-mode", "0600", "--user", "1", "--group", "1",
		"--name", "x", "--run-dir", "/x", "--stats", "unix:/x", "--stats-budget", "2%", "--stats-cert", "/x", "--stats-key", "/x", "--stats-auth", "/x", "--log-format", "json", "--log-level", "warn",
		"--log-file", "/x", "--log-workers", "json")),
		"cannot change listen, accept, socket-mode, user, group, name, run-dir, stats, stats-budget, stats-cert, stats-key, stats-auth, log-format, log-level, log-file, "+
			"log-workers by a reload: preforkd must be restarted for it")
}
