package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MetricsHandler serves the session under three paths:
//
//	/metrics   Prometheus: what the instances measure, what the snapshot says, and the Go process
//	/healthz   200 while the session runs and all threads are alive, else 503 and why not
//	/readyz    200 while all threads are RUNNING, else 503 and why not
//
// It is what session.metrics serves; with it the session can be put into a server of one's own.
func (s *Session) MetricsHandler() http.Handler {
	return metricsHandler(s.Snapshot, s.log, s.collectors()...)
}

func (s *Session) collectors() []prometheus.Collector {
	all := []prometheus.Collector{
		showing{s.Snapshot}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	for _, r := range s.registries {
		all = append(all, r)
	}
	return all
}

// metricsHandler is MetricsHandler over any source of snapshots.
func metricsHandler(snapshot func() *Snapshot, log *slog.Logger, all ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(all...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// A metric that cannot be served must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	}))
	answer := func(judge func(*Snapshot) error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			text := "ok"
			if err := judge(snapshot()); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				text = err.Error()
			}
			_, _ = io.WriteString(w, text+"\n") // Who does not wait for the answer does not want it.
		}
	}
	mux.HandleFunc("GET /healthz", answer(healthy))
	mux.HandleFunc("GET /readyz", answer(ready))
	return mux
}

// healthy reports why the session is not well; nil if it is.
func healthy(s *Snapshot) error {
	switch {
	case s.Phase == PhaseStopping || s.Phase == PhaseStopped:
		return fmt.Errorf("the session is %s", s.Phase)
	case s.ThreadsAlive < s.ThreadsTotal:
		return fmt.Errorf("%d of %d threads are alive", s.ThreadsAlive, s.ThreadsTotal)
	default:
		return nil
	}
}

// ready reports why the application does not work at full strength; nil if it does.
func ready(s *Snapshot) error {
	switch {
	case healthy(s) != nil:
		return healthy(s)
	case s.Phase == PhaseStarting:
		return fmt.Errorf("the session is %s", s.Phase)
	case s.ThreadsRunning < s.ThreadsTotal:
		return fmt.Errorf("%d of %d threads are RUNNING", s.ThreadsRunning, s.ThreadsTotal)
	default:
		return nil
	}
}

// metricsServer serves the handler on the address of the configuration, as long as the session lasts.
type metricsServer struct {
	server  *http.Server
	address net.Addr
}

// serveMetrics starts the server, if one is wanted.
func (s *Session) serveMetrics() error {
	if s.cfg.Session.Metrics == "" {
		return nil
	}
	listener, err := net.Listen("tcp", s.cfg.Session.Metrics)
	if err != nil {
		return Runf("session.metrics: %w; choose another address with --metrics", err)
	}
	server := &http.Server{
		Handler: s.MetricsHandler(), ReadHeaderTimeout: 10 * time.Second,
		// Its own would write over the dashboard.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	s.metrics = &metricsServer{server, listener.Addr()}
	s.log.Info("metrics", "address", listener.Addr().String())
	s.background.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("metrics", "error", err)
		}
	})
	return nil
}

// MetricsAddress returns the address where metrics are served, with the port that was taken; empty if they are not.
func (s *Session) MetricsAddress() string {
	if s.metrics == nil {
		return ""
	}
	return s.metrics.address.String()
}

// close answers the requests that are under way and ends the server.
func (m *metricsServer) close() error {
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if m.server.Shutdown(ctx) == nil {
		return nil
	}
	return m.server.Close()
}
