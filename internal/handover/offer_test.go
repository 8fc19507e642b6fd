// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package handover

// The text of an offer and of an answer.

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestALargeManifestIsSentWithoutItsLargestIndexes(t *testing.T) {
	index := func(size int) string { return `{"a": {"dtype": "` + strings.Repeat("x", size) + `"}}` }
	o := offer(t, 1, "x", "y", "z")
	o.Manifest["d0"] = json.RawMessage(`{"fd": 7, "members": ` + index(30_000) + `}`)
	o.Manifest["d1"] = json.RawMessage(`{"fd": 8, "members": ` + index(10_000) + `, "schema": [` + index(30_000) + `]}`)
	o.Manifest["d2"] = json.RawMessage(`{"fd": 9, "dtype": "<f4", "members": ` + index(5_000) + `}`)
	c, w := pair(t)
	taken := given(t, t.Context(), c, o)
	p := w.mustRead(t)
	w.say(t, `{"offer": 1, "taken": true}`)
	if err := result(t, taken); err != nil {
		t.Fatal(err)
	}
	for name, whole := range map[string]bool{"d0": true, "d1": false, "d2": true} {
		_, members := p.Data[name]["members"]
		_, schema := p.Data[name]["schema"]
		if members != whole || schema || (p.Data[name]["members_omitted"] == true) == whole || p.Data[name]["fd"] == nil {
			t.Errorf("%s: members %v, schema %v", name, members, schema)
		}
	}
	if !strings.Contains(string(o.Manifest["d1"]), "schema") {
		t.Error("the caller's manifest was changed")
	}
}

func TestOffersThatCannotBeSentAreErrors(t *testing.T) {
	long, uneven, closed := offer(t, 1, "x"), offer(t, 1, "x"), offer(t, 1, "x")
	long.Manifest["d0"] = json.RawMessage(`{"path": "` + strings.Repeat("x", packetMax) + `"}`)
	uneven.Names = nil
	closed.Files[0].Close()
	many := offer(t, 1, "x")
	for range filesMax {
		many.Names, many.Files = append(many.Names, "d0"), append(many.Files, many.Files[0])
	}
	for want, o := range map[string]Offer{
		"at most 65536 are sent":  long,
		"0 names, 1 descriptors":  uneven,
		"at most 253 go together": many,
		"use of closed file":      closed,
	} {
		c, w := pair(t)
		if err := c.Give(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		// Nothing of it was sent.
		taken := given(t, t.Context(), c, offer(t, 2, "x"))
		if p := w.mustRead(t); p.Offer != 2 {
			t.Errorf("%+v", p)
		}
		w.say(t, `{"offer": 2, "taken": true}`)
		if err := result(t, taken); err != nil {
			t.Error(err)
		}
	}
}

func TestAsManyDescriptorsAsTheKernelTakes(t *testing.T) {
	o := offer(t, 1, "x")
	for i := 1; i < filesMax; i++ {
		name := fmt.Sprintf("d%d", i)
		o.Names, o.Files = append(o.Names, name), append(o.Files, o.Files[0])
		o.Manifest[name] = json.RawMessage("{}")
	}
	c, w := pair(t)
	taken := given(t, t.Context(), c, o)
	if p := w.mustRead(t); len(p.files) != filesMax || len(p.FDs) != filesMax || len(p.Data) != filesMax {
		t.Errorf("%d descriptors, %d names, %d entries", len(p.files), len(p.FDs), len(p.Data))
	}
	w.say(t, `{"offer": 1, "taken": true}`)
	if err := result(t, taken); err != nil {
		t.Error(err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"offer": 7, "taken": true}`))
	f.Add([]byte(`{"offer": 7, "taken": false, "error": "\u001b\n"}`))
	f.Add([]byte("\x1b\xff"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		a, err := parseAnswer(packet)
		if err == nil {
			err = a.verdict()
		}
		if err == nil {
			return
		}
		text := err.Error()
		if len(text) > 5*textMax || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
			return !unicode.IsPrint(r) && r != unicode.ReplacementChar
		}) {
			t.Errorf("%q", text)
		}
	})
}
