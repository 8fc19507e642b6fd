// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

// Every wrong value of every option, written as a flag, as a variable and as a key of the file.

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// wrong is one value, and what the error says behind the option and the value; of a list, behind the option.
type wrong struct{ text, reason string }

// each is a reason for several values.
func each(reason string, texts ...string) (all []wrong) {
	for _, text := range texts {
		all = append(all, wrong{text, reason})
	}
	return all
}

// wrongValues holds at least one of every option.
func wrongValues() map[string][]wrong {
	const (
		number  = "give a number from 1 to 4096, or auto"
		time    = "give a time such as 500ms, 30s or 2m, from 1ms to 8760h"
		jitter  = ", such a value with a jitter of up to 50% as in "
		age     = "give a time such as 12h" + jitter + "12h±10%, or off"
		request = "give a number such as 10000" + jitter + "10000±10%, or off"
		size    = "give a size such as 200MiB" + jitter + "200MiB±10%, or off"
		address = "write [NAME=]HOST:PORT, [NAME=]unix:/PATH or [NAME=]fd://N"
		name    = "give a name of letters, digits, dots, - and _, 64 at most, that begins with a letter or digit"
		signal  = "give a signal such as TERM, QUIT or INT"
		share   = "give a percentage above 0% and up to 100%, such as 1%"
		mode    = "give a mode in octal from 0001 to 0777, such as 0660"
		modes   = "auto, notify" // what follows is ready's
	)
	signals := each(signal, "FOO", "0", "65", "-1", "SIG", "", "TERM ")
	for text, sig := range map[string]string{
		"KILL": "KILL", "SIGSTOP": "STOP", "cont": "CONT", "TSTP": "TSTP", "21": "TTIN", "ttou": "TTOU", "CHLD": "CHLD",
	} {
		signals = append(signals, wrong{text, "SIG" + sig + " cannot ask a worker to stop; " + signal})
	}
	return map[string][]wrong{
		"workers": each(number, "0", "-3", "4097", "99999999999999999999", "1.5", "", "Auto", " 4", "0x4", "4 "),
		"data": {
			{"emb", `"emb": write NAME=SOURCE, as in emb=./emb.npy`},
			{"", `"": write NAME=SOURCE, as in emb=./emb.npy`},
			{"=x", "without a name: write NAME=SOURCE, for example emb=./emb.npy"},
			{"Emb=x", `name "Emb": it must match [a-z][a-z0-9_-]*`},
			{"a=", `"a": its source is empty: give a path, -, cmd:COMMAND, https://… or direct:PATH`},
			{"a=cmd: ", `"a": cmd: needs a command`},
			{"a=direct:", `"a": direct: needs the path of a file or a directory`},
		},
		"data-opt": each("as it is given: write NAME.KEY=VALUE, as in emb.codec=none", "", "emb", "emb.sha256", "sha256=00", "=x", ".sha256=x", "emb.=x",
			"Emb.lock=true", "emb.Lock=true", "emb sha256=secret", "emb.header: Authorization: Bearer secret==", "emb.a.b=c"),
		"watch":       each("give true or false", "", "yes", "on", "True", "2", "emb"),
		"huge-pages":  each("give one of auto, on, off", "", "true", "always", "2M"),
		"lock-memory": each("give true or false", "", "all", "1GiB"),
		"listen": {
			{"8000", `"8000": ` + address},
			{"", `"": ` + address},
			{":99999", `":99999": port "99999" is not a number from 0 to 65535`},
			{"unix:", `"unix:": the path is missing; ` + address},
			{"fd://x", `"fd://x": "x" is not a descriptor number; ` + address},
			{"A=:80", `name "A": a name begins with a-z and goes on with a-z, 0-9, _ and -`},
		},
		"accept":        each("give one of shared, reuseport", "", "both", "Shared", "true"),
		"socket-mode":   each(mode, "", "0", "0888", "1000", "rw", "-1", "0o660"),
		"ready":         each(modes, "", "soon", "Auto", "alive", "alive:", "alive:-1s", "alive:1", "http:", "http:x"),
		"start-timeout": each(time, "", "0", "0s", "30", "-5s", "soon", "1us", "8761h", "off"),
		"stop-timeout":  each(time, "0", "soon"),
		"backoff-max":   each(time, "0s", "-1s"),
		"stop-signal":   signals,
		"surge":         each("give a number from 0 to 64", "", "-1", "65", "auto", "1.5"),
		"max-age": each(age, "", "0", "0s", "999ms", "-1h", "12", "12h±", "12h±10", "12h±51%", "12h±-1%", "12h±NaN%", "12h10%", "±10%", "9000h", "12h±1%±1%",
			"on"),
		"max-requests": each(request, "", "0", "-1", "1.5", "10k", "1000±60%", "1000+-x%", "9223372036854775807", "99999999999999999999"),
		"max-private":  each(size, "", "0", "0MiB", "200", "-1MiB", "MiB", "200XB", "200MiB±51%", "9EiB", "99999999999EiB", "1.5"),
		"watchdog":     each("give a time such as 30s or 2m, from 1s to 8760h, or off", "", "0", "0s", "-1s", "10", "on", "999ms"),
		"user":         each("the value is empty; give a user's name or number", ""),
		"group":        each("the value is empty; give a group's name or number", ""),
		"chdir":        each("the value is empty; give a directory", ""),
		"env": {
			{"A", `"A": write NAME=VALUE`},
			{"=1", `"=1": write NAME=VALUE`},
			{"", `"": write NAME=VALUE`},
			{"LISTEN_FDS=1", "LISTEN_FDS: preforkd sets or removes this variable for each worker"},
		},
		"config":       each("the value is empty; give a file", ""),
		"name":         each(name, "", "-a", ".", "a/b", "a b", strings.Repeat("x", 65)),
		"run-dir":      each("the value is empty; give a directory", ""),
		"stats":        append(each("give HOST:PORT, unix:PATH or off", "", "x", "9797", ":99999", "on"), wrong{"unix:", "a unix socket's path has 1 to 107 bytes; give HOST:PORT, unix:PATH or off"}),
		"stats-budget": each(share, "", "1", "0%", "-1%", "101%", "NaN%", "%", "1 %"),
		"stats-cert":   each("the value is empty; give a file", ""),
		"stats-key":    each("the value is empty; give a file", ""),
		"stats-auth":   each("the value is empty; give a file", ""),
		"hide-args":    each("give true or false", "", "yes", "all"),
		"log-format":   each("give one of auto, text, json", "", "xml"),
		"log-level":    each("give one of debug, info, warn, error", "", "loud"),
		"log-file":     each("the value is empty; give a file", ""),
		"log-workers":  each("give one of pass, prefix, json, inherit", "", "drop"),
	}
}

func TestEveryOptionHasWrongValues(t *testing.T) {
	values := wrongValues()
	for _, opt := range table() {
		if len(values[opt.name]) == 0 {
			t.Errorf("--%s has no wrong value in the table", opt.name)
		}
		delete(values, opt.name)
	}
	for name := range values {
		t.Errorf("there is no --%s", name)
	}
}

func TestWrongValuesAreRefusedWithTheirNameAndTheAllowedForm(t *testing.T) {
	for _, opt := range table() {
		for _, w := range wrongValues()[opt.name] {
			reason := ": " + w.reason
			subject := func(label, between, value string) string {
				if opt.repeatable() {
					return "cannot use " + label + " " + w.reason
				}
				return "cannot use " + label + between + value + reason
			}
			check := func(what string, err error, want string) {
				if opt.name == "ready" && err != nil && isReady(err.Error(), want) {
					return
				}
				fails(t, what, err, want)
			}

			_, _, err := read("--"+opt.name+"="+w.text, "app")
			check("flag", err, subject("--"+opt.name, " ", strconv.Quote(w.text)))

			name := "PREFORKD_OPT_" + strings.ToUpper(strings.ReplaceAll(opt.name, "-", "_"))
			_, _, err = readWith([]string{name + "=" + w.text}, "app")
			want := subject(name, "=", strconv.Quote(w.text))
			if w.text == "" {
				want = fmt.Sprintf(`cannot use %s="": the value is empty; give %s, or unset it`, name, opt.arg)
			}
			check("variable", err, want)

			spellings := []string{strconv.Quote(w.text)}
			if _, err := strconv.Atoi(w.text); err == nil && opt.is(numeric|boolean) {
				spellings = append(spellings, w.text)
			}
			for _, value := range spellings {
				path := file(t, opt.name+" = "+value)
				_, _, err = read("--config", path, "app")
				want = subject(fmt.Sprintf("%s:1:%d: %s", path, len(opt.name)+4, opt.name), " = ", value)
				if opt.name == "config" {
					want = "cannot use " + path + ":1:1: config has no place in the file: give it as a flag or as PREFORKD_OPT_CONFIG"
				}
				check("file", err, want)
			}
		}
	}
}

// isReady compares without the wording of package ready.
func isReady(have, want string) bool {
	before, _, _ := strings.Cut(want, ": auto, notify")
	return strings.HasPrefix(have, before+": ") && strings.Contains(have, "auto, notify")
}

// A wrong type names the allowed form too, of which the table knows at least how the value is written.
func TestWrongTypesInTheFileAreRefused(t *testing.T) {
	for _, opt := range table() {
		if opt.is(outside) {
			continue
		}
		for _, value := range []string{"true", "-1.5", "nan", "2026-01-01", "07:32:00", "[[]]", "{a.b = 1}", "[{a = [1]}]", "99999999999999999999", "{a = 1}"} {
			path := file(t, opt.name+" = "+value)
			_, _, err := read("--config", path, "app")
			if value == "true" && opt.is(boolean) {
				continue
			}
			if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "cannot use "+path+":1:") ||
				!strings.Contains(err.Error(), opt.name) || !strings.Contains(err.Error(), "give ") && opt.name != "ready" && !strings.Contains(err.Error(), "there is no option") {
				t.Errorf("%s = %s: %v", opt.name, value, err)
			}
		}
	}
}

func TestVariablesThatDoNotExist(t *testing.T) {
	for name, want := range map[string]string{
		"PREFORKD_OPT_WROKERS": "cannot use PREFORKD_OPT_WROKERS: there is no such option (did you mean PREFORKD_OPT_WORKERS?); preforkd --help lists them",
		"PREFORKD_OPT_workers": "cannot use PREFORKD_OPT_workers: there is no such option (did you mean PREFORKD_OPT_WORKERS?); preforkd --help lists them",
		"PREFORKD_OPT_LOGFILE": "cannot use PREFORKD_OPT_LOGFILE: there is no such option (did you mean PREFORKD_OPT_LOG_FILE?); preforkd --help lists them",
		"PREFORKD_OPT_COMMAND": "cannot use PREFORKD_OPT_COMMAND: there is no such option; preforkd --help lists them",
		"PREFORKD_OPT_":        "cannot use PREFORKD_OPT_: there is no such option; preforkd --help lists them",
	} {
		_, _, err := readWith([]string{name + "=1"}, "app")
		fails(t, name, err, want)
	}
	if _, _, err := readWith([]string{"PREFORKD_WORKERS=1", "PREFORKD=", "", "=C:=x", "WORKERS=x"}, "app"); err != nil {
		t.Errorf("the variables of others: %v", err)
	}
}
