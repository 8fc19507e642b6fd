// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"slices"
	"strings"
)

// OptionPrefix begins the variables that set preforkd's own flags; workers never see them.
const OptionPrefix = "PREFORKD_OPT_"

// Variable is a dataset's name as it stands in variables: upper case, everything but letters and digits an underscore.
func Variable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// BaseEnv returns environ without the variables that were meant for preforkd itself: systemd's, whose descriptors and
// pid are preforkd's own; PREFORKD_OPT_*; and the contract of a preforkd around this one, whose descriptors are closed.
func BaseEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		switch key {
		case "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
			"PREFORKD_WORKER_ID", "PREFORKD_WORKERS", "PREFORKD_INCARNATION", "PREFORKD_RUN_DIR", "PREFORKD_DATA":
			return true
		}
		return strings.HasPrefix(key, OptionPrefix) || strings.HasPrefix(key, "PREFORKD_DATA_")
	})
}

// CheckEnv refuses an --env value that is not K=V, or that sets a variable of the contract.
func CheckEnv(kv string) error {
	key, _, ok := strings.Cut(kv, "=")
	if !ok || key == "" || strings.ContainsRune(kv, 0) {
		return fmt.Errorf("cannot use --env %q: write NAME=VALUE", kv)
	}
	if len(BaseEnv([]string{kv})) == 0 {
		return fmt.Errorf("cannot use --env %s: preforkd sets or removes this variable for each worker", key)
	}
	return nil
}

// environ is a list of K=V in which each key stands once. Order is kept, so that the list is the same for every start.
type environ struct {
	list []string
	at   map[string]int
}

func newEnviron(base []string) *environ {
	e := &environ{at: make(map[string]int, len(base)+16)}
	for _, kv := range base {
		key, value, _ := strings.Cut(kv, "=")
		e.set(key, value)
	}
	return e
}

func (e *environ) set(key, value string) {
	kv := key + "=" + value
	if i, ok := e.at[key]; ok {
		e.list[i] = kv
		return
	}
	e.at[key] = len(e.list)
	e.list = append(e.list, kv)
}
