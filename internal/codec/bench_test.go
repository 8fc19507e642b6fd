// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const benchSize = 320 << 20

// BenchmarkDecode unpacks a file in turn with this package and with the program, both to a file on tmpfs, and prints the
// best rate of each, their ratio, and how much content a second of CPU gives, which other programs disturb less. Run it
// with -benchtime 5x.
func BenchmarkDecode(b *testing.B) {
	dir, err := os.MkdirTemp("/dev/shm", "codec") //nolint:usetesting // TempDir is on a disk
	if err != nil {
		b.Skipf("no tmpfs: %v", err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, write := range map[string]func(io.Writer, *rand.Rand) error{"float32": floats, "text": text} {
		plain := filepath.Join(dir, name)
		makeFile(b, plain, write)
		for _, c := range []struct {
			kind         Kind
			pack, unpack string
		}{
			{Gzip, "pigz -6 -k -c", "pigz -dc"},
			{Zstd, "zstd -q -3 -c", "zstd -q -dc"},
			{LZ4, "lz4 -q -1 -c", "lz4 -q -dc"},
		} {
			b.Run(string(c.kind)+"/"+name, func(b *testing.B) { compare(b, plain, c.kind, c.pack, c.unpack) })
		}
		if err := os.Remove(plain); err != nil {
			b.Fatal(err)
		}
	}
}

func compare(b *testing.B, plain string, kind Kind, pack, unpack string) {
	packed, out := plain+"."+string(kind), plain+".out"
	if _, err := exec.LookPath(strings.Fields(pack)[0]); err != nil {
		b.Skip(err)
	}
	shell(b, fmt.Sprintf("%s %s >%s", pack, plain, packed))
	defer func() { _, _ = os.Remove(packed), os.Remove(out) }()
	ours, theirs := rate{wall: math.Inf(1), cpu: math.Inf(1)}, rate{wall: math.Inf(1), cpu: math.Inf(1)}
	for b.Loop() {
		ours.run(unix.RUSAGE_SELF, func() { decode(b, kind, packed, out) })
		if ours.n == 1 {
			shell(b, fmt.Sprintf("cmp %s %s", plain, out))
		}
		theirs.run(unix.RUSAGE_CHILDREN, func() { shell(b, fmt.Sprintf("exec %s %s >%s", unpack, packed, out)) })
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(benchSize/1e6/ours.wall, "MB/s")
	b.ReportMetric(benchSize/1e6/theirs.wall, "program-MB/s")
	b.ReportMetric(theirs.wall/ours.wall, "ratio")
	b.ReportMetric(benchSize/1e6/ours.cpu, "MB/cpu-s")
	b.ReportMetric(benchSize/1e6/theirs.cpu, "program-MB/cpu-s")
}

// rate is the best of several runs, in seconds.
type rate struct {
	n         int
	wall, cpu float64
}

func (r *rate) run(who int, f func()) {
	start, spent := time.Now(), cpuSeconds(who)
	f()
	r.n++
	r.wall = min(r.wall, time.Since(start).Seconds())
	r.cpu = min(r.cpu, cpuSeconds(who)-spent)
}

func cpuSeconds(who int) float64 {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func decode(b *testing.B, kind Kind, packed, out string) {
	in, err := os.Open(packed)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	to, err := os.Create(out)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = to.Close() }()
	r, err := NewReader(kind, in)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, r, make([]byte, 1<<20)); err != nil {
		b.Fatal(err)
	}
}

func shell(b *testing.B, command string) {
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", command, err, out)
	}
}

func makeFile(b *testing.B, path string, write func(io.Writer, *rand.Rand) error) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	random := rand.New(rand.NewPCG(3, 4))
	for err == nil && w.Available() >= 0 {
		if at, _ := f.Seek(0, io.SeekCurrent); at >= benchSize {
			break
		}
		err = write(w, random)
	}
	if err == nil {
		err = f.Truncate(benchSize)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
}

// floats writes measurements of two decimals, as embeddings and sensors have them.
func floats(w io.Writer, random *rand.Rand) error {
	var b [4096]byte
	for i := 0; i < len(b); i += 4 {
		v := math.Float32bits(float32(math.Round(random.NormFloat64()*100) / 100))
		b[i], b[i+1], b[i+2], b[i+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	_, err := w.Write(b[:])
	return err
}

// text writes rows of a table: a number, a price, ten words of which some are frequent.
func text(w io.Writer, random *rand.Rand) error {
	zipf := rand.NewZipf(random, 1.15, 1, 20_000)
	for range 50 {
		if _, err := fmt.Fprintf(w, "%d\t%.2f", random.IntN(1e8), random.Float64()*1e5); err != nil {
			return err
		}
		for range 10 {
			word := zipf.Uint64() * 0x9e3779b97f4a7c15
			if _, err := fmt.Fprintf(w, " %s", strings.Map(letter, fmt.Sprintf("%.*x", 2+int(word%8), word>>32))); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	return nil
}

// letter makes letters of hexadecimal digits.
func letter(r rune) rune {
	if r <= '9' {
		return r - '0' + 'g'
	}
	return r
}
