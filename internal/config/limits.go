// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

// Limits at which workers are replaced: VALUE[±JITTER%].

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/supervisor"
)

const (
	defaultJitter = 0.1
	maxJitter     = 0.5
)

// limit takes "off", VALUE or VALUE±JITTER%, where read reads the value; +- may be typed for ±.
func limit(form string, read func(string) (int64, bool)) func(string) (supervisor.Limit, error) {
	wrong := errors.New("give " + form + ", such a value with a jitter of up to 50% as in " + example(form) + "±10%, or off")
	return func(text string) (supervisor.Limit, error) {
		if text == "off" {
			return supervisor.Limit{}, nil
		}
		value, share, given := strings.Cut(strings.Replace(text, "+-", "±", 1), "±")
		l := supervisor.Limit{Jitter: defaultJitter}
		if given {
			n, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
			l.Jitter = n / 100
			if err != nil || !strings.HasSuffix(share, "%") || !(l.Jitter >= 0 && l.Jitter <= maxJitter) {
				return supervisor.Limit{}, wrong
			}
		}
		n, ok := read(value)
		if !ok || n <= 0 || n > math.MaxInt64/2 { // the jitter must not make it overflow
			return supervisor.Limit{}, wrong
		}
		l.Value = n
		return l, nil
	}
}

// example is the last word of a form: "a time such as 12h".
func example(form string) string { return form[strings.LastIndexByte(form, ' ')+1:] }

func nanoseconds(text string) (int64, bool) {
	d, err := duration(text)
	return int64(d), err == nil && d >= time.Second // else workers would do nothing but start
}

func count(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// size needs its unit: 200 was hardly meant to be 200 bytes.
func size(text string) (int64, bool) {
	n, err := humanize.ParseBytes(text)
	return int64(min(n, math.MaxInt64)), err == nil && strings.IndexByte("0123456789.", text[len(text)-1]) < 0
}
