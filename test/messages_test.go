// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: every message that docs/troubleshooting.md explains above "Python" is one that the program can say.

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// ofOthers are the messages that neither preforkd nor a library of it says.
var ofOthers = map[string]string{
	"fatal error: newosproc":                                 "the Go runtime of a worker",
	"Control server error: … gunicorn.ctl is already in use": "gunicorn",
}

func TestMessagesOfThePageAreSaid(t *testing.T) {
	page, err := os.ReadFile("../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	above, _, found := strings.Cut(string(page), "\n## Python\n")
	if !found {
		t.Fatal("there is no section")
	}
	texts := textsOfTheProgram(t)
	alone := map[string]bool{}
	for _, text := range texts {
		if len(text) == 1 {
			alone[text[0]] = true
		}
	}
	said := func(part string) bool {
		words := wordsIn(part)
		for _, text := range texts {
			for at := range text {
				if begins(text[at:], words, false, alone) {
					return true
				}
			}
		}
		return false
	}
	messages, others := 0, 0
	for _, heading := range regexp.MustCompile(`(?ms)^\*\*(.+?)\*\*`).FindAllStringSubmatch(above, -1) {
		for _, message := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(heading[1], -1) {
			if ofOthers[message[1]] != "" {
				others++
				continue
			}
			messages++
			for _, part := range piecesOf(message[1]) {
				if !said(part) {
					t.Errorf("nothing in the program says %q, of %q", part, message[1])
				}
			}
		}
	}
	if messages < 20 || others != len(ofOthers) {
		t.Errorf("%d messages, %d of others: was the page read?", messages, others)
	}
	for _, nobodys := range []string{"cannot pin", "killed by somebody", "not ready before 1m0s", "worker 0 still keeps version 1 of emb"} {
		if said(nobodys) {
			t.Errorf("%q counts as said: the test proves nothing", nobodys)
		}
	}
}

// piecesOf are the pieces of a message that are each of one text: what a colon divides, and a log line's attributes.
func piecesOf(message string) []string {
	var parts []string
	attribute := regexp.MustCompile(`(\w+)=("[^"]*"|\S+)`)
	for _, a := range attribute.FindAllStringSubmatch(message, -1) {
		parts = append(parts, a[1], strings.Trim(a[2], `"`))
	}
	parts = append(parts, strings.Split(attribute.ReplaceAllString(message, "…"), ": ")...)
	var worded []string
	for _, part := range parts {
		if part = strings.Trim(part, "… "); part != "" {
			worded = append(worded, part)
		}
	}
	return worded
}

// wild stands in a text of the program for what is only known as it runs.
const wild = "\x00"

// textsOfTheProgram are the string literals of the packages that it is built from, as words. Formatting verbs, and what
// is not a literal in a sum of strings, are wild.
func textsOfTheProgram(t *testing.T) [][]string {
	if _, err := exec.LookPath("go"); err != nil {
		missing(t, "go")
	}
	list := exec.Command("go", "list", "-deps", "-f",
		`{{if and .Module .Module.Main}}{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{end}}`, "./cmd/preforkd")
	list.Dir = ".."
	files, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	texts := [][]string{ // of the standard library, which names them so
		wordsIn(syscall.SIGKILL.String()),
		wordsIn(syscall.EAGAIN.Error()),
		wordsIn(fmt.Sprint(http.StatusUnauthorized, " ", http.StatusText(http.StatusUnauthorized))),
		wordsIn(fmt.Sprint(http.StatusForbidden, " ", http.StatusText(http.StatusForbidden))),
	}
	for path := range strings.FieldsSeq(string(files)) {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if expr, ok := n.(ast.Expr); ok {
				if text := literal(expr); strings.Trim(text, wild) != "" {
					texts = append(texts, wordsIn(text))
				}
			}
			_, imports := n.(*ast.ImportSpec)
			return !imports
		})
	}
	if len(texts) < 1000 {
		t.Fatalf("only %d texts were found", len(texts))
	}
	return texts
}

var verb = regexp.MustCompile(`%[-+# 0]*[0-9.*]*[a-zA-Z]`)

func literal(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.BasicLit:
		if expr.Kind == token.STRING {
			text, _ := strconv.Unquote(expr.Value)
			return verb.ReplaceAllString(text, wild)
		}
	case *ast.BinaryExpr:
		if expr.Op == token.ADD {
			return literal(expr.X) + literal(expr.Y)
		}
	case *ast.ParenExpr:
		return literal(expr.X)
	}
	return wild
}

func wordsIn(text string) []string {
	words := strings.Fields(text)
	for i := range words {
		words[i] = strings.Trim(words[i], `.,:;()"'`)
	}
	return words
}

// begins tells whether a text of the program begins with these words, at least one of them in so many letters. What is
// only known as it runs may be a number, emb, or another text of the program, which is one of alone.
func begins(text, words []string, exact bool, alone map[string]bool) bool {
	switch {
	case len(words) == 0:
		return exact
	case words[0] == "…":
		for n := range len(text) + 1 {
			if begins(text[n:], words[1:], exact, alone) {
				return true
			}
		}
		return false
	case len(text) == 0:
		return false
	case text[0] == words[0]:
		return begins(text[1:], words[1:], true, alone)
	}
	before, _, unknown := strings.Cut(text[0], wild)
	after := text[0][strings.LastIndex(text[0], wild)+1:]
	value := words[0] == "emb" || alone[words[0]] || strings.ContainsAny(words[0], "0123456789")
	return unknown && value && strings.HasPrefix(words[0], before) && strings.HasSuffix(words[0], after) &&
		begins(text[1:], words[1:], exact, alone)
}
