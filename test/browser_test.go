// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// A real browser: Chromium, driven by chromedp. Every page that a test opens must leave its console empty.

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// tab is one page in a browser of its own.
type tab struct {
	t       *testing.T
	ctx     context.Context
	allowed []string // what may stand in the console

	mu   sync.Mutex
	said []string
}

// chromium finds the browser. PREFORKD_TEST_CHROMIUM=1 says that there must be one.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("PREFORKD_TEST_CHROMIUM") == "1" {
		t.Fatal("needs Chromium, and PREFORKD_TEST_CHROMIUM=1 says that there is one")
	}
	t.Skip("needs Chromium (hack/chromium.sh)")
	return ""
}

// open starts a browser and shows a page in it.
func open(t *testing.T, address string) *tab {
	t.Helper()
	// It shows our own pages only, and its sandbox wants no root and namespaces that a container may not have.
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(chromium(t)), chromedp.NoSandbox,
		chromedp.DisableGPU)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...) // outlives the test: its end is looked at
	ctx, leave := chromedp.NewContext(allocator)
	b := &tab{t: t, ctx: ctx}
	var reading sync.WaitGroup
	messages := chromedp.Console(ctx)
	reading.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.said = append(b.said, string(m.Type)+": "+m.String()+" "+m.URL)
			b.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			b.screenshot("failed")
		}
		leave()
		end()
		reading.Wait()
		b.quiet()
	})
	if err := chromedp.Do(ctx); err != nil { // what starts the browser must not have a deadline: the browser would have it
		t.Fatal(err)
	}
	b.look(1440, 900, "light")
	b.visit(address)
	return b
}

// quiet checks the console: an error, an exception, a broken Content-Security-Policy all stand there.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.said {
		if !slices.ContainsFunc(b.allowed, func(words string) bool { return strings.Contains(line, words) }) {
			b.t.Errorf("in the console: %s", line)
		}
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) visit(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate("http://" + address + "/"))
}

// look sets the size of the window and the colours that the system asks for, and waits until the page has been painted
// so: what its ResizeObserver does, it does with a frame.
func (b *tab) look(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		b.t.Fatal(err)
	}
	read[bool](b, `new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(() => painted(true))))`)
}

// read evaluates an expression in a page.
func read[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits for an expression to be true.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	within(b.t, patience, what, func() bool { return read[bool](b, expression) })
}

// text is what an element shows, "" while it is not there.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return read[string](b, "(document.querySelector("+quote(selector)+")?.innerText ?? '').replace(/\\s+/g, ' ').trim()")
}

// says waits until an element's text has these words.
func (b *tab) says(selector string, words ...string) {
	b.t.Helper()
	var text string
	defer func() {
		if b.t.Failed() {
			b.t.Logf("%s says: %s", selector, text)
		}
	}()
	within(b.t, patience, strings.Join(words, " … ")+" in "+selector, func() bool {
		text = b.text(selector)
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
}

func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(text) + "'"
}

// screenshot keeps a picture of the whole page.
func (b *tab) screenshot(name string) {
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = keep(b.t, name+".png", picture)
	}
	if err != nil {
		b.t.Errorf("cannot keep a screenshot: %v", err)
	}
}

// keep writes what people may want to look at after a test into PREFORKD_TEST_ARTIFACTS (test/artifacts).
func keep(t *testing.T, name string, content []byte) error {
	dir := os.Getenv("PREFORKD_TEST_ARTIFACTS")
	if dir == "" {
		dir = "artifacts"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name), content, 0o644)
}

// address finds a free one: a preforkd that is started anew needs the same again.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
