// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package archtest

// The files of the repository: their heads, their length, and calls that no file may make.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const root = "../.."

// A file of the repository; path is relative to the root, with slashes.
type file struct {
	path string
	text string
}

func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f file) lines() int { return strings.Count(f.text, "\n") }

// parse returns the syntax tree with its comments.
func (f file) parse(t *testing.T) *ast.File {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// walk reads every text file that people wrote: no hidden folders, nothing built, no fixtures.
var walk = sync.OnceValues(func() ([]file, error) {
	var all []file
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") && name != ".ci" ||
				slices.Contains([]string{"bin", "data", "dist", "node_modules", "testdata", "__pycache__"}, name)) {
				return filepath.SkipDir
			}
			return nil
		}
		kind := filepath.Ext(name)
		if !slices.Contains([]string{".go", ".py", ".sh", ".md", ".yml"}, kind) && name != "Makefile" && name != "run" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		path, err = filepath.Rel(root, path)
		all = append(all, file{path: filepath.ToSlash(path), text: string(text)})
		return err
	})
	return all, err
})

// files returns those that the filter keeps.
func files(t *testing.T, keep func(file) bool) []file {
	t.Helper()
	all, err := walk()
	if err != nil {
		t.Fatal(err)
	}
	kept := slices.DeleteFunc(slices.Clone(all), func(f file) bool { return !keep(f) })
	if len(kept) == 0 {
		t.Fatal("no such files: the test would prove nothing")
	}
	return kept
}

func goFiles(t *testing.T) []file {
	t.Helper()
	return files(t, func(f file) bool { return strings.HasSuffix(f.path, ".go") })
}

func TestEveryFileNamesItsAuthorsAndLicence(t *testing.T) {
	for _, f := range files(t, func(f file) bool { return !strings.HasSuffix(f.path, ".md") }) {
		lines := strings.SplitN(f.text, "\n", 4)
		if strings.HasPrefix(lines[0], "#!") {
			lines = lines[1:]
		}
		mark := "# "
		if strings.HasSuffix(f.path, ".go") {
			mark = "// "
		}
		if len(lines) < 2 || lines[0] != mark+"Copyright 2026 The preforkd authors" ||
			lines[1] != mark+"SPDX-License-Identifier: Apache-2.0" {
			t.Errorf("%s does not begin with the two-line header (see CONTRIBUTING.md)", f.path)
		}
	}
}

func TestFilesStayShort(t *testing.T) {
	const longest, excuse = 400, "over 400 lines because"
	var lengths []int
	for _, f := range goFiles(t) {
		if !f.test() {
			lengths = append(lengths, f.lines())
		}
		head := f.text[:min(len(f.text), 3000)]
		if f.lines() > longest && !strings.Contains(head, excuse) {
			t.Errorf("%s has %d lines: split it, or say in its head comment that it is %q …", f.path, f.lines(), excuse)
		}
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > 150 {
		t.Errorf("the median file has %d lines, want 150 at most", median)
	}
}

// A test that sleeps is slow where the machine is fast and fails where it is slow.
func TestNoTestSleeps(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test() {
			calls(f.parse(t), "time", "Sleep", func(*ast.CallExpr) { t.Errorf("%s calls time.Sleep", f.path) })
		}
	}
}

// wait4(-1) takes the exit status of a child that somebody else waits for.
func TestNobodyWaitsForAnyChild(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test() {
			continue // a test may look for children that were left behind
		}
		tree := f.parse(t)
		for _, pkg := range []string{"unix", "syscall"} {
			calls(tree, pkg, "Wait4", func(call *ast.CallExpr) {
				if minus, ok := call.Args[0].(*ast.UnaryExpr); ok && minus.Op == token.SUB {
					t.Errorf("%s calls %s.Wait4(-1)", f.path, pkg)
				}
			})
		}
	}
}

// calls hands every call of pkg.name to found.
func calls(tree *ast.File, pkg, name string, found func(*ast.CallExpr)) {
	ast.Inspect(tree, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if fun, ok := call.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == name {
			if x, ok := fun.X.(*ast.Ident); ok && x.Name == pkg {
				found(call)
			}
		}
		return true
	})
}
