// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package handover

// Offers and answers between two ends in one process.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestAnOfferIsHandedOverWithItsDescriptors(t *testing.T) {
	c, w := pair(t)
	for number := range 3 { // the channel is for many offers
		taken := given(t, t.Context(), c, offer(t, number, "first", "second"))
		p := w.mustRead(t)
		want := map[string]map[string]any{
			"d0": {"fd": 7.0, "path": "/run/d0.v2", "version": 2.0},
			"d1": {"fd": 8.0, "path": "/run/d1.v2", "version": 2.0},
		}
		if p.Offer != number || cmp.Diff(want, p.Data) != "" || cmp.Diff([]string{"d0", "d1"}, p.FDs) != "" {
			t.Errorf("%+v", p)
		}
		var got []string
		for _, f := range p.files {
			text, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(text))
			if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY {
				t.Errorf("flags %#x: %v", flags, err)
			}
		}
		if cmp.Diff([]string{"first", "second"}, got) != "" {
			t.Errorf("received %q", got)
		}
		select {
		case err := <-taken:
			t.Fatalf("Give returned %v before the answer", err)
		default:
		}
		w.say(t, `{"offer": %d, "taken": true, "later": [1]}`, number)
		if err := result(t, taken); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARefusalIsOnePrintableLine(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"plain":   {`version 3 has 5 columns`, "version 3 has 5 columns"},
		"lines":   {`Traceback:\n\tValueError: ü\n`, "Traceback:  ValueError: ü"},
		"escapes": {`\u001b[2J\u0000\u202e`, "\uFFFD[2J\uFFFD\uFFFD"},
		"long":    {strings.Repeat("ü", 30_000), strings.Repeat("ü", textMax/2)},
		"empty":   {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, w := pair(t)
			taken := given(t, t.Context(), c, offer(t, 1, "x"))
			w.mustRead(t)
			w.say(t, `{"offer": 1, "taken": false, "error": "%s"}`, test.text)
			var refused *Refused
			if err := result(t, taken); !errors.As(err, &refused) || refused.Text != test.want {
				t.Errorf("%q", err)
			}
			select {
			case <-c.Gone():
				t.Error("a refusal ended the channel")
			default:
			}
		})
	}
}

func TestOnlyTheAnswerToAnOfferCounts(t *testing.T) {
	c, w := pair(t)
	w.say(t, `{"offer": 2, "taken": true}`) // before the offer
	until(t, "the read of an answer that nobody waits for", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.stray == 1
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := given(t, ctx, c, offer(t, 1, "x"))
	w.mustRead(t)
	cancel()
	if err := result(t, first); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	second := given(t, t.Context(), c, offer(t, 2, "x"))
	w.mustRead(t)
	w.say(t, `{"offer": 1, "taken": true}`)
	w.say(t, `{"offer": 3, "taken": true}`)
	w.say(t, `{"offer": 2, "taken": false, "error": "no"}`)
	w.say(t, `{"offer": 2, "taken": true}`)
	var refused *Refused
	if err := result(t, second); !errors.As(err, &refused) || refused.Text != "no" {
		t.Fatal(err)
	}
}

func TestOffersWaitForEachOther(t *testing.T) {
	c, w := pair(t)
	var results []<-chan error
	for number := range 5 {
		results = append(results, given(t, t.Context(), c, offer(t, number, "x")))
	}
	for range results {
		p := w.mustRead(t)
		if w.readable(t) {
			t.Error("the next offer was sent before the answer")
		}
		w.say(t, `{"offer": %d, "taken": true}`, p.Offer)
	}
	for _, r := range results {
		if err := result(t, r); err != nil {
			t.Error(err)
		}
	}
}

func TestManyChannelsAtOnce(t *testing.T) {
	const channels, offers = 64, 5
	before := openDescriptors(t)
	t.Run("all", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range channels {
			c, w := pair(t)
			o := offer(t, 0, fmt.Sprint(i))
			all.Go(func() {
				for n := range offers {
					p, err := w.read()
					if err != nil || p.Offer != n || len(p.files) != 1 {
						t.Errorf("%+v: %v", p, err)
						return
					}
					text := make([]byte, 8)
					size, _ := p.files[0].ReadAt(text, 0)
					p.files[0].Close()
					if string(text[:size]) != fmt.Sprint(i) {
						t.Errorf("channel %d got %q", i, text[:size])
					}
					fmt.Fprintf(w, `{"offer": %d, "taken": true}`, n)
				}
			})
			all.Go(func() {
				for n := range offers {
					o.Number = n
					if err := c.Give(t.Context(), o); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
	noMoreThan(t, before)
}
