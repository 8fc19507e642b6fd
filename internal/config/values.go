// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

// The values of options. Their errors name the allowed form; where the value was given is put in front.

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/listen"
	"github.com/preforkd/preforkd/internal/ready"
)

// single is an option with one value; the last one given holds.
type single[T any] struct {
	field *T
	parse func(string) (T, error)
}

func (s single[T]) Set(text string) error {
	value, err := s.parse(text)
	if err == nil {
		*s.field = value
	}
	return err
}

func (s single[T]) String() string { return fmt.Sprint(*s.field) }
func (s single[T]) Type() string   { return "" }

// list is a repeatable option. Its check returns what follows "cannot use --data " in an error.
type list struct {
	field *[]string
	check func(string) error
}

func (l list) Set(text string) error {
	err := l.check(text)
	if err == nil {
		*l.field = append(*l.field, text)
	}
	return err
}

func (l list) String() string { return strings.Join(*l.field, "\n") }
func (l list) Type() string   { return "" }

func one[T any](field func(*Options) *T, parse func(string) (T, error)) func(*Options) pflag.Value {
	return func(o *Options) pflag.Value { return single[T]{field(o), parse} }
}

func many(field func(*Options) *[]string, check func(string) error) func(*Options) pflag.Value {
	return func(o *Options) pflag.Value { return list{field(o), check} }
}

// number takes whole numbers from least to most, and the word auto where it is given a value.
func number(least, most int, auto func() int) func(string) (int, error) {
	form := fmt.Sprintf("give a number from %d to %d", least, most)
	if auto != nil {
		form += ", or auto"
	}
	return func(text string) (int, error) {
		if text == "auto" && auto != nil {
			return auto(), nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, errors.New(form)
		}
		return n, nil
	}
}

const (
	maxWorkers = 4096 // keeps a slip of the finger from filling the process table
	maxSurge   = 64
)

func workers() func(string) (int, error) { return number(1, maxWorkers, host.CPUs) }

// words takes one of a few words.
func words(choices ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(choices, text) {
			return "", fmt.Errorf("give one of %s", strings.Join(choices, ", "))
		}
		return text, nil
	}
}

// trueOrFalse takes 1 and 0 too, which are usual in variables.
func trueOrFalse(text string) (bool, error) {
	switch text {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, errors.New("give true or false")
}

// filled takes any text but the empty one.
func filled(form string) func(string) (string, error) {
	return func(text string) (string, error) {
		if text == "" {
			return "", fmt.Errorf("the value is empty; give %s", form)
		}
		return text, nil
	}
}

func instanceName(text string) (string, error) {
	if !instanceForm.MatchString(text) {
		return "", errors.New("give a name of letters, digits, dots, - and _, 64 at most, that begins with a letter or digit")
	}
	return text, nil
}

// instanceForm is rundir's form of a name, told before anything is opened.
var instanceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func runDir(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("it is not UTF-8, which PREFORKD_DATA needs; give another directory")
	}
	return filled("a directory")(text)
}

func statsAddress(text string) (string, error) {
	const form = "give HOST:PORT, unix:PATH or off"
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" || len(path) > 107 {
			return "", errors.New("a unix socket's path has 1 to 107 bytes; " + form)
		}
		return text, nil
	}
	if _, port, err := net.SplitHostPort(text); text != "off" {
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			return "", errors.New(form)
		}
	}
	return text, nil
}

func readiness(text string) (string, error) {
	if _, err := ready.ParseMode(text); err != nil {
		return "", errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("cannot use readiness %q: ", text)))
	}
	return text, nil
}

func stopSignal(text string) (syscall.Signal, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		n = int(unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG")))
	}
	if n <= 0 || n > 64 {
		return 0, errors.New("give a signal such as TERM, QUIT or INT")
	}
	switch s := syscall.Signal(n); s {
	case unix.SIGKILL, unix.SIGSTOP, unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCHLD:
		return 0, fmt.Errorf("%s cannot ask a worker to stop; give a signal such as TERM, QUIT or INT", unix.SignalName(s))
	default:
		return s, nil
	}
}

func percent(text string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || math.IsNaN(n) || n <= 0 || n > 100 || !strings.HasSuffix(text, "%") {
		return 0, errors.New("give a percentage above 0% and up to 100%, such as 1%")
	}
	return n / 100, nil
}

// duration takes times that neither vanish in a unit (WATCHDOG_USEC) nor overflow when they are added up.
func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond || d > 365*24*time.Hour {
		return 0, errors.New("give a time such as 500ms, 30s or 2m, from 1ms to 8760h")
	}
	return d, nil
}

func durationOrOff(text string) (time.Duration, error) {
	if text == "off" {
		return 0, nil
	}
	d, err := duration(text)
	if err != nil || d < time.Second { // a shorter one is missed by a healthy worker on a busy machine
		return 0, errors.New("give a time such as 30s or 2m, from 1s to 8760h, or off")
	}
	return d, nil
}

func fileMode(text string) (os.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return 0, errors.New("give a mode in octal from 0001 to 0777, such as 0660")
	}
	return os.FileMode(n), nil
}

// The texts of datasets are not repeated in errors: a source may hold a password.
func checkData(text string) error {
	if !strings.Contains(text, "=") {
		return fmt.Errorf("%q: write NAME=SOURCE, as in emb=./emb.npy", text)
	}
	_, err := dataset.ParseSpec(text)
	return behind("cannot use dataset ", err)
}

func checkListen(text string) error {
	_, err := listen.Parse(text)
	return behind("cannot use --listen ", err)
}

func checkEnv(text string) error { return behind("cannot use --env ", contract.CheckEnv(text)) }

func behind(prefix string, err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), prefix))
}
