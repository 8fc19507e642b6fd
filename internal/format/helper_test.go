// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package format

// What the tests share: files of testdata, npy files made by hand, and a Python that has the libraries.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// file is the content of testdata/name.
func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func inspected(b []byte) (Meta, error) { return Inspect(bytes.NewReader(b), int64(len(b))) }

// must inspects what is in order.
func must(t testing.TB, name string, b []byte) Meta {
	t.Helper()
	meta, err := inspected(b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return meta
}

// refused wants an error that holds want, and a truncated one exactly if want says so.
func refused(t testing.TB, name string, b []byte, want string) {
	t.Helper()
	meta, err := inspected(b)
	if err == nil {
		t.Errorf("%s: accepted as %+v, want %q", name, meta, want)
		return
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
	if errors.Is(err, ErrTruncated) != strings.HasPrefix(want, "truncated") {
		t.Errorf("%s: %v: is it truncated or not?", name, err)
	}
}

// npy is a version 1.0 file with this header text and so many bytes of data.
func npy(header string, data int) []byte { return npyVersion(1, header, data) }

func npyVersion(major byte, header string, data int) []byte {
	out := append([]byte(npyMagic), major, 0)
	header += strings.Repeat(" ", 63) + "\n"
	if major == 1 {
		out = binary.LittleEndian.AppendUint16(out, uint16(len(header)))
	} else {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(header)))
	}
	out = append(out, header...)
	for i := range data {
		out = append(out, byte(i*7))
	}
	return out
}

// header is the dict as numpy writes it.
func header(descr, shape string) string {
	return fmt.Sprintf("{'descr': %s, 'fortran_order': False, 'shape': %s, }", descr, shape)
}

// python returns an interpreter that has these modules, or skips the test.
func python(t *testing.T, modules string) string {
	t.Helper()
	path := "python3"
	if venv := os.Getenv("PREFORKD_TEST_VENV"); venv != "" {
		path = filepath.Join(venv, "bin", "python")
	}
	if out, err := exec.Command(path, "-c", "import "+modules).CombinedOutput(); err != nil {
		t.Skipf("%s cannot import %s: %v: %s", path, modules, err, out)
	}
	return path
}

// run returns what the program prints.
func run(t *testing.T, command ...string) string {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// inspectFile inspects a file as it lies.
func inspectFile(path string) (Meta, error) {
	f, err := os.Open(path)
	if err != nil {
		return Meta{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Meta{}, err
	}
	return Inspect(f, info.Size())
}
