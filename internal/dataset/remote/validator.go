// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// This file is how two answers are known to be the same bytes.

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Validator names one version of the content at an address, as far as its server does. It is comparable; the zero value
// names none.
type Validator struct {
	ETag         string // a strong one, with its quotes; "" without
	LastModified string // as the server writes it; "" without, or when it is too young to tell versions apart
	Size         int64  // bytes, -1 unknown
}

func validatorOf(h http.Header, size int64) Validator {
	v := Validator{Size: size}
	// Weak tags promise the same meaning, not the same bytes.
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		v.ETag = tag
	}
	// It counts seconds: content that was modified in the second of the answer can be modified again without a trace
	// (RFC 9110, 8.8.2.2).
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	date, dateErr := http.ParseTime(h.Get("Date"))
	if err == nil && dateErr == nil && date.Sub(modified) >= time.Second {
		v.LastModified = h.Get("Last-Modified")
	}
	if v.ETag == "" && v.LastModified == "" {
		return Validator{}
	}
	return v
}

// conditions are the headers that ask for content only if it is another version.
func (v Validator) conditions() http.Header {
	h := http.Header{}
	if v.ETag != "" {
		h.Set("If-None-Match", v.ETag)
	}
	if v.LastModified != "" {
		h.Set("If-Modified-Since", v.LastModified)
	}
	return h
}

// from are the headers that ask for the rest of this version.
func (v Validator) from(offset int64) http.Header {
	h := http.Header{"Range": {"bytes=" + strconv.FormatInt(offset, 10) + "-"}}
	if v.ETag != "" {
		h.Set("If-Match", v.ETag)
	} else {
		h.Set("If-Unmodified-Since", v.LastModified)
	}
	return h
}

// same tells whether an answer is of this version. One that no longer says so is not.
func (v Validator) same(h http.Header) bool {
	if v.ETag != "" {
		return h.Get("ETag") == v.ETag
	}
	return v.LastModified != "" && h.Get("Last-Modified") == v.LastModified
}

// contentRange reads "bytes FIRST-LAST/TOTAL" and "bytes */TOTAL"; first and total are -1 where it has a star.
func contentRange(text string) (first, total int64, err error) {
	bad := errors.New("answered with a part that it does not describe: its Content-Range cannot be read")
	text, ok := strings.CutPrefix(text, "bytes ")
	part, all, cut := strings.Cut(text, "/")
	if !ok || !cut {
		return 0, 0, bad
	}
	first, total = -1, -1
	if all != "*" {
		if total, err = strconv.ParseInt(all, 10, 64); err != nil || total < 0 {
			return 0, 0, bad
		}
	}
	if part == "*" {
		return first, total, nil
	}
	from, to, _ := strings.Cut(part, "-")
	first, err = strconv.ParseInt(from, 10, 64)
	last, lastErr := strconv.ParseInt(to, 10, 64)
	if err != nil || lastErr != nil || first < 0 || last < first || total >= 0 && last >= total {
		return 0, 0, bad
	}
	return first, total, nil
}
