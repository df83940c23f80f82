package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pailfs/cmd/pailfs/metrics"
)

// observer answers on --metrics-addr and --debug-addr: who scrapes, probes and profiles a mount. It listens before the mount is
// made, so that a port which is taken is an error while somebody looks, and until its rooms are closed. It changes nothing, and
// nothing that it says is a secret or a name of a bucket or a key.
type observer struct {
	log     *slog.Logger
	view    atomic.Pointer[observed] // nil: it is being mounted
	servers []*http.Server
	sockets []string // to remove
	// MetricsAddr is where it listens, "" where it does not.
	MetricsAddr, DebugAddr string
	serving                sync.WaitGroup
}

// observed is a mount as the observer needs it.
type observed interface {
	// Numbers never waits for the network.
	Numbers() metrics.Numbers
	// Ready says why the mount should not be used, "" when it should. It may ask the store.
	Ready(ctx context.Context) string
	// Alive proves that requests of the kernel are answered.
	Alive(ctx context.Context) error
}

// openObserver listens on the addresses; there may be none.
func openObserver(ctx context.Context, metricsAddr, debugAddr string, log *slog.Logger) (*observer, error) {
	o := &observer{log: log}
	for _, one := range []struct {
		option, addr string
		routes       func() (http.Handler, error)
		at           *string
	}{{"metrics-addr", metricsAddr, o.metricsRoutes, &o.MetricsAddr}, {"debug-addr", debugAddr, o.debugRoutes, &o.DebugAddr}} {
		if one.addr == "" {
			continue
		}
		routes, err := one.routes()
		if err == nil {
			*one.at, err = o.listen(ctx, one.addr, routes)
		}
		if err != nil {
			return nil, errors.Join(&failure{code: exitHost, command: "mount", message: fmt.Sprintf("cannot listen on --%s %s: %v", one.option, one.addr, err),
				hint: "another mount or program may have it: each mount needs an address of its own"}, o.Close())
		}
		log.Info("answering", "what", strings.TrimSuffix(one.option, "-addr"), "addr", *one.at)
	}
	return o, nil
}

// listen serves on an address and tells which it is: port 0 is any.
func (o *observer) listen(ctx context.Context, addr string, routes http.Handler) (at string, err error) {
	var l net.Listener
	if path, ok := strings.CutPrefix(addr, unixAddress); ok {
		l, _, err = listenControl(ctx, filepath.Dir(path), filepath.Base(path))
		o.sockets = append(o.sockets, path)
		at = addr
	} else {
		var config net.ListenConfig
		if l, err = config.Listen(ctx, "tcp", addr); err == nil {
			at = l.Addr().String()
		}
	}
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler: routes, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(o.log.Handler(), slog.LevelDebug),
	}
	o.servers = append(o.servers, server)
	o.serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.log.Error("metrics and probes are not answered any longer", "addr", at, "err", err)
		}
	})
	return at, nil
}

// Mounted shows a mount. A nil observer shows nobody anything.
func (o *observer) Mounted(view observed) {
	if o != nil {
		o.view.Store(&view)
	}
}

// Close ends it, with the answers that are being given.
func (o *observer) Close() error {
	if o == nil {
		return nil
	}
	var errs []error
	for _, s := range o.servers {
		errs = append(errs, s.Close())
	}
	o.serving.Wait()
	for _, path := range o.sockets {
		errs = append(errs, removeSocket(path))
	}
	o.servers, o.sockets = nil, nil
	return errors.Join(errs...)
}

const mounting = "it is being mounted"

func (o *observer) metricsRoutes() (http.Handler, error) {
	scrape, err := metrics.Handler(func() metrics.Numbers { return (*o.view.Load()).Numbers() })
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if o.view.Load() == nil {
			http.Error(w, mounting, http.StatusServiceUnavailable)
			return
		}
		scrape.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /livez", o.livez)
	mux.HandleFunc("GET /readyz", o.readyz)
	return mux, nil
}

// probePatience is how long a probe waits for the mount or the store. Kubernetes waits a second unless it is told otherwise, and
// takes no answer for a bad one.
const probePatience = 5 * time.Second

// livez: a process that mounts is alive, and so is one that stores what is left. One whose mount hangs is not.
func (o *observer) livez(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probePatience)
	defer cancel()
	if view := o.view.Load(); view != nil {
		if err := (*view).Alive(ctx); err != nil {
			http.Error(w, oneLine(err.Error()), http.StatusServiceUnavailable)
			return
		}
	}
	say(w, "ok\n")
}

func (o *observer) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probePatience)
	defer cancel()
	why := mounting
	if view := o.view.Load(); view != nil {
		why = (*view).Ready(ctx)
	}
	if why != "" {
		http.Error(w, oneLine(why), http.StatusServiceUnavailable)
		return
	}
	say(w, "ok\n")
}

// say answers; who has left does not miss it.
func say(w http.ResponseWriter, text string) { _, _ = io.WriteString(w, text) }

// debugRoutes are pprof's, and the numbers as JSON for who has no Prometheus.
func (o *observer) debugRoutes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/vars", func(w http.ResponseWriter, _ *http.Request) {
		vars := struct {
			Goroutines int
			Memory     runtime.MemStats
			Mount      *metrics.Numbers `json:",omitempty"`
		}{Goroutines: runtime.NumGoroutine()}
		runtime.ReadMemStats(&vars.Memory)
		if view := o.view.Load(); view != nil {
			n := (*view).Numbers()
			vars.Mount = &n
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(vars) // as in say
	})
	return mux, nil
}
