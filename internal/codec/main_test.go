// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// What the tests share: contents, the real programs, and that no goroutine outlives its reader.

package codec

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// contents are what is packed: nothing, little, what packs badly, well, and with matches that overlap themselves.
func contents() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<20+50_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var table, periods bytes.Buffer
	for i := 0; table.Len() < 600_000; i++ {
		fmt.Fprintf(&table, "%d\t%.2f\tword%d\n", i, random.NormFloat64(), random.IntN(1000)*random.IntN(1000))
	}
	for i := 0; periods.Len() < 600_000; i++ {
		periods.Write(bytes.Repeat(noise[i:i+1+i%17], 1+random.IntN(400)))
	}
	return map[string][]byte{
		"nothing": {},
		"a byte":  {'x'},
		"a line":  []byte("a line of text\n"),
		"zeros":   make([]byte, 1_300_000),
		"noise":   noise,
		"table":   table.Bytes(),
		"periods": periods.Bytes(),
	}
}

// packer is a program with its options, as a user would run it.
type packer struct {
	kind    Kind
	command string
}

func packers() []packer {
	return []packer{
		{Gzip, "gzip -1"},
		{Gzip, "gzip"},
		{Gzip, "pigz"},
		{Gzip, "pigz -i -b 32"},
		{Zstd, "zstd -1"},
		{Zstd, "zstd -9"},
		{Zstd, "zstd --no-check"},
		{Zstd, "zstd --fast=5 --long=24"},
		{Zstd, "pzstd"},
		{XZ, "xz -0"},
		{XZ, "xz -1 -T2 --block-size=300KiB"},
		{LZ4, "lz4"},
		{LZ4, "lz4 -9"},
		{LZ4, "lz4 -BD -B4"},
		{LZ4, "lz4 -BX -B5"},
		{LZ4, "lz4 -l"},
	}
}

// pack packs content by the program, from its standard input.
func (p packer) pack(t testing.TB, content []byte) []byte {
	t.Helper()
	args := strings.Fields(p.command)
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("%s is not installed", args[0])
	}
	cmd := exec.Command(path, append(args[1:], "-c")...)
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = bytes.NewReader(content), &stderr
	packed, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot pack with %s: %v: %s", p.command, err, stderr.String())
	}
	return packed
}

// unpack reads r to its end.
func unpack(kind Kind, r io.Reader) ([]byte, error) {
	d, err := NewReader(kind, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	return io.ReadAll(d)
}
