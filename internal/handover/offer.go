// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package handover

// What is said on a channel.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	filesMax = 253 // descriptors in a packet: SCM_MAX_FD
	textMax  = 512 // bytes kept of what a process says
)

// Offer is a set of new versions that a process takes all together or not at all.
type Offer struct {
	// Number is what the answer names: another one for each offer on a channel.
	Number int
	// Names of the datasets, in the order of Files.
	Names []string
	// Manifest has for each name what PREFORKD_DATA would say of the new version in a worker that is started now.
	Manifest map[string]json.RawMessage
	// Files are opened for this process alone, since their offset is shared with it, and read-only. They stay the caller's.
	Files []*os.File
}

// Refused is a process's answer that it does not take an offer.
type Refused struct{ Text string } // one printable line of at most 512 bytes, may be empty

func (r *Refused) Error() string {
	if r.Text == "" {
		return "the process refused it"
	}
	return "the process refused it: " + r.Text
}

// packet is the text of an offer. Where it would be too long, the largest indexes (members, schema) are left out.
func (o *Offer) packet() ([]byte, error) {
	if len(o.Names) != len(o.Files) || len(o.Files) > filesMax {
		return nil, fmt.Errorf("%d names, %d descriptors: at most %d go together", len(o.Names), len(o.Files), filesMax)
	}
	entries := maps.Clone(o.Manifest)
	for {
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(struct {
			Offer int                        `json:"offer"`
			Data  map[string]json.RawMessage `json:"data"`
			FDs   []string                   `json:"fds"`
		}{o.Number, entries, append([]string{}, o.Names...)})
		if err != nil {
			return nil, err
		}
		packet := bytes.TrimSpace(text.Bytes())
		if len(packet) <= packetMax {
			return packet, nil
		}
		if omitted, err := omitLargest(entries); err != nil || !omitted {
			return nil, errors.Join(err, fmt.Errorf("its description takes %d bytes, at most %d are sent", len(packet), packetMax))
		}
	}
}

// omitLargest takes the members and the schema out of the entry where they are the longest, and tells whether it found one.
func omitLargest(entries map[string]json.RawMessage) (bool, error) {
	var (
		largest string
		rest    map[string]json.RawMessage
		size    int
	)
	for name, entry := range entries {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(entry, &fields); err != nil {
			return false, err
		}
		if s := len(fields["members"]) + len(fields["schema"]); s > size {
			largest, rest, size = name, fields, s
		}
	}
	if size == 0 {
		return false, nil
	}
	delete(rest, "members")
	delete(rest, "schema")
	rest["members_omitted"] = json.RawMessage("true")
	entry, err := json.Marshal(rest)
	entries[largest] = entry
	return true, err
}

// rights is the control message with the descriptors. The files must stay open until it is sent.
func (o *Offer) rights() ([]byte, error) {
	if len(o.Files) == 0 {
		return nil, nil
	}
	fds := make([]int, len(o.Files))
	for i, f := range o.Files {
		raw, err := f.SyscallConn() // File.Fd would make it blocking
		if err == nil {
			err = raw.Control(func(fd uintptr) { fds[i] = int(fd) })
		}
		if err != nil {
			return nil, err
		}
	}
	defer runtime.KeepAlive(o.Files)
	return unix.UnixRights(fds...), nil
}

// answer is what a process says to an offer. A field that is missing is nil.
type answer struct {
	Offer *int   `json:"offer"`
	Taken *bool  `json:"taken"`
	Error string `json:"error"`
}

func parseAnswer(packet []byte) (a answer, err error) {
	if err = json.Unmarshal(packet, &a); err != nil || a.Offer == nil || a.Taken == nil {
		return a, fmt.Errorf("it sent %q, which is no answer", printable(string(packet[:min(len(packet), textMax)])))
	}
	return a, nil
}

// verdict is nil where the offer was taken.
func (a answer) verdict() error {
	if *a.Taken {
		return nil
	}
	return &Refused{printable(a.Error)}
}

// printable makes a text safe for a log and a terminal, on one line: escape sequences and broken UTF-8 become U+FFFD.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) <= textMax {
		return s
	}
	end := textMax
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
