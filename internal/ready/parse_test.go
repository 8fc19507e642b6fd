// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// The parsers of /proc on whatever bytes there are.

import (
	"fmt"
	"strings"
	"testing"
)

func FuzzFdinfo(f *testing.F) {
	f.Add("pos:\t0\ntfd:        3 events:       19 data:                3  pos:0 ino:541a sdev:9\n", uint64(0x541a))
	f.Add("tfd: 3 events: 40000000 data: 3  pos:0 ino:541a sdev:9\ntfd: ino: events:", uint64(0x541a))
	f.Add("ino:\t541a\ntfd:        3 events:       19 data:   541a", uint64(0x541a))
	f.Fuzz(func(t *testing.T, text string, inode uint64) {
		if watches([]byte(text), nil) {
			t.Error("watches none of no sockets")
		}
		if watches([]byte(text), []uint64{inode}) && !strings.Contains(text, "tfd:") {
			t.Errorf("no entry in %q", text)
		}
	})
}

func FuzzSyscall(f *testing.F) {
	f.Add("running\n")
	f.Add("-1 0x7ffc00000f00 0x7f0000001000\n")
	f.Add("288 0x3 0x0 0x0 0x80000 0x0 0x0 0x7ffc00000f00 0x7f0000001000\n")
	f.Add("7 0xffffffffffffffff 0x2 0x1f4 0x0 0x0 0x0 0x7ffc00000f00 0x7f0000001000 0x0\n")
	f.Fuzz(func(t *testing.T, line string) {
		c, ok := parseCall([]byte(line))
		if !ok {
			if c != (call{}) {
				t.Errorf("refused, but %+v", c)
			}
			return
		}
		if c.number < 0 {
			t.Errorf("number %d", c.number)
		}
		// What is read, written as the kernel writes it, reads the same.
		text := fmt.Sprint(c.number)
		for _, word := range append(c.args[:], c.sp, c.pc) {
			text += fmt.Sprintf(" %#x", word)
		}
		if again, ok := parseCall([]byte(text + "\n")); !ok || again != c {
			t.Errorf("%q: %+v, then %q: %+v, %v", line, c, text, again, ok)
		}
	})
}
