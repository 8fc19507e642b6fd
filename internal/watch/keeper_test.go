// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

// The goroutine's decisions one by one, without the goroutine.

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// still is a keeper that nobody runs.
func still(t *testing.T) *keeper {
	t.Helper()
	w := &Watcher{pace: byEvents(), wake: make(chan struct{}, 1)}
	k := newKeeper(w)
	t.Cleanup(k.disarm)
	return k
}

func TestWhatIsNearlyAtRestIsWaitedFor(t *testing.T) {
	k := still(t)
	dir := t.TempDir()
	paths := map[string]string{"a": dir + "/a", "b": dir + "/b", "busy": dir + "/busy"}
	for _, path := range paths {
		write(t, path, "old")
	}
	k.Set(paths)
	k.adopt(k.received())
	write(t, paths["a"], "newer")
	k.files["a"].touch()
	var got [][]string
	for tick := range 12 {
		if tick == 3 {
			write(t, paths["b"], "newer")
			k.files["b"].touch()
		}
		k.files["busy"].touch() // it will not rest, nobody waits for it
		got = append(got, k.tick())
	}
	// a has moved at tick 0 and would be told at 4, b at 3 and 7.
	want := make([][]string, 12)
	want[7] = []string{"a", "b"}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("told %q", got)
	}
}

func TestSetKeepsWhatItKnew(t *testing.T) {
	k := still(t)
	dir := t.TempDir()
	paths := map[string]string{"a": dir + "/a"}
	write(t, dir+"/a", "old")
	k.Set(paths)
	first := identify(dir + "/a")
	write(t, dir+"/a", "new, before the goroutine's turn")
	k.Set(paths)
	k.adopt(k.received())
	if f := k.files["a"]; f.told != first || !f.pending {
		t.Errorf("a change between two calls is forgotten: %+v", f)
	}
	write(t, dir+"/a", "newer, after it")
	k.Set(paths)
	k.adopt(k.received())
	if f := k.files["a"]; f.told != first || !f.pending {
		t.Errorf("a change that is not told yet is forgotten: %+v", f)
	}
	write(t, dir+"/b", "another path")
	k.Set(map[string]string{"a": dir + "/b"})
	k.adopt(k.received())
	if f := k.files["a"]; f.told != identify(dir+"/b") || f.pending {
		t.Errorf("another file under the name is not taken as it is: %+v", f)
	}
}

func TestOnlyTheDirectoriesThatMatterAreWatched(t *testing.T) {
	k := still(t)
	dir := t.TempDir()
	do(t, os.MkdirAll(dir+"/a/b", 0o755))
	write(t, dir+"/a/b/emb.npy", "old")
	k.Set(map[string]string{"emb": dir + "/a/b/emb.npy"})
	k.adopt(k.received())
	inotify := func(path string) bool {
		ino := fmt.Sprintf(" ino:%x ", nodeOf(path).ino)
		infos, err := filepath.Glob("/proc/self/fdinfo/*")
		do(t, err)
		return slices.ContainsFunc(infos, func(info string) bool {
			text, _ := os.ReadFile(info)
			return strings.Contains(string(text), ino)
		})
	}
	if !inotify(dir+"/a/b") || inotify(dir+"/a") || inotify(dir) {
		t.Error("not exactly the file's directory is watched")
	}
	do(t, os.Rename(dir+"/a", dir+"/old"))
	do(t, os.MkdirAll(dir+"/a/b", 0o755))
	k.arm()
	if inotify(dir+"/old/b") || !inotify(dir+"/a/b") {
		t.Error("the directory that is elsewhere now is still watched, or the new one is not")
	}
	k.Set(nil)
	k.adopt(k.received())
	if inotify(dir + "/a/b") {
		t.Error("a directory is watched for nothing")
	}
}

func TestFollowNamesEveryLinkOnTheWay(t *testing.T) {
	dir := t.TempDir()
	do(t, os.MkdirAll(dir+"/real/sub", 0o755))
	write(t, dir+"/real/sub/file", "")
	do(t, os.Symlink("real", dir+"/dir"))
	do(t, os.Symlink("../sub/file", dir+"/real/sub/up"))
	do(t, os.Symlink(dir+"/dir/sub/up", dir+"/all"))
	do(t, os.Symlink("loop", dir+"/loop"))
	for path, want := range map[string][]string{
		"/real/sub/file":        {"/real/sub/file"},
		"//real/./sub//file":    {"/real/sub/file"},
		"/all":                  {"/all", "/dir", "/real/sub/up", "/real/sub/file"},
		"/dir/../real/sub/file": {"/dir", "/real/sub/file"},
		"/dir/nothing/here":     {"/dir", "/real/nothing"},
		"/real/sub":             {"/real/sub"},
		"/real/sub/file/below":  {"/real/sub/file"},
	} {
		got := follow(dir + path)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], dir)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s depends on %q, want %q", path, got, want)
		}
	}
	if got := follow(dir + "/loop"); len(got) == 0 || len(got) > 2*maxLinks {
		t.Errorf("a loop has %d links", len(got))
	}
}
