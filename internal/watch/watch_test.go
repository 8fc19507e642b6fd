// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

// Files and directories that change in all the ways in which data is published.

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAChangedFileIsToldOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, path string){
		"written in place": func(t *testing.T, path string) { write(t, path, "new and longer") },
		"renamed over": func(t *testing.T, path string) {
			write(t, path+".tmp", "new")
			do(t, os.Rename(path+".tmp", path))
		},
		"removed and made again": func(t *testing.T, path string) {
			do(t, os.Remove(path))
			write(t, path, "new")
		},
		"touched": func(t *testing.T, path string) {
			do(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
		},
		"linked over": func(t *testing.T, path string) {
			write(t, path+".1", "new")
			do(t, os.Symlink(filepath.Base(path)+".1", path+".tmp"))
			do(t, os.Rename(path+".tmp", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, proof := dir+"/emb.npy", dir+"/proof"
			write(t, path, "old")
			write(t, proof, "")
			c := watching(t, byEvents(), map[string]string{"emb": path, "proof": proof})
			for range 2 { // not only the first time
				change(t, path)
				c.next("emb")
			}
			c.none("proof", proof)
		})
	}
}

func TestManyEventsAreOneCall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	paths := map[string]string{}
	for i := range 10 {
		name := fmt.Sprint("d", i)
		paths[name] = dir + "/" + name
		write(t, paths[name], "old")
	}
	p := byEvents()
	p.settle = time.Second
	c := watching(t, p, paths)
	names := []string{}
	for name, path := range paths {
		f, err := os.Create(path)
		do(t, err)
		for range 100 {
			fmt.Fprintln(f, "a line")
		}
		do(t, f.Close())
		names = append(names, name)
	}
	slices.Sort(names)
	c.next(names...)
	c.none("d0", paths["d0"])
}

func TestWhatHasNotChangedIsNotTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, proof := dir+"/a", dir+"/proof"
	write(t, path, "old")
	write(t, proof, "")
	c := watching(t, byEvents(), map[string]string{"a": path, "proof": proof})
	_, err := os.ReadFile(path)
	do(t, err)
	write(t, dir+"/other", "")
	do(t, os.Rename(path, path+".away")) // a rename changes the ctime, the way back again
	do(t, os.Rename(path+".away", path))
	c.next("a") // hence it is told; but a file that is away is not:
	do(t, os.Remove(path))
	c.none("proof", proof)
	write(t, path, "new")
	c.next("a")
}

func TestAFileThatIsMissingAtFirstIsToldWhenItComes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := dir + "/a/b/c/emb.npy"
	c := watching(t, byEvents(), map[string]string{"emb": path})
	do(t, os.MkdirAll(filepath.Dir(path), 0o755))
	write(t, path, "new")
	c.next("emb")
}

// A ConfigMap: data.json → ..data/data.json, ..data → ..1; a new version renames another link over ..data.
func TestAConfigMapsSwapIsToldAsOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	publish := func(version string) {
		do(t, os.Mkdir(dir+"/.."+version, 0o755))
		write(t, dir+"/.."+version+"/a.json", version)
		write(t, dir+"/.."+version+"/b.json", version)
		do(t, os.Symlink(".."+version, dir+"/..data_tmp"))
		do(t, os.Rename(dir+"/..data_tmp", dir+"/..data"))
	}
	publish("1")
	do(t, os.Symlink("..data/a.json", dir+"/a.json"))
	do(t, os.Symlink("..data/b.json", dir+"/b.json"))
	c := watching(t, byEvents(), map[string]string{"a": dir + "/a.json", "b": dir + "/b.json"})
	for _, version := range []string{"2", "3", "4"} {
		publish(version)
		c.next("a", "b")
		if version == "3" { // as the kubelet does after the swap
			do(t, os.RemoveAll(dir+"/..2"))
		}
	}
	write(t, dir+"/..4/b.json", "in place, where the links lead now")
	c.next("b")
}

func TestDirectoriesMayGoAndComeBack(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(t *testing.T, dir string){
		"removed": func(t *testing.T, dir string) {
			do(t, os.RemoveAll(dir))
			do(t, os.MkdirAll(dir, 0o755))
			write(t, dir+"/emb.npy", "new")
		},
		"moved away": func(t *testing.T, dir string) {
			do(t, os.Rename(dir, dir+fmt.Sprint(time.Now().UnixNano())))
			do(t, os.Mkdir(dir, 0o755))
			write(t, dir+"/emb.npy", "new")
		},
		"replaced by a full one": func(t *testing.T, dir string) {
			do(t, os.Mkdir(dir+".new", 0o755))
			write(t, dir+".new/emb.npy", "new")
			do(t, os.Rename(dir, dir+fmt.Sprint(time.Now().UnixNano())))
			do(t, os.Rename(dir+".new", dir))
		},
		"moved and removed at once": func(t *testing.T, dir string) {
			do(t, os.Rename(dir, dir+".old"))
			do(t, os.RemoveAll(dir+".old"))
			do(t, os.Mkdir(dir, 0o755))
			write(t, dir+"/emb.npy", "new")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/data"
			do(t, os.Mkdir(dir, 0o755))
			write(t, dir+"/emb.npy", "old")
			c := watching(t, byEvents(), map[string]string{"emb": dir + "/emb.npy"})
			for range 3 {
				replace(t, dir)
				c.next("emb")
				write(t, dir+"/emb.npy", fmt.Sprint(time.Now().UnixNano())) // the new one is watched
				c.next("emb")
			}
		})
	}
}

func TestADirectoryThatIsALinkMayBeSwapped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		do(t, os.Mkdir(dir+"/"+v, 0o755))
		write(t, dir+"/"+v+"/emb.npy", v)
	}
	do(t, os.Symlink("v1", dir+"/current"))
	c := watching(t, byEvents(), map[string]string{"emb": dir + "/v2/../current/../current/./emb.npy"})
	do(t, os.Symlink(dir+"/v2", dir+"/next"))
	do(t, os.Rename(dir+"/next", dir+"/current"))
	c.next("emb")
	write(t, dir+"/v2/emb.npy", "in place")
	c.next("emb")
}

// The directory that a path leads through is renamed as a whole: no watched directory sees it, but the next look does.
func TestLooksFindWhatNoEventTells(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	do(t, os.MkdirAll(dir+"/a/b", 0o755))
	write(t, dir+"/a/b/emb.npy", "old")
	p := byEvents()
	p.slow = 20 * time.Millisecond
	c := watching(t, p, map[string]string{"emb": dir + "/a/b/emb.npy"})
	do(t, os.MkdirAll(dir+"/c/b", 0o755))
	write(t, dir+"/c/b/emb.npy", "new")
	do(t, os.Rename(dir+"/a", dir+"/old"))
	do(t, os.Rename(dir+"/c", dir+"/a"))
	c.next("emb")
	write(t, dir+"/a/b/emb.npy", "in place")
	c.next("emb")
}

func TestAFileThatDoesNotRestIsNotTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	busy, calm := dir+"/busy", dir+"/calm"
	write(t, busy, "")
	write(t, calm, "")
	var log logged
	p := byEvents()
	p.restless = 400 * time.Millisecond
	told := make(chan []string, 10)
	w, err := start(slog.New(slog.NewTextHandler(&log, nil)), p, func(names []string) { told <- names })
	do(t, err)
	defer w.Close()
	w.Set(map[string]string{"busy": busy, "calm": calm})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		f, err := os.OpenFile(busy, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return
		}
		defer f.Close()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				fmt.Fprintln(f, "more")
			}
		}
	}()
	write(t, calm, "new")
	if got := <-told; !slices.Equal(got, []string{"calm"}) {
		t.Errorf("told of %q beside one that is being written", got)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), "file keeps changing"); {
		if time.Now().After(end) {
			t.Fatal("the log does not say that it does not rest")
		}
		<-time.After(time.Millisecond)
	}
	close(stop)
	<-stopped
	if got := <-told; !slices.Equal(got, []string{"busy"}) {
		t.Errorf("told of %q", got)
	}
	if n := strings.Count(log.String(), "file keeps changing"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}

func TestSetReplacesWhatIsWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b, other := dir+"/a", dir+"/b", t.TempDir()+"/other"
	for _, path := range []string{a, b, other} {
		write(t, path, "old")
	}
	c := watching(t, byEvents(), map[string]string{"a": a, "b": b})
	write(t, a, "new") // pending, and it stays so
	c.Set(map[string]string{"a": a, "other": other})
	c.next("a")
	write(t, b, "new")
	write(t, other, "new")
	c.next("other")
	c.Set(map[string]string{"other": b})
	write(t, b, "newer")
	c.next("other")
	c.Set(nil)
	write(t, b, "newest")
	c.Set(map[string]string{"a": a}) // known in its present state
	c.none("a", a)
}

// What changes between Set and the goroutine's turn is compared with what Set saw.
func TestNothingIsLostWhileSetTakesEffect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := dir + "/a"
	write(t, path, "0")
	c := watching(t, byEvents(), nil)
	for i := range 8 {
		c.Set(map[string]string{fmt.Sprint("d", i): path})
		write(t, path, strings.Repeat("x", i+2))
		c.next(fmt.Sprint("d", i))
	}
}

func TestRelativePathsStartWhereSetWasCalled(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "emb.npy", "old")
	c := watching(t, byEvents(), map[string]string{"emb": "./emb.npy"})
	t.Chdir("/")
	write(t, dir+"/emb.npy", "new")
	c.next("emb")
}

// A supervisor closes the watcher from the loop that the call waits for.
func TestCloseDoesNotWaitForACallForLong(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/a"
	write(t, path, "old")
	called, release, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	p := byEvents()
	p.leave = time.Millisecond
	w, err := start(nil, p, func([]string) {
		close(called)
		<-release
		close(returned)
	})
	do(t, err)
	w.Set(map[string]string{"a": path})
	write(t, path, "new")
	<-called
	w.Close()
	w.Close()
	select {
	case <-returned:
		t.Error("it waited")
	default:
	}
	close(release)
	<-w.ended
	w.Set(map[string]string{"a": path}) // to no effect
}

func TestStartRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	if _, err := Start(nil, 0, func([]string) {}); err == nil {
		t.Error("no settle time was accepted")
	}
	if _, err := Start(nil, time.Second, nil); err == nil {
		t.Error("nobody to tell was accepted")
	}
	w, err := Start(nil, time.Second, func([]string) {})
	do(t, err)
	w.Close()
}
