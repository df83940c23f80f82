// Package control is what the servers of the tests have in common as programs, tests/bench/store/cmd/benchstore and
// tests/lagproxy/cmd/lagproxy: they say in one JSON line where they listen, take commands over HTTP, and end when they are told to.
package control

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// Until is a context that ends on SIGINT, on SIGTERM and, withStdin, when standard input closes.
func Until(withStdin bool) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if !withStdin {
		return ctx, stop
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin) // an error is an end as well
		cancel()
	}()
	return ctx, stop
}

// Commands answers GET /counts with the counters and sets them to zero at POST /reset. Further commands are the program's.
func Commands[T any](counts func() T, reset func()) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(counts()) // who asked may be gone
	})
	mux.HandleFunc("POST /reset", func(http.ResponseWriter, *http.Request) { reset() })
	return mux
}

// Serve takes commands at an address until ctx ends, or until something fails; failed may be nil. Where the program listens is
// written to standard output, "admin" among it.
func Serve(ctx context.Context, addr string, commands http.Handler, listens map[string]string, failed <-chan error) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: commands}
	defer srv.Close()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	listens["admin"] = "http://" + ln.Addr().String()
	if err := json.NewEncoder(os.Stdout).Encode(listens); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return err
	case err := <-failed:
		return err
	}
}
