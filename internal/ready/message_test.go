// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDatagramsAreRead(t *testing.T) {
	all := Message{Ready: true, Stopping: true, Reloading: true, Watchdog: true}
	for name, c := range map[string]struct {
		datagram string
		want     Message
	}{
		"ready":              {"READY=1", Message{Ready: true}},
		"all":                {"READY=1\nSTOPPING=1\nRELOADING=1\nWATCHDOG=1\n", all},
		"reloaded":           {"RELOADING=1\nREADY=1", Message{Ready: true}},
		"status":             {"STATUS=3 = three, ü", Message{Status: new("3 = three, ü")}},
		"status, cleared":    {"STATUS=", Message{Status: new("")}},
		"status, last wins":  {"STATUS=a\nSTATUS=b", Message{Status: new("b")}},
		"status, escapes":    {"STATUS=\x1b[2J\ttab\x00\xff", Message{Status: new("\uFFFD[2J\uFFFDtab\uFFFD\uFFFD")}},
		"status, reversed":   {"STATUS=\u202Eab", Message{Status: new("\uFFFDab")}},
		"requests":           {"X_PREFORKD_REQUESTS=42", Message{Requests: new(int64(42))}},
		"requests, zero":     {"X_PREFORKD_REQUESTS=0", Message{Requests: new(int64(0))}},
		"requests, negative": {"X_PREFORKD_REQUESTS=-1", Message{}},
		"requests, no":       {"X_PREFORKD_REQUESTS=many", Message{}},
		"requests, too many": {"X_PREFORKD_REQUESTS=9223372036854775808", Message{}},
		"takes":              {"X_PREFORKD_TAKES=emb  users\t", Message{Registrations: []Registration{{Takes: []string{"emb", "users"}}}}},
		"takes, last wins":   {"X_PREFORKD_TAKES=a\nX_PREFORKD_TAKES=*", Message{Registrations: []Registration{{Takes: []string{"*"}}}}},
		"takes, no names":    {"X_PREFORKD_TAKES=", Message{Registrations: []Registration{{}}}},
		"unknown keys":       {"MAINPID=1\nFDSTORE=1\nX_OTHER=1\nBARRIER=1", Message{}},
		"other values":       {"READY=0\nSTOPPING=yes\nRELOADING=\nWATCHDOG=trigger", Message{}},
		"no keys":            {"READY\n=1\n\n\n==\nready=1\n READY=1", Message{}},
		"nothing":            {"", Message{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parse([]byte(c.datagram)), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStatusIsCutBetweenCharacters(t *testing.T) {
	got := *parse([]byte("STATUS=" + strings.Repeat("ü", 300) + "x")).Status
	if got != strings.Repeat("ü", statusMax/2) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	got = *parse([]byte("STATUS=x" + strings.Repeat("ü", 300))).Status
	if got != "x"+strings.Repeat("ü", statusMax/2-1) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestMergedMessagesSayWhatTheySaidInTurn(t *testing.T) {
	for name, c := range map[string]struct {
		first, then, want Message
	}{
		"facts add up": {
			Message{Ready: true, PID: 1},
			Message{Stopping: true, Watchdog: true, PID: 1},
			Message{Ready: true, Stopping: true, Watchdog: true, PID: 1},
		},
		"reloading ends with ready": {
			Message{Reloading: true}, Message{Ready: true}, Message{Ready: true},
		},
		"reloading after ready": {
			Message{Ready: true}, Message{Reloading: true}, Message{Ready: true, Reloading: true},
		},
		"reloading goes on": {
			Message{Reloading: true}, Message{Watchdog: true}, Message{Reloading: true, Watchdog: true},
		},
		"the last text and number": {
			Message{Status: new("a"), Requests: new(int64(1)), PID: 1},
			Message{Status: new("b"), PID: 2},
			Message{Status: new("b"), Requests: new(int64(1)), PID: 2},
		},
		"registrations, one for each process": {
			Message{Registrations: []Registration{{PID: 1, Takes: []string{"a"}}, {PID: 2}, {PID: 0}}},
			Message{Registrations: []Registration{{PID: 1, Takes: []string{"b"}}, {PID: 0}}, Declined: "no", PID: 1},
			Message{Registrations: []Registration{{PID: 2}, {PID: 0}, {PID: 1, Takes: []string{"b"}}, {PID: 0}}, Declined: "no", PID: 1},
		},
		"the last reason": {
			Message{Declined: "one"}, Message{Declined: "two"}, Message{Declined: "two"},
		},
		"nothing changes nothing": {
			Message{Ready: true, PID: 1}, Message{PID: 2}, Message{Ready: true, PID: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.first
			got.merge(c.then)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Registration{}, "Socket")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzDatagram(f *testing.F) {
	f.Add([]byte("RELOADING=1\nREADY=1\n"))
	f.Add([]byte("STATUS=\x1b\xff\nX_PREFORKD_REQUESTS=9"))
	f.Add([]byte("=\x00"))
	f.Add([]byte("X_PREFORKD_TAKES=* \x1b\xffemb"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		m := parse(datagram)
		if m.Status != nil {
			if len(*m.Status) > statusMax || !utf8.ValidString(*m.Status) {
				t.Errorf("status %q", *m.Status)
			}
			for _, r := range *m.Status {
				if !unicode.IsPrint(r) && r != unicode.ReplacementChar {
					t.Errorf("status %q", *m.Status)
				}
			}
		}
		for _, r := range m.Registrations {
			for _, name := range r.Takes {
				if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool {
					return !unicode.IsPrint(c) && c != unicode.ReplacementChar
				}) {
					t.Errorf("takes %q", name)
				}
			}
		}
		if m.Requests != nil && *m.Requests < 0 {
			t.Errorf("requests %d", *m.Requests)
		}
		if m.Ready && !strings.Contains(string(datagram), "READY=1") {
			t.Errorf("ready by %q", datagram)
		}
	})
}
