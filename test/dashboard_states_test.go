// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: whatever state a fleet is in, the dashboard tells it truly: what is not known is a dash with its reason and never 0, a
// negative saving is told plainly, 256 workers are all there, and a page at which nobody looks draws nothing.

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/internal/api/web"
	"github.com/preforkd/preforkd/supervisor"
)

// stage is the real page over snapshots made by hand, below a path as behind a proxy, and a browser that shows it.
func stage(t *testing.T) (*apitest.Source, *tab) {
	t.Helper()
	chromium(t)
	source, ending := apitest.NewSource(apitest.Example()), make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.HandleFunc("/history", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"interval": 2, "at": [], "used": [], "saved": [], "without_sharing": [], "ready": []}`)
	})
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(source.Snapshot())
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		every := time.NewTicker(100 * time.Millisecond)
		defer every.Stop()
		for {
			text, err := json.Marshal(source.Snapshot())
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "event: stats\ndata: %s\n\n", text)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-every.C:
			case <-r.Context().Done():
				return
			case <-ending:
				return
			}
		}
	})
	server := httptest.NewServer(http.StripPrefix("/fleet", mux))
	b := open(t, strings.TrimPrefix(server.URL, "http://")+"/fleet")
	t.Cleanup(func() { // before the browser's
		b.quiet()
		b.allowed = []string{"ERR_"}
		close(ending)
		server.Close()
	})
	return source, b
}

// act shows a snapshot, and waits until it is on the page.
func (b *tab) act(source *apitest.Source, s *supervisor.Snapshot) {
	b.t.Helper()
	source.Show(s)
	b.until("the snapshot on the page", fmt.Sprintf(`document.body.dataset.drawn === "%v"`, s.Supervisor.Uptime))
}

// states are what a page must be able to show, each told from the others by its uptime.
func states() map[string]*supervisor.Snapshot {
	all := map[string]*supervisor.Snapshot{
		"two workers": apitest.Example(), "everything at once": apitest.Rich(), "loading": apitest.Loading(),
		"negative": negative(), "no data": noData(), "256 workers": manyWorkers(256),
	}
	uptime := 1000.0
	for _, s := range all {
		uptime++
		s.Supervisor.Uptime = uptime
	}
	return all
}

// negative is a moment after a load: the data is held, and hardly any of it is mapped.
func negative() *supervisor.Snapshot {
	s := apitest.Example()
	m := &s.Memory
	m.Mapped = new(int64(4 * mib))
	m.Saved = new(*m.Mapped - m.Data)
	m.WithoutSharing = new(*m.Used + *m.Saved)
	m.SavedRatio = new(float64(*m.Saved) / float64(*m.WithoutSharing))
	return s
}

func noData() *supervisor.Snapshot {
	s := apitest.Example()
	s.Data = []supervisor.Data{}
	for i := range s.Workers {
		s.Workers[i].Data = []supervisor.WorkerData{}
	}
	m := &s.Memory
	m.Data, m.Mapped, m.Saved, m.SavedFull, m.SavedRatio, m.Copies = 0, new(int64(0)), new(int64(0)), new(int64(0)), nil, nil
	return s
}

func manyWorkers(n int) *supervisor.Snapshot {
	s := apitest.Example()
	one := s.Workers[0]
	s.Workers = nil
	for i := range n {
		w := one
		w.ID, w.PID, w.PIDs = i, new(30000+i), []int{30000 + i}
		s.Workers = append(s.Workers, w)
	}
	return s
}

func TestDashboardSaysWhatIsNotKnownAndWhy(t *testing.T) {
	source, b := stage(t)
	all := states()

	b.act(source, all["loading"])
	b.says("h1", "Sharing saves –")
	b.says("#sentence", "is being loaded")
	b.says("#data", "loading", "256 MiB of 1.0 GiB, 25 %")
	b.says("#no-workers", "No worker")
	b.unknownIsADash()

	// The moment before the first byte, when nothing is mapped and nothing held.
	empty := apitest.Loading()
	empty.Supervisor.Uptime, empty.Memory.Saved, empty.Memory.WithoutSharing = 999, new(int64(0)), new(int64(0))
	b.act(source, empty)
	if saved, without := b.text("#at-saved"), b.text("#at-without"); saved != "–" || without != "–" {
		t.Errorf("on the time line %s is saved of %s before there is a worker", saved, without)
	}

	b.act(source, all["everything at once"])
	b.says("h1", "So far sharing costs 40.0 MiB")
	b.says("#sentence", "what is used in all is not known")
	b.says("#change", "rolling, 1 of 4 workers replaced, 2 failed starts in a row, 1 more to come after it")
	b.says("#rows", "permission denied", "smaps_rollup has not been read yet", "killed by SIGKILL while the kernel’s OOM killer was at work",
		"being replaced: max-private", "takes emb in place", "backoff", "4108+2")
	b.says("#data", "npz, 3 arrays, from zstd, locked", "raw, direct", "16 MiB of 64 MiB, 25 %", "2.0 MiB so far")
	b.says("#listen", "admin on unix:/run/app/admin.sock, – waiting", "grpc on [::1]:9000 (reuseport), 3 waiting")
	b.says("#cgroup", "–")
	b.unknownIsADash()
	b.screenshot("everything")

	b.act(source, all["negative"])
	b.says("h1", "So far sharing costs 1020 MiB")
	b.says("#sentence", "mapped 4.0 MiB of it in all so far")
	b.says("#at-saved", "−1020 MiB")

	b.act(source, all["no data"])
	b.says("h1", "Sharing saves –")
	b.says("#sentence", "There is no dataset")
	b.says("#no-data", "No dataset")
	b.unknownIsADash()

	b.act(source, all["two workers"])
	b.says("h1", "Sharing saves 1023 MiB (48 %)")
}

// unknownIsADash checks every place for a number: a dash has no value but a reason, everything else has its value.
func (b *tab) unknownIsADash() {
	b.t.Helper()
	wrong := read[[]string](b, `[...document.querySelectorAll("[data-value], #rows td.n, #data td.n, h1 #saved, .compare b, .key b[id], .facts dd[id]")]
		.filter((node) => node.checkVisibility() && node.textContent.trim() === "–" && (node.dataset.value !== undefined || !node.title))
		.filter((node) => !node.id.startsWith("at-")).map((node) => node.id + node.className + ": " + node.textContent)`)
	for _, place := range wrong {
		b.t.Errorf("a dash without a reason, or with a value: %s", place)
	}
	if n := read[int](b, `document.querySelectorAll("[title]:not([data-value])").length`); n == 0 {
		b.t.Error("nothing is unknown: that shows nothing")
	}
}

func TestDashboardShows256Workers(t *testing.T) {
	source, b := stage(t)
	s := states()["256 workers"]
	b.act(source, s)
	rows := read[[]string](b, `[...document.querySelectorAll("#rows tr")].map((row) => row.querySelector(".id").textContent + " " + row.querySelector(".pid").textContent)`)
	if len(rows) != 256 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, row := range rows {
		if row != fmt.Sprintf("%d %d", i, 30000+i) {
			t.Errorf("row %d is %q", i, row)
		}
	}
	// The list scrolls in itself, by the keyboard too, under its head.
	if !read[bool](b, `(() => {
		const box = document.getElementById("workers-scroll");
		box.focus();
		box.scrollTop = 1000;
		return box.clientHeight < 800 && box.scrollTop === 1000 && document.activeElement === box &&
			Math.abs(box.querySelector("thead th").getBoundingClientRect().top - box.getBoundingClientRect().top) < 3;
	})()`) {
		t.Error("the list of workers does not scroll in itself")
	}
	// What did not change is not touched: neither row nor text is made anew.
	read[bool](b, `window.changes = 0; new MutationObserver((list) => { window.changes += list.length; })
		.observe(document.getElementById("rows"), { subtree: true, childList: true, characterData: true, attributes: true }); true`)
	next := manyWorkers(256)
	next.Supervisor.Uptime = 5000
	for i := range next.Workers {
		next.Workers[i].Sample.At = new(s.Workers[i].Sample.At.Add(time.Duration((next.Supervisor.Uptime - s.Supervisor.Uptime) * float64(time.Second))))
	}
	next.Workers[7].Requests = new(int64(5))
	b.act(source, next)
	if n := read[int](b, `window.changes`); n == 0 || n > 4 {
		t.Errorf("%d changes for one new figure", n)
	}
	b.screenshot("light")
}

func TestDashboardThatNobodySeesDrawsNothing(t *testing.T) {
	source, b := stage(t)
	b.act(source, states()["two workers"])
	hide := func(hidden bool) {
		read[bool](b, fmt.Sprintf(`Object.defineProperty(document, "hidden", { configurable: true, get: () => %v });
			document.dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	before := read[string](b, `document.body.dataset.drawn`)
	hide(true)
	next := negative()
	next.Supervisor.Uptime = 7000
	source.Show(next)
	// A stream of our own has brought it, and a frame has passed: so the page has had it.
	read[bool](b, `new Promise((done) => {
		const own = new EventSource("events");
		let n = 0;
		own.addEventListener("stats", (e) => JSON.parse(e.data).supervisor.uptime === 7000 && ++n === 2 && (own.close(), requestAnimationFrame(() => done(true))));
	})`)
	if drawn := read[string](b, `document.body.dataset.drawn`); drawn != before {
		t.Errorf("the hidden page has drawn %s", drawn)
	}
	hide(false)
	b.until("the newest snapshot at once", `document.body.dataset.drawn === "7000"`)
}
