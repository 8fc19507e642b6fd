// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

import (
	"strings"
	"testing"
	"time"
)

func TestModesReadAndWriteTheSame(t *testing.T) {
	for text, want := range map[string]Mode{
		"auto":          {Kind: Auto},
		"notify":        {Kind: Notify},
		"alive:1s":      {Kind: Alive, Alive: time.Second},
		"alive:250ms":   {Kind: Alive, Alive: 250 * time.Millisecond},
		"alive:1m30s":   {Kind: Alive, Alive: 90 * time.Second},
		"tcp":           {Kind: TCP},
		"http:/":        {Kind: HTTP, Path: "/"},
		"http:/a?b=%20": {Kind: HTTP, Path: "/a?b=%20"},
	} {
		got, err := ParseMode(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for text, want := range map[string]bool{"auto": false, "notify": false, "alive:1s": false, "tcp": true, "http:/": true} {
		if m, err := ParseMode(text); err != nil || m.NeedsListener() != want {
			t.Errorf("%s needs a listener: %v, want %v", text, m.NeedsListener(), want)
		}
	}
	if (Mode{}).String() != "auto" {
		t.Errorf("the zero mode is %v, want auto", Mode{})
	}
}

func TestModesRefusedSayWhatIsAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"":               "use auto, notify, http:PATH such as http:/health, tcp or alive:DURATION such as alive:1s",
		"Auto":           "http:PATH",
		"alive":          "http:PATH",
		"tcp:80":         "http:PATH",
		"http":           "http:PATH",
		"http:":          "begins with /",
		"http:health":    "begins with /",
		"http:/a b":      "no space",
		"http:/\r\nX: y": "printable",
		"http:/é":        "printable",
		"alive:":         "not a positive duration",
		"alive:1":        "not a positive duration",
		"alive:0s":       "not a positive duration",
		"alive:-1s":      "not a positive duration",
	} {
		_, err := ParseMode(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot ") {
			t.Errorf("%q: %v, want it to say %q", text, err, want)
		}
	}
}
