// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: the messages under "Python" in docs/troubleshooting.md are what Python, numpy and the client really say of each mistake.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ofTorch is what only torch says; clients/python/tests/test_tensor.py hears it.
const ofTorch = "UserWarning: The given NumPy array is not writable"

func TestPythonsMessagesAreThoseOfThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Python\n")
	if !found {
		t.Fatal("there is no section")
	}
	client, err := filepath.Abs("../clients/python/src")
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, spec{
		flags:   []string{"-w", "1", "-d", "emb=" + newArray(mib, false).save(t), "--ready", "notify"},
		command: []string{venv(t, "python"), script(t, "python_messages.py")}, env: []string{"PYTHONPATH=" + client},
	})
	f.untilReady(1)
	f.stop()
	said, err := os.ReadFile(filepath.Join(f.dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("said:\n%s", said)
	numbers := regexp.MustCompile(`(/fd|process|version)(.)[0-9]+`) // they differ from run to run
	heard := numbers.ReplaceAllString(string(said), "$1$2")
	messages := regexp.MustCompile("(?m)^\\*\\*`([^`]*(?:Error|Warning|cannot)[^`]*)`").FindAllStringSubmatch(section, -1)
	if len(messages) < 10 {
		t.Errorf("%d messages: %q", len(messages), messages)
	}
	for _, m := range messages {
		if !strings.Contains(heard, numbers.ReplaceAllString(m[1], "$1$2")) && m[1] != ofTorch {
			t.Errorf("nobody has said %q", m[1])
		}
	}
}
