// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package recycle

// Single stories, one for each rule.

import (
	"math/rand/v2"
	"testing"
	"time"
)

const mib = 1 << 20

func fixed() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// readyAt returns the tracker of a worker that started at 0 and was ready at the given time.
func readyAt(p Policy, at Time) *Tracker {
	t := New(p, fixed(), 0)
	t.Ready(at)
	return t
}

func wantDue(t *testing.T, tr *Tracker, now Time, reason Reason, text string) {
	t.Helper()
	if now > 0 {
		if v, due := tr.Due(now - 1); due {
			t.Errorf("due 1 ns too early: %+v", v)
		}
	}
	v, due := tr.Due(now)
	if !due || v.Reason != reason || v.Text != text {
		t.Errorf("Due(%v) = %v, %q, %v\nwant %v, %q", now, v.Reason, v.Text, due, reason, text)
	}
	if v, due := tr.Due(now + time.Hour); due && v.Reason == reason {
		t.Errorf("due twice: %+v", v)
	}
}

func wantNotDue(t *testing.T, tr *Tracker, now Time) {
	t.Helper()
	if v, due := tr.Due(now); due {
		t.Errorf("Due(%v) = %+v, want no verdict", now, v)
	}
}

func TestAgeCountsFromTheStartOfTheProcess(t *testing.T) {
	tr := New(Policy{MaxAge: Limit{Value: int64(time.Hour)}}, fixed(), 10*time.Second)
	tr.Ready(20 * time.Second)
	wantDue(t, tr, time.Hour+10*time.Second, MaxAge, "it is 1h0m0s old, its limit is 1h0m0s")
}

func TestAWorkerThatIsNotReadyIsNotReplaced(t *testing.T) {
	tr := New(Policy{
		MaxAge: Limit{Value: 1}, MaxRequests: Limit{Value: 1}, MaxPrivate: Limit{Value: 1}, Watchdog: time.Second,
	}, fixed(), 0)
	tr.Requests(9)
	for at := Time(1); at < 10; at++ {
		tr.Private(9, at)
	}
	if tr.Next() != Never {
		t.Errorf("Next() = %v before ready", tr.Next())
	}
	wantNotDue(t, tr, time.Hour)
	tr.Ready(2 * time.Hour)
	v, due := tr.Due(2 * time.Hour)
	if !due || v.Reason == MaxPrivate {
		t.Errorf("when it is ready: %+v, %v", v, due)
	}
}

func TestRequestsAreThoseThatTheWorkerCounts(t *testing.T) {
	tr := readyAt(Policy{MaxRequests: Limit{Value: 1000}}, 0)
	tr.Requests(999)
	if tr.Next() != Never {
		t.Errorf("Next() = %v below the limit", tr.Next())
	}
	tr.Requests(1003)
	if tr.Next() != 0 {
		t.Errorf("Next() = %v over the limit, want at once", tr.Next())
	}
	v, due := tr.Due(0)
	if want := (Verdict{MaxRequests, "it has answered 1003 requests, its limit is 1000"}); !due || v != want {
		t.Errorf("Due = %+v, %v", v, due)
	}
}

func TestMemoryMustStayOverTheLimitForThreeReadings(t *testing.T) {
	tr := readyAt(Policy{MaxPrivate: Limit{Value: 200 * mib}}, 0)
	at := Time(0)
	read := func(bytes int64) {
		at += time.Second
		if refusal, refused := tr.Private(bytes, at); refused {
			t.Fatalf("refused: %+v", refusal)
		}
	}
	for range 6 { // the first at 1 s
		read(20 * mib)
	}
	read(300 * mib)
	read(300 * mib)
	read(200 * mib) // at the limit is not over it
	read(300 * mib)
	read(300 * mib)
	wantNotDue(t, tr, at)
	if _, refused := tr.Private(300*mib, at); refused { // the same reading once more
		t.Error("refused")
	}
	wantNotDue(t, tr, at)
	read(212*mib + 1)
	v, due := tr.Due(at)
	want := Verdict{MaxPrivate, "its private memory was 212 MiB in 3 samples in a row, over its limit of 200 MiB"}
	if !due || v != want {
		t.Errorf("Due = %+v, %v\nwant %+v", v, due, want)
	}
	read(900 * mib)
	read(900 * mib)
	read(900 * mib)
	wantNotDue(t, tr, at)
}

func TestTheFirstSecondsDoNotCount(t *testing.T) {
	const ready = 100 * time.Second
	tr := readyAt(Policy{MaxPrivate: Limit{Value: 200 * mib}}, ready)
	tr.Private(150*mib, ready)
	for at := ready + 1; at < ready+Settle; at += time.Second / 2 {
		tr.Private(300*mib, at)
	}
	tr.Private(300*mib, ready+Settle)
	tr.Private(300*mib, ready+Settle+1)
	wantNotDue(t, tr, ready+Settle+1)
	tr.Private(300*mib, ready+Settle+2)
	if _, due := tr.Due(ready + Settle + 2); !due {
		t.Error("three readings that count, and no verdict")
	}
}

func TestALimitBelowAFreshWorkerIsRefused(t *testing.T) {
	tr := readyAt(Policy{MaxPrivate: Limit{Value: 50 * mib}}, time.Second)
	if _, refused := tr.Private(89*mib, time.Second/2); refused {
		t.Error("refused for a reading from before ready")
	}
	refusal, refused := tr.Private(89*mib, time.Second+Fresh)
	want := "cannot keep workers below --max-private 50 MiB: worker 0 has 89 MiB of its own when it has just become " +
		"ready; raise the limit above that; it is ignored until the next reload"
	if text := refusal.Text(0, 50*mib); !refused || text != want {
		t.Errorf("%v, %q\nwant %q", refused, text, want)
	}
	for at := 10 * time.Second; at < 20*time.Second; at += time.Second {
		if _, again := tr.Private(89*mib, at); again {
			t.Error("refused twice")
		}
	}
	wantNotDue(t, tr, time.Hour)
}

func TestARefusalNamesTheOwnLimitWhereItDiffers(t *testing.T) {
	text := Refusal{Private: 95 * mib, Limit: 92 * mib}.Text(3, 100*mib)
	want := "cannot keep workers below --max-private 100 MiB: worker 3, whose own limit is 92 MiB, has 95 MiB of its own when " +
		"it has just become ready; raise the limit above that; it is ignored until the next reload"
	if text != want {
		t.Errorf("%q\nwant %q", text, want)
	}
}

func TestOnlyTheFirstReadingRefuses(t *testing.T) {
	p := Policy{MaxPrivate: Limit{Value: 50 * mib}}
	tr := readyAt(p, 0)
	tr.Private(40*mib, 1)
	if _, refused := tr.Private(89*mib, 2); refused {
		t.Error("refused though it began below the limit")
	}
	late := readyAt(p, 0)
	if _, refused := late.Private(89*mib, Fresh+1); refused {
		t.Error("refused by a reading that came too late to be of a fresh worker")
	}
}

func TestTheWatchdogCountsFromReadyAndFromTheLastSignOfLife(t *testing.T) {
	p := Policy{Watchdog: 30 * time.Second}
	mute := readyAt(p, 100*time.Second)
	wantDue(t, mute, 130*time.Second, Watchdog,
		"it has never sent WATCHDOG=1 in the 30 s since it became ready, the limit is 30 s")

	tr := New(p, fixed(), 0)
	tr.Alive(99 * time.Second) // before ready: no matter
	tr.Ready(100 * time.Second)
	tr.Alive(120 * time.Second)
	tr.Alive(110 * time.Second) // late news
	if tr.Next() != 150*time.Second {
		t.Errorf("Next() = %v", tr.Next())
	}
	v, due := tr.Due(120*time.Second + 31_234*time.Millisecond)
	if want := (Verdict{Watchdog, "it has not sent WATCHDOG=1 for 31.2 s, the limit is 30 s"}); !due || v != want {
		t.Errorf("Due = %+v, %v", v, due)
	}
	tr.Alive(500 * time.Second)
	if tr.Next() != Never {
		t.Error("a worker that was given up came back")
	}
}

func TestAWorkerMayHangWhileItWaitsForItsReplacement(t *testing.T) {
	tr := readyAt(Policy{MaxAge: Limit{Value: int64(time.Minute)}, Watchdog: 90 * time.Second}, 0)
	if v, due := tr.Due(time.Minute); !due || v.Reason != MaxAge {
		t.Fatalf("Due = %+v, %v", v, due)
	}
	if v, due := tr.Due(90 * time.Second); !due || v.Reason != Watchdog {
		t.Fatalf("Due = %+v, %v", v, due)
	}
	if tr.Next() != Never {
		t.Errorf("Next() = %v after the last verdict", tr.Next())
	}
}

func TestAfterAFailedReplacementTheSameLimitHoldsAgain(t *testing.T) {
	tr := readyAt(Policy{MaxAge: Limit{Value: int64(time.Minute)}, MaxPrivate: Limit{Value: mib}}, 0)
	tr.Due(time.Minute)
	tr.Postpone(5 * time.Minute)
	if tr.Next() != 5*time.Minute {
		t.Errorf("Next() = %v", tr.Next())
	}
	wantDue(t, tr, 5*time.Minute, MaxAge, "it is 5m0s old, its limit is 1m0s")

	tr = readyAt(Policy{MaxPrivate: Limit{Value: mib}}, 0)
	tr.Private(1, 1)
	for at := Settle; at < Settle+Samples; at++ {
		tr.Private(2*mib, at)
	}
	if _, due := tr.Due(Settle + Samples); !due {
		t.Fatal("not due")
	}
	tr.Postpone(time.Minute)
	wantNotDue(t, tr, time.Hour)
	for at := time.Hour; at < time.Hour+Samples; at++ {
		tr.Private(2*mib, at)
	}
	if _, due := tr.Due(2 * time.Hour); !due {
		t.Error("not due again")
	}
}

func TestFiguresThatLookTheSameAreWrittenExactly(t *testing.T) {
	for _, c := range []struct {
		n, other int64
		want     string
	}{
		{200 * mib, 212 * mib, "200 MiB"},
		{200*mib + 1, 200 * mib, "209715201 bytes"},
		{1536, 0, "1.5 KiB"},
		{89 * mib, 50 * mib, "89 MiB"},
		{1 << 40, 0, "1.0 TiB"},
		{512, 0, "512 bytes"},
	} {
		if got := size(c.n, c.other); got != c.want {
			t.Errorf("size(%d, %d) = %q, want %q", c.n, c.other, got, c.want)
		}
	}
}

func TestReasonsAreNamedAsInTheStats(t *testing.T) {
	for reason, want := range map[Reason]string{
		MaxAge: "max-age", MaxRequests: "max-requests", MaxPrivate: "max-private", Watchdog: "watchdog", 0: "unknown(0)",
	} {
		if got := reason.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
