// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"strings"
	"sync"
)

const tailBytes = 8 << 10

// tail keeps the last 8 KiB that were written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte
	cut   bool // something came before
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut = t.cut || len(t.bytes)+len(p) > tailBytes
	t.bytes = append(t.bytes, p[max(0, len(p)-tailBytes):]...)
	if extra := len(t.bytes) - tailBytes; extra > 0 {
		t.bytes = append(t.bytes[:0], t.bytes[extra:]...)
	}
	return len(p), nil
}

// String returns whole lines where the beginning was cut off.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(t.bytes)
	if t.cut {
		if _, rest, ok := strings.Cut(text, "\n"); ok && rest != "" {
			text = rest
		}
	}
	return strings.TrimRight(strings.ToValidUTF8(text, "�"), "\n")
}
