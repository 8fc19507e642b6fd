// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host_test

// This binary again as other processes.

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

const helperVar = "HOST_TEST_HELPER"

func TestMain(m *testing.M) {
	var err error
	switch name := os.Getenv(helperVar); name {
	case "":
		os.Exit(m.Run())
	case "tree":
		err = helpTree()
	case "charge":
		err = helpCharge()
	default:
		err = fmt.Errorf("there is no helper %q", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helper is this binary as the process name, with more variables.
func helper(name string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	// The race detector would make every process sleep for a second at its end.
	cmd.Env = append(os.Environ(), helperVar+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	return cmd
}
