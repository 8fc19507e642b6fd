// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

func TestTheManifestIsTheOneOfTheGoldenFile(t *testing.T) {
	p, paths := full()
	text, err := p.manifest(paths)
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(text), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/manifest.json", pretty.String()+"\n")
	if strings.ContainsAny(text, "\n\\") {
		t.Errorf("a variable holds one line for people to read: %q", text)
	}
}

// A worker that takes a new version itself reads the same about it as one that is started with it.
func TestOneEntryIsThatOfTheWholeManifest(t *testing.T) {
	p, paths := full()
	text, err := p.manifest(paths)
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		t.Fatal(err)
	}
	for i, d := range p.Data {
		if entry, err := p.Manifest(i, paths[i]); err != nil || string(entry) != string(whole[d.Name]) {
			t.Errorf("%s: %s, in the manifest %s: %v", d.Name, entry, whole[d.Name], err)
		}
	}
}

// many is that many arrays, of about 100 bytes of JSON each.
func many(n int) (list []Member) {
	for i := range n {
		list = append(list, Member{Name: fmt.Sprintf("layer.%030d", i), DType: "<f4", Shape: []int64{16}, Offset: 4096, Size: 64})
	}
	return list
}

func TestTheLargestIndexesAreLeftOut(t *testing.T) {
	columns := make([]Field, 300)
	for i := range columns {
		columns[i] = Field{Name: fmt.Sprintf("column %030d", i), Type: "int64"}
	}
	p := &Plan{Data: []Dataset{
		{Name: "small", Members: many(3)},
		{Name: "large", Members: many(640)},
		{Name: "table", Schema: columns},
		{Name: "huge", Members: many(5000)},
		{Name: "none"},
	}}
	text, err := p.manifest(make([]string, len(p.Data)))
	if err != nil {
		t.Fatal(err)
	}
	var have map[string]struct {
		Members map[string]any `json:"members"`
		Schema  []any          `json:"schema"`
		Omitted bool           `json:"members_omitted"`
	}
	if err := json.Unmarshal([]byte(text), &have); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		members, columns int
		omitted          bool
	}{"small": {members: 3}, "large": {omitted: true}, "table": {columns: 300}, "huge": {omitted: true}, "none": {}} {
		if d := have[name]; len(d.Members) != want.members || len(d.Schema) != want.columns || d.Omitted != want.omitted {
			t.Errorf("%s has %d members and %d columns, omitted %v; want %+v", name, len(d.Members), len(d.Schema), d.Omitted, want)
		}
	}
}

// The kernel's own bound decides: a worker with as much of an index as there may be can be started.
func TestAWorkerStartsWithTheLargestManifest(t *testing.T) {
	p := &Plan{}
	for i := range 60 {
		p.Data = append(p.Data, Dataset{Name: fmt.Sprintf("data%d", i), Members: many(9)})
	}
	p.Data = append(p.Data, Dataset{Name: "huge", Members: many(5000)})
	paths := make([]string, len(p.Data))
	for i := range paths {
		paths[i] = "/run/preforkd/" + strings.Repeat("x", 64) + "/data/y.v12345.npz"
	}
	env, err := p.Environ(1, paths)
	if err != nil {
		t.Fatal(err)
	}
	index := 0
	for _, kv := range env {
		index = max(index, strings.Count(kv, `"dtype"`))
	}
	if index != 60*9 {
		t.Errorf("%d arrays are in the manifest, want those of all datasets but the largest", index)
	}
	cmd := exec.Command("/bin/true")
	cmd.Env = env
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}
