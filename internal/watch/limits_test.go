// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package watch

// Without inotify: a child in a user namespace of its own, where the limits are its own too.

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childWatches makes the test binary watch these files with a limit of user.… = 0, change them, print, and end.
const (
	childWatches = "PREFORKD_TEST_WATCH"
	childLimit   = "PREFORKD_TEST_LIMIT"
	cannotLimit  = 7
)

func watchHere(path string) int {
	if err := os.WriteFile("/proc/sys/user/"+os.Getenv(childLimit), []byte("0"), 0); err != nil {
		fmt.Println(err)
		return cannotLimit
	}
	p := byEvents()
	p.fast = 10 * time.Millisecond
	told := make(chan []string, 1)
	w, err := start(slog.New(slog.NewTextHandler(os.Stdout, nil)), p, func(names []string) { told <- names })
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer w.Close()
	w.Set(map[string]string{"emb": path})
	for i := range 3 {
		if err := os.WriteFile(path, []byte(strings.Repeat("new", i+1)), 0o600); err != nil {
			fmt.Println(err)
			return 1
		}
		select {
		case names := <-told:
			fmt.Println("told of", names)
		case <-time.After(10 * time.Second):
			fmt.Println("told of nothing")
			return 1
		}
	}
	return 0
}

func TestWithoutInotifyEverythingIsLookedAtOften(t *testing.T) {
	t.Parallel()
	for limit, sysctl := range map[string]string{
		"max_inotify_watches":   "fs.inotify.max_user_watches",
		"max_inotify_instances": "fs.inotify.max_user_instances",
	} {
		path := t.TempDir() + "/emb.npy"
		write(t, path, "old")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = []string{childWatches + "=" + path, childLimit + "=" + limit, "GOCOVERDIR=" + t.TempDir()}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Skipf("user namespaces cannot be made here: %v", err)
		}
		if cmd.ProcessState.ExitCode() == cannotLimit {
			t.Skipf("its limits cannot be set: %s", out)
		}
		text := string(out)
		if err != nil || strings.Count(text, "told of [emb]") != 3 || strings.Count(text, "level=WARN") != 1 ||
			!strings.Contains(text, "sysctl "+sysctl) {
			t.Errorf("with %s=0 it printed %s: %v", limit, text, err)
		}
	}
}
