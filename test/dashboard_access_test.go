// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: in every state the dashboard fits into windows from 320 to 2560 pixels without scrolling sideways, its texts stand out
// from what is behind them, in dark and light, the keyboard reaches and works everything, and axe finds nothing to complain of.

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestDashboardFitsIntoEveryWindow(t *testing.T) {
	source, b := stage(t)
	for name, s := range states() {
		b.act(source, s)
		for _, width := range []int64{320, 390, 768, 1000, 1280, 2560} {
			b.look(width, 844, "light")
			if over := read[[]string](b, `(() => {
				const wide = document.documentElement.clientWidth;
				if (document.documentElement.scrollWidth <= wide) return [];
				return [document.documentElement.scrollWidth + " of " + wide + " pixels", ...[...document.querySelectorAll("body *")]
					.filter((e) => e.getBoundingClientRect().right > wide + 1).map((e) => e.tagName + "." + e.className + "#" + e.id).slice(0, 5)];
			})()`); len(over) > 0 {
				t.Errorf("%s: %d pixels are not wide enough: %v", name, width, over)
			}
			// Where a table has become blocks nothing is cut off in it.
			if width <= 390 {
				if cut := read[int](b, `[...document.querySelectorAll(".scroll")].filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).length`); cut > 0 {
					t.Errorf("%s: at %d pixels %d tables scroll sideways", name, width, cut)
				}
			}
		}
	}
}

// contrasts walks over everything that shows text and returns what stands out too little, by WCAG 2's formula.
const contrasts = `(() => {
	const parse = (c) => { const n = c.match(/[\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
	const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
	const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => { const all = [];
		for (; e; e = e.parentElement) all.unshift(parse(getComputedStyle(e).backgroundColor));
		return all.reduce((below, top) => over(top, below), [255, 255, 255, 1]); };
	let looked = 0;
	const bad = [];
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let node; (node = texts.nextNode()); ) {
		const e = node.parentElement;
		if (!node.data.trim() || !e.checkVisibility({ visibilityProperty: true }) || e.closest(".unseen, noscript, thead[style]")) continue;
		looked++;
		const back = behind(e), a = light(over(parse(getComputedStyle(e).color), back)), b = light(back);
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.push(node.data.trim().slice(0, 30) + ": " + ratio.toFixed(2));
	}
	return [String(looked), ...bad];
})()`

func TestDashboardStandsOutFromWhatIsBehindIt(t *testing.T) {
	source, b := stage(t)
	for name, s := range states() {
		if name == "256 workers" {
			continue // many times the same
		}
		b.act(source, s)
		for _, scheme := range []string{"light", "dark"} {
			b.look(1280, 900, scheme)
			seen := read[[]string](b, contrasts)
			for _, low := range seen[1:] {
				t.Errorf("%s, %s: contrast of %q below 4.5", name, scheme, low)
			}
			t.Logf("%s, %s: %s texts", name, scheme, seen[0])
		}
	}
	light := read[string](b, `getComputedStyle(document.body).color`)
	b.look(1280, 900, "light")
	if dark := read[string](b, `getComputedStyle(document.body).color`); dark == light {
		t.Errorf("dark and light are one: %s", dark)
	}
}

func TestDashboardPassesAxe(t *testing.T) {
	source, b := stage(t)
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	read[bool](b, string(axe)+"; true")
	for name, s := range states() {
		b.act(source, s)
		for _, window := range []struct {
			width  int64
			scheme string
		}{{1280, "light"}, {1280, "dark"}, {390, "light"}} {
			if name == "256 workers" && (window.scheme == "dark" || window.width < 1000) { // many times the same
				continue
			}
			b.look(window.width, 900, window.scheme)
			found := read[[]string](b, `axe.run(document, { resultTypes: ["violations"] }).then((r) => [String(r.passes.length),
				...r.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map((n) => n.html).join(" "))])`)
			if found[0] == "0" {
				t.Fatal("axe has looked at nothing")
			}
			for _, violation := range found[1:] {
				t.Errorf("%s, %d pixels, %s: %s", name, window.width, window.scheme, violation)
			}
		}
	}
}

func TestDashboardIsWorkedByTheKeyboard(t *testing.T) {
	source, b := stage(t)
	b.act(source, states()["256 workers"])
	here := func() string {
		return read[string](b, `(() => { const e = document.activeElement; return e.id || e.dataset.range || (e.tagName === "SUMMARY" ? e.textContent : "") ||
			e.getAttribute("href") || e.tagName; })()`)
	}
	var reached []string
	for range 40 {
		b.do(chromedp.KeyEvent("\t"))
		at := here()
		if at == "BODY" || slices.Contains(reached, at) {
			break
		}
		reached = append(reached, at)
		if !read[bool](b, `(() => { const s = getComputedStyle(document.activeElement), r = document.activeElement.getBoundingClientRect();
			return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 && r.width > 0 && r.bottom > 0 && r.top < innerHeight; })()`) {
			t.Errorf("the focus on %s cannot be seen", at)
		}
	}
	want := []string{"#workers", "theme", "Compared with what?", "300", "900", "3600", "workers-scroll", "stats", "metrics", "openapi.json"}
	if !slices.Equal(reached, want) {
		t.Errorf("Tab goes to %q, want %q", reached, want)
	}

	press := func(element, key string) {
		read[bool](b, fmt.Sprintf(`document.querySelector(%s).focus() === undefined`, quote(element)))
		b.do(chromedp.KeyEvent(key))
	}
	press(`[data-range="300"]`, "\r")
	b.until("another range", `document.querySelector('[data-range="300"]').ariaPressed === "true" && document.querySelector('[data-range="900"]').ariaPressed === "false"`)
	press(".hero summary", " ")
	b.until("the counterfactual", `document.querySelector(".hero details").open`)
	b.says("#counterfactual", "copy of just the pages")

	// The choice of colours outlives the page.
	colour := func() string { return read[string](b, `getComputedStyle(document.documentElement).backgroundColor`) }
	light := colour()
	press("#theme", "\r")
	press("#theme", "\r")
	b.says("#theme", "Dark")
	dark := colour()
	if dark == light {
		t.Errorf("dark is %s, light too", dark)
	}
	b.do(chromedp.Reload())
	b.until("the page is there again", `document.body.dataset.drawn > 0`)
	if got := colour(); got != dark {
		t.Errorf("after a reload the page is %s, was %s", got, dark)
	}
	if label := read[string](b, `document.getElementById("theme").ariaLabel`); !strings.Contains(label, "dark") {
		t.Errorf("the button is labelled %q", label)
	}
	// The skip link leads to the workers.
	press(".skip", "\r")
	b.until("the workers have the focus", `document.activeElement.id === "workers"`)
}
