// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"fmt"
)

// refuse recognises what no worker could open: these libraries resolve the path of a segment to its name, "/memfd:…
// (deleted)", and fail, or make a new file of that name.
func refuse(head []byte) error {
	for _, known := range [][2]string{
		{"SQLite format 3\x00", "a SQLite database"},
		{"\x89HDF\r\n\x1a\n", "an HDF5 file"},
	} {
		if bytes.HasPrefix(head, []byte(known[0])) {
			return fmt.Errorf("%s must be opened by its real path and cannot be handed over as a segment: use direct:PATH, "+
				"which gives workers the file itself", known[1])
		}
	}
	return nil
}
