// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func render(t *testing.T, s *supervisor.Snapshot, o Options) string {
	t.Helper()
	var text strings.Builder
	if err := Status(&text, s, o); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestStatusLooksAsReviewed(t *testing.T) {
	for name, s := range map[string]*supervisor.Snapshot{
		"example": apitest.Example(), "rich": apitest.Rich(), "loading": apitest.Loading(), "empty": {Schema: 1}, "sources": sources(),
	} {
		t.Run(name, func(t *testing.T) {
			got, path := render(t, s, Options{}), "testdata/"+name+".txt"
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
			}
		})
	}
}

// sources is Example with data of each kind.
func sources() *supervisor.Snapshot {
	s := apitest.Example()
	s.Supervisor.Operation = &supervisor.Operation{Kind: "reload", StartedAt: s.Supervisor.StartedAt.Add(90 * time.Second), Phase: "loading"}
	s.Data[0].Codec, s.Data[0].Locked = "zstd", true
	s.Data = append(s.Data, supervisor.Data{
		Name: "weights", Version: 3, Source: "https://host/w.npz", Format: new("npz"), Members: 12, Size: new(64 * mib), Resident: new(64 * mib),
		LoadedAt: s.Data[0].LoadedAt, Loaded: 64 * mib, Workers: 2,
	}, supervisor.Data{
		Name: "index", Version: 1, Source: "direct:/srv/index.sqlite", Format: new("raw"), Direct: true, Locked: true, Size: new(512 * mib),
		Resident: new(20 * mib), LoadedAt: s.Data[0].LoadedAt, Loaded: 512 * mib, Workers: 2,
	}, supervisor.Data{
		Name: "weights", Source: "https://host/w.npz", Codec: "gzip", Resident: new(48 * mib), Loaded: 48 * mib, Read: 10 * mib,
		SourceSize: new(40 * mib),
	}, supervisor.Data{
		Name: "feed", Source: "cmd:gen", Resident: new(mib), Loaded: mib, Read: mib,
	})
	s.Workers[1].InPlace = []string{"emb", "weights"}
	return s
}

func TestThePlainCaseFits80Columns(t *testing.T) {
	for line := range strings.Lines(render(t, apitest.Example(), Options{})) {
		if n := length(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestTextFromOutsideCannotControlTheTerminal(t *testing.T) {
	s := apitest.Rich()
	evil := "a\x1b]0;owned\x07\r\n\u202eb\xff"
	s.Supervisor.Name, s.Supervisor.Version, s.Supervisor.LastReload.Error = evil, evil, evil
	s.Data[0].Name, s.Data[0].Source, s.Data[0].Format, s.Data[0].DType = evil, evil, &evil, evil
	s.Workers[0].StatusText, s.Workers[0].Sample.Error, s.Workers[4].LastExit.Signal = evil, evil, evil
	s.Workers[4].LastExit.Reason, s.Listen[0].Name, s.Listen[0].Address, s.Memory.Counterfactual = evil, evil, evil, evil
	s.Workers[0].Status, s.Supervisor.State = supervisor.Status(evil), supervisor.State(evil)
	s.Data[0].Codec, s.Workers[0].InPlace = evil, []string{evil}
	s.Supervisor.LastReload.Result, s.Listen[0].Accept, s.Workers[0].Replacing = evil, evil, evil
	s.Supervisor.Operation.Kind, s.Supervisor.Operation.Phase, s.Workers[2].LastExit = evil, evil, &supervisor.Exit{Signal: evil, OOM: true}
	for _, r := range render(t, s, Options{}) {
		if r != '\n' && r < ' ' || r == '\u202e' || r == '\u007f' || r == '\ufffd' {
			t.Fatalf("%q comes through", r)
		}
	}
}

func TestColoursChangeNothingButColours(t *testing.T) {
	s := apitest.Rich()
	s.Workers[0].StatusText = ""
	plain, colored := render(t, s, Options{}), render(t, s, Options{Color: true})
	if plain == colored || !strings.Contains(colored, "\x1b[31mbackoff\x1b[0m") {
		t.Errorf("no colours in\n%s", colored)
	}
	for _, code := range []string{bold, red, green, yellow, "0"} {
		colored = strings.ReplaceAll(colored, "\x1b["+code+"m", "")
	}
	if diff := cmp.Diff(plain, colored); diff != "" {
		t.Errorf("-plain +colored:\n%s", diff)
	}
}

func TestDurations(t *testing.T) {
	for seconds, want := range map[float64]string{
		-1: "0s", 0.4: "0s", 59.9: "59s", 60: "1m00s", 3599: "59m59s", 3600: "1h00m", 86399: "23h59m", 90061: "1d01h",
	} {
		if got := Duration(seconds); got != want {
			t.Errorf("Duration(%v) = %q, want %q", seconds, got, want)
		}
	}
}
