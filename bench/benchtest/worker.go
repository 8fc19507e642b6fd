// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// The worker of bench/reload.sh: a web server that answers from the dataset emb, a file of stamped pages (generate.go).

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// content is the version that serves. Readers hold the lock for as long as they look at the memory.
type content struct {
	sync.RWMutex
	data []byte
}

// row reads the stamp of a page at random and proves it to be of the same generation as the first page.
func (c *content) row() (generation uint64, err error) {
	c.RLock()
	defer c.RUnlock()
	generation = binary.LittleEndian.Uint64(c.data)
	page := rand.Uint64N(uint64(len(c.data) / smallPage))
	at := c.data[page*smallPage:]
	if g, n := binary.LittleEndian.Uint64(at), binary.LittleEndian.Uint64(at[8:]); g != generation || n != page {
		return 0, fmt.Errorf("page %d says that it is page %d of generation %d, the first is of %d", page, n, g, generation)
	}
	return generation, nil
}

// replace maps what fd shows and lets go of what served before.
func (c *content) replace(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	data, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	c.Lock()
	old := c.data
	c.data = data
	c.Unlock()
	if old == nil {
		return nil
	}
	return unix.Munmap(old)
}

// serve answers each request with its slot, its pid and the generation of its data, until it is told to stop. If takes
// is set it takes new versions while it runs (docs/in-place.md).
func serve(takes bool) error {
	fd, err := strconv.Atoi(os.Getenv("PREFORKD_DATA_EMB_FD"))
	if err != nil {
		return fmt.Errorf("cannot serve without preforkd: PREFORKD_DATA_EMB_FD: %w", err)
	}
	emb := new(content)
	if err := emb.replace(fd); err != nil {
		return err
	}
	if takes {
		if err := takeVersions(fd, emb); err != nil {
			return err
		}
	}
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	who := os.Getenv("PREFORKD_WORKER_ID") + " " + strconv.Itoa(os.Getpid())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		generation, err := emb.row()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "%s %d", who, generation) //nolint:errcheck // the client that is gone counts it
	})}
	stopped := make(chan error, 1)
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		stopped <- server.Shutdown(context.Background())
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
