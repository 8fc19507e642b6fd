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
		"auto":        {Kind: Auto},
		"notify":      {Kind: Notify},
		"alive:1s":    {Kind: Alive, Alive: time.Second},
		"alive:250ms": {Kind: Alive, Alive: 250 * time.Millisecond},
		"alive:1m30s": {Kind: Alive, Alive: 90 * time.Second},
	} {
		got, err := ParseMode(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
	if (Mode{}).String() != "auto" {
		t.Errorf("the zero mode is %v, want auto", Mode{})
	}
}

func TestModesRefusedSayWhatIsAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"tcp":          "not supported by this version",
		"http:/health": "not supported by this version",
		"":             "auto, notify or alive:",
		"Auto":         "auto, notify or alive:",
		"alive":        "auto, notify or alive:",
		"alive:":       "not a positive duration",
		"alive:1":      "not a positive duration",
		"alive:0s":     "not a positive duration",
		"alive:-1s":    "not a positive duration",
	} {
		_, err := ParseMode(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot ") {
			t.Errorf("%q: %v, want it to say %q", text, err, want)
		}
	}
}
