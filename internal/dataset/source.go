// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file opens sources, and says what is wrong with one before anything is started.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/dataset/remote"
	"github.com/preforkd/preforkd/internal/format"
)

// source is an input while it is read, from its beginning to its end. Its errors do not repeat the source's name.
type source interface {
	io.Reader
	// Size is the bytes that Read will give in all, -1 when nobody knows yet.
	Size() int64
	// Finish is asked once, when Read has given io.EOF after n bytes: were these all, and right?
	Finish(n int64) error
	// Close gives everything back, whatever happened before, and makes a Read that is under way return.
	Close() error
}

// open makes the source ready to be read. It does not wait for data, but for the first answer of a server: a command is
// started, a pipe waited for, by Read.
func (l *Loader) open(ctx context.Context, s Spec) (source, error) {
	if err := s.checkSource(); err != nil {
		return nil, err
	}
	switch command, ok := strings.CutPrefix(s.Source, commandPrefix); {
	case ok:
		return l.openCommand(ctx, command)
	case s.Source == stdinSource:
		return openStdin(ctx, l.Stdin)
	case s.remote():
		return remote.Open(ctx, s.Source, l.remoteOptions(s))
	}
	info, err := statSource(s.Source)
	if err != nil {
		return nil, err
	}
	f, err := openFile(s.Source)
	if err != nil {
		return nil, err
	}
	var src source
	if info.Mode().IsRegular() {
		src, err = newFile(f, f.Close)
	} else {
		src, err = newPipe(ctx, f, f.Close, errors.New("nothing was written to this pipe"))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return src, nil
}

// remoteOptions has the server send nothing if it still has what serves, and that was asked for, checked and made in the same
// way. Headers may choose what is sent; a token says who asks, and may change.
func (l *Loader) remoteOptions(s Spec) remote.Options {
	o := remote.Options{Headers: s.Options.Headers, TokenFile: s.Options.TokenFile, Log: l.Log}
	if have := l.Have[s.Name]; have != nil && have.made == s.Options.making() {
		was := have.Spec
		was.Options.TokenFile, was.Options.HugePages, was.Options.Lock = s.Options.TokenFile, s.Options.HugePages, s.Options.Lock
		if was.Equal(s) {
			o.Unless = have.Validator
		}
	}
	return o
}

// statSource refuses what is neither a regular file nor a FIFO. A FIFO is read once, like standard input: that is what
// the shell's <(command) gives.
func statSource(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, bare(err)
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil, errors.New("is a directory: name a file in it, or give workers the directory itself as direct:PATH")
	case mode.IsRegular() && info.Size() == 0:
		return nil, errEmpty
	case mode.IsRegular(), mode&fs.ModeNamedPipe != 0:
		return info, nil
	}
	return nil, errors.New("is a device or socket, not a file: use cmd: with a command that reads it")
}

// openFile opens a regular file or a directory, or a FIFO without waiting for its writer.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: make it readable for uid %d", bare(err), os.Geteuid())
	}
	return f, bare(err)
}

// bare is err without the path that os puts in front.
func bare(err error) error {
	if pathErr := new(fs.PathError); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// extForm: long enough for .safetensors.
var extForm = regexp.MustCompile(`^\.[A-Za-z0-9]{1,12}$`)

// ext is the plain suffix under which workers find the data too, or "": that of the source's file name without what says how
// it is packed. What has no name (standard input, commands) or a passing one (pipes) gets what its format calls for.
func (s Spec) ext(content string, kind codec.Kind, pipe bool) string {
	name := s.path()
	if s.remote() {
		if u, err := url.Parse(s.Source); err == nil {
			name = u.Path
		}
	}
	if ext := filepath.Ext(codec.TrimSuffix(name, kind)); extForm.MatchString(ext) {
		return ext
	}
	if !s.stream() && !pipe {
		return ""
	}
	switch content {
	case format.Npy, format.Npz, format.Safetensors, format.Arrow, format.Pk5:
		return "." + content
	}
	return ""
}
