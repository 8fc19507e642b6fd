// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/codec"
)

// What happens to the name in the middle of a load is no harm: the file that was opened is loaded, and has its own identity.
func TestAFileThatIsReplacedOrDeletedIsStillTheOldOne(t *testing.T) {
	leavesNothing(t)
	old, other := noise(9<<20), writeFile(t, "other", noise(1000))
	for what, change := range map[string]func(path string) error{
		"replaced": func(path string) error { return os.Rename(other, path) },
		"deleted":  os.Remove,
	} {
		path := writeFile(t, "x", old)
		before, _ := Spec{Name: "a", Source: path}.Identity()
		var once sync.Once
		l := &Loader{OnProgress: func(string, Progress) {
			once.Do(func() {
				if err := change(path); err != nil {
					t.Error(err)
				}
			})
		}}
		d := load(t, l, Spec{Name: "a", Source: path})[0]
		if !bytes.Equal(content(t, d), old) || d.Identity.Ino != before.Ino {
			t.Errorf("%s: other content, or %+v", what, d.Identity)
		}
		if now, ok := (Spec{Name: "a", Source: path}).Identity(); ok && now == d.Identity {
			t.Errorf("%s: a later load would take it for the same", what)
		}
	}
}

func TestADirectSourceThatChangesWhileItIsReadIsRefused(t *testing.T) {
	leavesNothing(t)
	path := writeFile(t, "x", noise(1000))
	old := time.Now().Add(-time.Hour)
	l := &Loader{OnProgress: func(string, Progress) {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Error(err)
		}
	}}
	spec := Spec{Name: "a", Source: "direct:" + path, Options: Options{Preread: true}}
	if got := refused(t, l, spec); !strings.Contains(got, "was changed while") {
		t.Error(got)
	}
}

func TestAPackedFileThatChangesWhileItIsReadIsRefused(t *testing.T) {
	leavesNothing(t)
	for what, change := range map[string]func(path string) error{
		"was changed while": func(path string) error {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, text, 0o600)
		},
		"shrank from": func(path string) error { return os.Truncate(path, 100) },
	} {
		path := packed(t, codec.Zstd, writeFile(t, "x", noise(12<<20)))
		var once sync.Once
		l := &Loader{OnProgress: func(string, Progress) {
			once.Do(func() {
				if err := change(path); err != nil {
					t.Error(err)
				}
			})
		}}
		if got := refused(t, l, Spec{Name: "a", Source: path}); !strings.Contains(got, what) {
			t.Errorf("%s: %s", what, got)
		}
	}
}
