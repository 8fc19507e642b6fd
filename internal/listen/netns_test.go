// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// What depends on settings of the kernel, in network namespaces of their own.

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// isolated runs a test on a thread in a network namespace of its own, with a loopback device and settings as given.
func isolated(t *testing.T, settings map[string]string, test func()) {
	t.Helper()
	var skip error
	onSpoiltThread(func() {
		if skip = isolate(settings); skip == nil {
			test()
		}
	})
	if skip != nil {
		t.Skipf("cannot make a network namespace: %v", skip)
	}
}

func isolate(settings map[string]string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return err
	}
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// With tcp_migrate_req the kernel keeps what was shut down in the group, in another part of the array.
func TestTheOrderIsFollowedWhereRequestsMigrateToo(t *testing.T) {
	isolated(t, map[string]string{"ipv4/tcp_migrate_req": "1"}, func() { shake(t, rand.New(rand.NewPCG(5, 6))) })
}

func TestAConnectionAtASlotThatGoesMigratesOrIsReset(t *testing.T) {
	for _, setting := range []string{"0", "1"} {
		isolated(t, map[string]string{"ipv4/tcp_migrate_req": setting}, func() {
			on, err := MigrateRequests()
			if want := setting == "1"; err != nil || on != want {
				t.Errorf("MigrateRequests with %s: %v %v", setting, on, err)
			}
			set := openWith(t, slots(2), nil, "127.0.0.1:0")
			listenAll(t, set)
			steer(t, set, false, true)
			client := connect(t, set.Sockets[0].Address)
			defer client.Close()
			steer(t, set, true, false)
			if err := set.Resize(1); err != nil {
				t.Error(err)
			}
			if on {
				accepted(t, set, 1)
			} else if _, err := client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the client reads: %v", err)
			}
		})
	}
}

func TestAKernelThatRefusesToSteerIsToldOnce(t *testing.T) {
	isolated(t, map[string]string{"core/optmem_max": "0"}, func() {
		set := openWith(t, slots(3), nil, "127.0.0.1:0")
		listenAll(t, set)
		err := set.Steer([]bool{true})
		if err == nil {
			t.Error("the kernel took a program without memory for it")
			return
		}
		want := "cannot steer connections at " + set.Sockets[0].Address + " around"
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("the error is %v, want %s …", err, want)
		}
		if err := set.Steer([]bool{false, true}); err != nil {
			t.Errorf("it is told again: %v", err)
		}
		served(t, set, 20)
	})
}
