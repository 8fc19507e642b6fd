// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package config

// Values that pflag does not know. Their errors name the allowed form; the flag's name is put in front.

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/ready"
)

type workersValue int

func (v *workersValue) Set(text string) error {
	if text == "auto" {
		*v = workersValue(host.CPUs())
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxWorkers {
		return fmt.Errorf("give a number from 1 to %d, or auto", maxWorkers)
	}
	*v = workersValue(n)
	return nil
}

// maxWorkers keeps a slip of the finger from filling the process table.
const maxWorkers = 4096

func (v *workersValue) String() string { return strconv.Itoa(int(*v)) }
func (v *workersValue) Type() string   { return "N|auto" }

type signalValue syscall.Signal

func (v *signalValue) Set(text string) error {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 64 {
		*v = signalValue(n)
		return nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	n := unix.SignalNum(name)
	if n == 0 {
		return fmt.Errorf("give a signal such as TERM, QUIT or INT")
	}
	*v = signalValue(n)
	return nil
}

func (v *signalValue) String() string { return unix.SignalName(syscall.Signal(*v)) }
func (v *signalValue) Type() string   { return "SIGNAL" }

type readyValue string

func (v *readyValue) Set(text string) error {
	if _, err := ready.ParseMode(text); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("cannot use readiness %q: ", text)))
	}
	*v = readyValue(text)
	return nil
}

func (v *readyValue) String() string { return string(*v) }
func (v *readyValue) Type() string   { return "MODE" }

type percentValue float64

func (v *percentValue) Set(text string) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || math.IsNaN(n) || n <= 0 || n > 100 || !strings.HasSuffix(text, "%") {
		return fmt.Errorf("give a percentage above 0%% and up to 100%%, such as 1%%")
	}
	*v = percentValue(n / 100)
	return nil
}

func (v *percentValue) String() string {
	return strconv.FormatFloat(float64(*v)*100, 'g', -1, 64) + "%"
}
func (v *percentValue) Type() string { return "PERCENT%" }

// choiceValue is one of a few words.
type choiceValue struct {
	field   *string
	choices []string
}

func (v *choiceValue) Set(text string) error {
	if !slices.Contains(v.choices, text) {
		return fmt.Errorf("give one of %s", strings.Join(v.choices, ", "))
	}
	*v.field = text
	return nil
}

func (v *choiceValue) String() string { return *v.field }
func (v *choiceValue) Type() string   { return strings.Join(v.choices, "|") }
