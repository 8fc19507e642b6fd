// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// The digest of a version. SHA-256 takes a core for 0.6 s per GiB, five times what the load takes, and nothing waits for
// it: so it is reckoned behind the load, from the sealed segment, while the workers start.

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"
)

// lowest is the niceness of a thread that may have what all others leave.
const lowest = 19

// reckonDigest has the digest of a version reckoned if the load has not brought it along. One after the other: two would
// take the workers' CPUs.
func (l *loop) reckonDigest(v *version) {
	ctx, cancel := context.WithCancel(l.ctx)
	v.freed = cancel
	switch {
	case v.SHA256 != "":
		v.digest.Store(&v.SHA256)
		return
	case v.Segment == nil:
		return
	}
	if l.digests == nil {
		l.digests = make(chan digestJob)
		l.helpers.Go(l.reckonDigests)
	}
	digests := l.digests
	l.helpers.Go(func() {
		select {
		case digests <- digestJob{ctx, v}:
		case <-ctx.Done():
		}
	})
}

// digestJob is a version whose digest is to be reckoned, unless it is freed before.
type digestJob struct {
	ctx context.Context //nolint:containedctx // it ends with the version
	v   *version
}

// reckonDigests reckons digests as long as the loop lives, on one thread: niceness cannot be taken back, so that thread ends with
// it, and one for each version would use up the reserve of threads.
func (l *loop) reckonDigests() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), lowest)
	for {
		select {
		case job := <-l.digests:
			l.reckon(job)
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *loop) reckon(job digestJob) {
	v := job.v
	digest, err := v.Digest(job.ctx)
	if err != nil {
		if job.ctx.Err() == nil {
			l.config.Log.Warn("cannot reckon the digest of a dataset", "name", v.Name, "version", v.number, "error", err)
		}
		return
	}
	v.digest.Store(&digest)
	l.config.Log.Debug("digest of dataset", "name", v.Name, "version", v.number, "sha256", digest)
	l.report((*loop).publish)
}

// sha256 is the digest in hex, or "" while it is not known.
func (v *version) sha256() string {
	if digest := v.digest.Load(); digest != nil {
		return *digest
	}
	return ""
}
