// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

import "encoding/json"

// Strings are arguments or variables of a process. Those are bytes: JSON knows only UTF-8 and would spoil a Latin-1
// file name in them, so they travel as base64.
type Strings []string

// MarshalJSON writes a list of base64.
func (s Strings) MarshalJSON() ([]byte, error) {
	if s == nil {
		return []byte("null"), nil
	}
	list := make([][]byte, len(s))
	for i, text := range s {
		list[i] = []byte(text)
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Strings) UnmarshalJSON(text []byte) error {
	var list [][]byte
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*s = nil
	for _, item := range list {
		*s = append(*s, string(item))
	}
	return nil
}
