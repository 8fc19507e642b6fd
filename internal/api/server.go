// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Serving and stopping.

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Bounds on what a client may cost. A health check, a scrape and the body of an order need milliseconds and a few
// hundred bytes.
const (
	headerTimeout  = 2 * time.Second
	readTimeout    = 5 * time.Second
	writeTimeout   = 30 * time.Second
	maxHeaderBytes = 4 << 10 // net/http adds 4 KiB of its own
	// Per listener; more wait in the kernel's queue. Streams of events, and on the control socket orders that are
	// carried out, come on top: they are in nobody's way.
	maxConnections = 64
)

// Server serves one Source on some listeners.
type Server struct {
	servers []*http.Server
	events  *hub
	closing context.CancelFunc // ends what runs beside the servers
	done    sync.WaitGroup
}

// Start serves source on the listeners, nil ones left out, and returns at once. The listeners belong to the server
// now. On the control socket orders go to control; without one there are none.
func Start(source Source, control Control, log *slog.Logger, listeners ...*Listener) *Server {
	running, closing := context.WithCancel(context.Background())
	s, past := &Server{events: newHub(source, log), closing: closing}, &history{}
	s.done.Go(s.events.run)
	s.done.Go(func() { past.run(source, running.Done()) })
	table := routes(source, control, log, s.events, past)
	for _, l := range listeners {
		if l == nil {
			continue
		}
		n := maxConnections + maxStreams
		if l.control {
			n += maxWaiting
		}
		places := make(chan struct{}, n)
		server := newServer(guard(mux(table, l.control), l), log, places)
		s.servers = append(s.servers, server)
		s.done.Go(func() {
			err := server.Serve(&limited{Listener: l.connections(log), places: places, done: make(chan struct{})})
			if !errors.Is(err, http.ErrServerClosed) {
				log.Error("stats are no longer served", "address", l.Address(), "error", err)
			}
		})
	}
	return s
}

// Close stops accepting at once, tells who listens to events that this is the end, lets requests under way finish
// until ctx ends and cuts the rest off. When it returns nothing listens any more; the error tells that something was
// cut off.
func (s *Server) Close(ctx context.Context) error {
	s.closing()
	s.events.end()
	errs := make([]error, len(s.servers))
	for i, server := range s.servers {
		s.done.Go(func() {
			if errs[i] = server.Shutdown(ctx); errs[i] != nil {
				server.Close() // the listener is closed already
			}
		})
	}
	s.done.Wait()
	return errors.Join(errs...)
}

// newServer returns a server whose connections each give their slot back when they end. Every connection carries one
// request: an idle one costs memory and saves a local client nothing.
func newServer(handler http.Handler, log *slog.Logger, places chan struct{}) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext:       withPeer,
		Protocols:         new(http.Protocols),
		// Else "OPTIONS *" would go past the guard.
		DisableGeneralOptionsHandler: true,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed || state == http.StateHijacked {
				<-places
			}
		},
	}
	server.Protocols.SetHTTP1(true)
	server.SetKeepAlivesEnabled(false)
	return server
}

// limited accepts a connection only when there is a place for it.
type limited struct {
	net.Listener
	places chan struct{}
	once   sync.Once
	done   chan struct{} // closed by Close, which must not wait for a slot
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
	}
	return conn, err
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}
