// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"sync"
)

// spareThreads is more than preforkd has needed in any test.
const spareThreads = 16

// reserveThreads has the Go runtime make its threads now. It keeps them, and would end the program if it could not make
// one later: when workers have filled the cgroup's pids.max, or their user's limit of processes.
func reserveThreads() {
	var ready, done sync.WaitGroup
	ready.Add(spareThreads)
	release := make(chan struct{})
	for range spareThreads {
		done.Go(func() {
			runtime.LockOSThread() // a thread of its own, as long as this one waits
			defer runtime.UnlockOSThread()
			ready.Done()
			<-release
		})
	}
	ready.Wait()
	close(release)
	done.Wait()
}
