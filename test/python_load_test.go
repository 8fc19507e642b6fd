// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// A load on fresh and on kept connections for the servers of examples/python, and the data from which they answer: each row
// tells its version and its number.

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	floatColumns = 16
	floatRows    = 1 << 16
	floatsSize   = npyOffset + 4*floatColumns*floatRows
)

// float stands in each column of a row. A float32 holds it, and the sum of a row, exactly.
func float(version, row int) float32 { return float32(version<<16 | row) }

// saveFloats puts an array of float32 in place at path, by renaming.
func saveFloats(t *testing.T, path string, version int) {
	t.Helper()
	const head = "\x93NUMPY\x01\x00"
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", floatRows, floatColumns)
	content := binary.LittleEndian.AppendUint16([]byte(head), npyOffset-uint16(len(head))-2)
	content = fmt.Appendf(content, "%-*s\n", npyOffset-len(content)-1, text)
	for row := range floatRows {
		for range floatColumns {
			content = binary.LittleEndian.AppendUint32(content, math.Float32bits(float(version, row)))
		}
	}
	if err := errors.Join(os.WriteFile(path+".new", content, 0o644), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// answer is what every example answers.
type answer struct {
	Worker, Version, Rows, Row int
	Sum                        float64
}

// rightAnswer reads one, and tells whether its content is that of the version and the row that it names.
func rightAnswer(body string) (a answer, ok bool) {
	err := json.Unmarshal([]byte(body), &a)
	return a, err == nil && a.Rows == floatRows && a.Version > 0 && a.Sum == floatColumns*float64(float(a.Version, a.Row))
}

// everyWorkerAnswers asks until each of n workers has answered, with this version alone.
func everyWorkerAnswers(t *testing.T, address string, n, version int) {
	t.Helper()
	seen := map[int]bool{}
	within(t, patience, fmt.Sprintf("answers of %d workers with version %d", n, version), func() bool {
		body, err := get(address + "/?row=77")
		a, ok := rightAnswer(body)
		if err != nil || !ok || a.Version != version || a.Row != 77 {
			t.Fatalf("answer %q, %v, want version %d", body, err, version)
		}
		seen[a.Worker] = true
		return len(seen) == n
	})
}

// phase is what came of a load while something was done.
type phase struct {
	fresh, kept tally
	again       int // requests that were sent once more, see keeper
	took        time.Duration
}

// phases are the start, a rolling reload, new data.
type phases [3]phase

func (of phases) String() string {
	text := ""
	for i, what := range []string{"start", "reload", "data"} {
		p := of[i]
		text += fmt.Sprintf("\n%-6s %v\n  fresh: %v\n  kept:  %v, %d sent again",
			what, p.took.Round(time.Millisecond), p.fresh, p.kept, p.again)
	}
	return text
}

// underLoad does something under a load on fresh and on kept connections, whose answers must be of these versions. It goes on
// until each client of a kind has been answered 20 times on average, however quickly that was done.
func underLoad(t *testing.T, address string, versions []int, do func()) (p phase) {
	t.Helper()
	const clients = 4
	var answered [2]atomic.Int64
	fresh := load{clients: clients, address: address, path: "/?row=4711", right: func(body string) bool {
		a, ok := rightAnswer(body)
		answered[0].Add(1)
		return ok && a.Row == 4711 && slices.Contains(versions, a.Version)
	}}.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	keepers := make([]keeper, clients)
	for i := range keepers {
		keepers[i] = keeper{address: address, versions: versions, count: &answered[1]}
		wg.Go(func() { keepers[i].run(ctx, i) })
	}
	begin := time.Now()
	do()
	p.took = time.Since(begin)
	within(t, patience, "enough answers", func() bool { return min(answered[0].Load(), answered[1].Load()) >= 20*clients })
	cancel()
	wg.Wait()
	p.fresh = fresh()
	for _, k := range keepers {
		p.kept.answered += k.answered
		p.kept.failures = append(p.kept.failures, k.failures...)
		p.kept.latencies = append(p.kept.latencies, k.latencies...)
		p.again += k.again
	}
	p.fresh.nothingLost(t)
	p.kept.nothingLost(t)
	return p
}

// keeper is a client that keeps its connection for as long as the server does. A server may close a connection that has
// nothing under way, just when the next request is being sent: what was sent on a connection that had been used, and was
// answered by not one byte, is sent again once, on a new connection (RFC 9112, section 9.3.1). Every HTTP client does this.
type keeper struct {
	address  string
	versions []int
	tally
	again int
	count *atomic.Int64 // of the answers to all clients

	conn net.Conn // nil: the next request needs a new one
	from *bufio.Reader
}

func (k *keeper) run(ctx context.Context, seed int) {
	for row := seed; ctx.Err() == nil; row = (row + 4097) % floatRows {
		begin := time.Now()
		used := k.conn != nil
		silent, err := k.ask(row)
		if silent && used {
			k.again++
			_, err = k.ask(row)
		}
		if err != nil {
			k.failures = append(k.failures, portless(err))
			continue
		}
		k.answered++
		k.count.Add(1)
		k.latencies = append(k.latencies, time.Since(begin))
	}
	k.close()
}

func (k *keeper) close() {
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}

// ask sends one request. silent: the connection ended without a byte of an answer.
func (k *keeper) ask(row int) (silent bool, err error) {
	keep := false
	defer func() {
		if !keep {
			k.close()
		}
	}()
	if k.conn == nil {
		if k.conn, err = net.DialTimeout("tcp", k.address, patience); err != nil {
			return false, err
		}
		k.from = bufio.NewReader(k.conn)
	}
	if err := k.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, err := io.WriteString(k.conn, "GET /?row="+strconv.Itoa(row)+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return true, err
	}
	if _, err := k.from.Peek(1); err != nil {
		return !errors.Is(err, os.ErrDeadlineExceeded), err
	}
	response, err := http.ReadResponse(k.from, nil)
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return false, err
	}
	a, ok := rightAnswer(string(body))
	if response.StatusCode != http.StatusOK || !ok || a.Row != row || !slices.Contains(k.versions, a.Version) {
		return false, fmt.Errorf("status %d, body %q", response.StatusCode, body)
	}
	keep = !response.Close
	return false, nil
}
