// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/internal/host"
)

// machine is one with so many bytes of memory, of which the memfds of this very process are taken.
func machine(t *testing.T, size int64) (free func() (host.Headroom, error), most *atomic.Int64) {
	most = new(atomic.Int64)
	return func() (host.Headroom, error) {
		held := memfds(t)
		for old := most.Load(); held > old && !most.CompareAndSwap(old, held); {
			old = most.Load()
		}
		return host.Headroom{Free: max(size-held, 0), By: "the limit of cgroup /x"}, nil
	}, most
}

func memfds(t *testing.T) (sum int64) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Error(err)
	}
	seen := map[uint64]bool{}
	for _, e := range entries {
		path := "/proc/self/fd/" + e.Name()
		var st syscall.Stat_t
		link, err := os.Readlink(path)
		if err == nil && strings.HasPrefix(link, "/memfd:") && syscall.Stat(path, &st) == nil && !seen[st.Ino] {
			seen[st.Ino] = true
			sum += st.Blocks * 512
		}
	}
	return sum
}

func TestNeedIsWholePagesAndTheirIndex(t *testing.T) {
	page := int64(os.Getpagesize())
	for size, pages := range map[int64]int64{0: 0, 1: 1, page: 1, page + 1: 2, 1000 * page: 1000} {
		low, high := pages*page+pages*page*25/10000, pages*page+pages*page*25/10000+1
		if got := Need(size); got < low || got > high {
			t.Errorf("%d bytes: %d, want about %d", size, got, low)
		}
	}
}

func TestNeedOfAnAbsurdSizeIsNotNegative(t *testing.T) {
	if got := Need(math.MaxInt64); got != math.MaxInt64 {
		t.Error(got)
	}
}

func TestFilesBeyondTheHeadroomAreRefusedBeforeAByteIsLoaded(t *testing.T) {
	leavesNothing(t)
	free, _ := machine(t, 10<<20)
	begun := false
	l := &Loader{Free: free, OnProgress: func(string, Progress) { begun = true }}
	big, small := writeFile(t, "b", noise(11<<20)), writeFile(t, "s", noise(5<<20))
	got := refused(t, l, Spec{Name: "tiny", Source: writeFile(t, "t", noise(1))}, Spec{Name: "emb", Source: big})
	want := `cannot load dataset "emb": needs 11 MiB, but only 9.5 MiB of memory can be used (bound by the limit of ` +
		`cgroup /x, 5 % kept free): load less, stop what else uses memory, or raise the limit`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = refused(t, l, Spec{Name: "one", Source: small}, Spec{Name: "two", Source: small})
	want = `cannot load datasets "one", "two": needs 10 MiB together, but only 9.5 MiB`
	if !strings.HasPrefix(got, want) {
		t.Error(got)
	}
	if begun {
		t.Error("a dataset was begun")
	}
	load(t, l, Spec{Name: "one", Source: small})
}

func TestAFileLargerThanThisMachineIsRefused(t *testing.T) {
	leavesNothing(t)
	path := writeFile(t, "x", nil)
	if err := os.Truncate(path, 8<<40); err != nil {
		t.Skipf("no sparse file of 8 TiB here: %v", err)
	}
	l := &Loader{Free: host.Host{}.Free}
	got := refused(t, l, Spec{Name: "emb", Source: path})
	if !strings.HasPrefix(got, `cannot load dataset "emb": needs 8.0 TiB, but only `) {
		t.Error(got)
	}
	t.Log(got)
	load(t, l, Spec{Name: "emb", Source: writeFile(t, "x", noise(100))})
}

func TestTheHeadroomIsUsedToItsLastPage(t *testing.T) {
	leavesNothing(t)
	free, _ := machine(t, 10<<20)
	_, by, err := newBudget(free).left()
	left, _, _ := newBudget(free).left()
	if err != nil || by == "" || Need(left) > 10<<20*95/100 || Need(left+int64(os.Getpagesize())) <= 10<<20*95/100 {
		t.Errorf("%d bytes are left, %v", left, err)
	}
	got := refused(t, &Loader{Free: free}, Spec{Name: "a", Source: writeFile(t, "x", noise(int(left)+1))})
	if !strings.Contains(got, " bytes, but only ") {
		t.Errorf("the figures do not differ: %s", got)
	}
	load(t, &Loader{Free: free}, Spec{Name: "a", Source: writeFile(t, "x", noise(int(left)))})
}

func TestStreamsStopBeforeTheHeadroomEnds(t *testing.T) {
	leavesNothing(t)
	const size = 100 << 20
	free, most := machine(t, size)
	l := &Loader{Start: startCommand, Free: free}
	got := refused(t, l, Spec{Name: "emb", Source: "cmd:cat /dev/zero"})
	if !strings.HasPrefix(got, `cannot load dataset "emb": needs more than 9`) || strings.HasPrefix(got, `cannot load dataset "emb": needs more than 95 MiB`) {
		t.Errorf("the figures do not differ: %s", got)
	}
	if held := most.Load(); held < size*70/100 || held > size*95/100 {
		t.Errorf("%d bytes were held at most", held)
	}
	// several at once share it
	most.Store(0)
	file := Spec{Name: "file", Source: writeFile(t, "x", noise(20<<20))}
	got = refused(t, l, file, Spec{Name: "b", Source: "cmd:cat /dev/zero"}, Spec{Name: "c", Source: "cmd:cat /dev/zero"})
	if !strings.Contains(got, "needs more than ") {
		t.Error(got)
	}
	if held := most.Load(); held > size*95/100 {
		t.Errorf("%d bytes were held at most", held)
	}
	// what fits is loaded
	load(t, l, file, Spec{Name: "b", Source: fmt.Sprintf("cmd:head -c %d /dev/zero", 60<<20)})
}

func TestAnNpyStreamIsRefusedByItsHeader(t *testing.T) {
	leavesNothing(t)
	free, _ := machine(t, 10<<20)
	done := make(chan struct{})
	input := stdin(t, func(w *os.File) {
		_, _ = w.Write(npy(header("'<f4'", "(1000000000000,)"), 0))
		<-done
	})
	got := refused(t, &Loader{Stdin: input, Free: free}, Spec{Name: "emb", Source: "-"})
	if !strings.HasPrefix(got, `cannot load dataset "emb": needs more than 3.6 TiB, but only 9.5 MiB`) {
		t.Error(got)
	}
	close(done)
}

func TestAHeadroomThatCannotBeReadIsAnError(t *testing.T) {
	leavesNothing(t)
	l := &Loader{
		Start: startCommand,
		Free:  func() (host.Headroom, error) { return host.Headroom{}, errors.New("no /proc") },
	}
	for _, source := range []string{writeFile(t, "x", noise(10)), "cmd:echo x"} {
		got := refused(t, l, Spec{Name: "a", Source: source})
		if !strings.Contains(got, "how much memory is free cannot be told: no /proc") {
			t.Error(got)
		}
	}
}
