// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheEnvironmentIsTheOneOfTheGoldenFile(t *testing.T) {
	p, paths := full()
	env, err := p.Environ(4711, paths)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/environ.txt", strings.Join(env, "\n")+"\n")
}

func TestWithoutDataTheManifestIsEmpty(t *testing.T) {
	env, err := (&Plan{}).Environ(1, nil)
	want := []string{"PREFORKD_WORKER_ID=0", "PREFORKD_WORKERS=0", "PREFORKD_INCARNATION=0", "PREFORKD_DATA={}"}
	if err != nil || !slices.Equal(env, want) {
		t.Errorf("the environment is %q, want %q: %v", env, want, err)
	}
}

func golden(t *testing.T, path, have string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), have); diff != "" {
		t.Errorf("%s (- file, + now; -update writes it anew):\n%s", path, diff)
	}
}

func TestTheContractWinsOverEnvAndEnvOverTheBase(t *testing.T) {
	p, paths := full()
	p.Base = []string{
		"A=base", "B=base", "A=twice", "BARE", "=odd", "PREFORKD_DATA_EMB=lie", "LISTEN_PID=1", "PREFORKD_WORKERS=lie", "EQUALS=a=b",
	}
	p.Env = []string{"B=env", "B=again {worker}", "C=new", "LISTEN_FDS=99", "PREFORKD_DATA={}"}
	env, err := p.Environ(4711, paths)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		if _, twice := values[key]; twice {
			t.Errorf("%s stands twice", key)
		}
		values[key] = value
	}
	for key, want := range map[string]string{
		"A": "twice", "B": "again 2", "C": "new", "BARE": "", "EQUALS": "a=b",
		"PREFORKD_DATA_EMB": paths[0], "LISTEN_PID": "4711", "LISTEN_FDS": "2", "PREFORKD_WORKERS": "8",
	} {
		if values[key] != want {
			t.Errorf("%s=%s, want %s", key, values[key], want)
		}
	}
	if values["PREFORKD_DATA"] == "{}" {
		t.Error("--env has overwritten the manifest")
	}
	again, err := p.Environ(4711, paths)
	if err != nil || !slices.Equal(env, again) {
		t.Errorf("the order differs from one start to the next: %q", again)
	}
}

func TestVariablesMeantForPreforkdItselfAreTakenOut(t *testing.T) {
	keep := []string{"PATH=/bin", "PREFORKD=x", "PREFORKD_NAME=x", "LISTEN=x", "NOTIFY=x", "WATCHDOG=x", "EMPTY=", "PREFORKD_DATABASE=x"}
	drop := []string{
		"LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b", "LISTEN_PIDFDID=7", "NOTIFY_SOCKET=/x", "WATCHDOG_USEC=1", "WATCHDOG_PID=1",
		"PREFORKD_OPT_WORKERS=9", "PREFORKD_WORKER_ID=0", "PREFORKD_WORKERS=1", "PREFORKD_INCARNATION=1", "PREFORKD_RUN_DIR=/x",
		"PREFORKD_DATA={}", "PREFORKD_DATA_OLD=/x", "PREFORKD_DATA_OLD_FD=5", "PREFORKD_DATA_OLD_SIZE=5",
	}
	all := append(slices.Clone(drop), keep...)
	before := slices.Clone(all)
	if have := BaseEnv(all); !slices.Equal(have, keep) {
		t.Errorf("%q is left, want %q", have, keep)
	}
	if !slices.Equal(all, before) {
		t.Error("the caller's list has changed")
	}
}

// Everything that a preforkd sets for its workers is taken out by a preforkd that one of them is.
func TestANestedPreforkdStartsClean(t *testing.T) {
	p, paths := full()
	p.Env = nil
	env, err := p.Environ(1, paths)
	if err != nil {
		t.Fatal(err)
	}
	if have := BaseEnv(env); !slices.Equal(have, p.Base) {
		t.Errorf("of the outer preforkd %q is left, want %q", have, p.Base)
	}
}

func TestEnvValuesAreChecked(t *testing.T) {
	for _, kv := range []string{"A=b", "A=", "A==", "a.b=c d", "PREFORKD=x", "A={not a placeholder}"} {
		if err := CheckEnv(kv); err != nil {
			t.Errorf("%q: %v", kv, err)
		}
	}
	for kv, want := range map[string]string{
		"":                      `cannot use --env "": write NAME=VALUE`,
		"A":                     `cannot use --env "A": write NAME=VALUE`,
		"=b":                    `cannot use --env "=b": write NAME=VALUE`,
		"A=\x00":                `cannot use --env "A=\x00": write NAME=VALUE`,
		"LISTEN_FDS=1":          "cannot use --env LISTEN_FDS: preforkd sets or removes this variable for each worker",
		"PREFORKD_DATA_X=1":     "cannot use --env PREFORKD_DATA_X: preforkd sets or removes this variable for each worker",
		"PREFORKD_OPT_WORKERS=": "cannot use --env PREFORKD_OPT_WORKERS: preforkd sets or removes this variable for each worker",
	} {
		if err := CheckEnv(kv); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", kv, err, want)
		}
	}
}

func TestADatasetsNameInVariables(t *testing.T) {
	for name, want := range map[string]string{"emb": "EMB", "raw-words_2": "RAW_WORDS_2", "a.b": "A_B", "é": "_", "": ""} {
		if have := Variable(name); have != want {
			t.Errorf("%q becomes %q, want %q", name, have, want)
		}
	}
}

func TestTheDescriptorsFollowOneAnother(t *testing.T) {
	p, _ := full()
	have := []int{p.SocketFD(0), p.SocketFD(1), p.DataFD(0), p.DataFD(1)}
	if want := []int{3, 4, 5, 6}; !slices.Equal(have, want) {
		t.Errorf("the descriptors are %v, want %v", have, want)
	}
	if first := (&Plan{}).DataFD(0); first != 3 {
		t.Errorf("without sockets the first dataset is %d, want 3", first)
	}
}

func TestAPlanSurvivesJSON(t *testing.T) {
	p, _ := full()
	p.Command = append(p.Command, "", "caf\xe9", "<&>", "a\x00b")
	p.Base = append(p.Base, "BYTES=\xff\xfe")
	for _, want := range []*Plan{p, {}, {Command: Strings{}, Env: Strings{""}}} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		have := &Plan{Command: Strings{"left over"}}
		if err := json.Unmarshal(text, have); err != nil {
			t.Fatal(err)
		}
		if len(have.Command) == 0 && len(want.Command) == 0 {
			have.Command, want.Command = nil, nil // the same to everybody
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("- before, + after:\n%s", diff)
		}
	}
	// A field that is added is noticed here: full must fill it.
	for value, i := reflect.ValueOf(*p), 0; i < value.NumField(); i++ {
		if value.Field(i).IsZero() {
			t.Errorf("the test's plan has no %s", value.Type().Field(i).Name)
		}
	}
	var s Strings
	if err := json.Unmarshal([]byte(`["no base64!"]`), &s); err == nil {
		t.Errorf("it read %q", s)
	}
}
