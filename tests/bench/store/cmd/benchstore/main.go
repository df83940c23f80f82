// Command benchstore is an S3 server for measurements only: no signature is checked, and everything is gone at its end.
//
//	benchstore --dir /dev/shm/x [--latency 20ms] [--rate 80000000]
//
// One JSON line says where it listens: endpoint is the store at its distance, direct the same without distance and
// counters, admin the counters. There GET /counts answers them, POST /reset sets them to zero and
// POST /link?latency=20ms&rate=80000000 changes the distance. It ends on SIGINT, on SIGTERM and, with --exit-with-stdin,
// when its standard input closes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"pailfs/tests/bench/store"
	"pailfs/tests/control"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "benchstore:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	f := flag.NewFlagSet("benchstore", flag.ContinueOnError)
	dir := f.String("dir", "", "directory for the objects, empty, best on a tmpfs (required)")
	latency := f.Duration("latency", 0, "time to the first byte of an answer")
	rate := f.Int64("rate", 0, "bytes a second of each connection and direction, 0 for no limit")
	exitWithStdin := f.Bool("exit-with-stdin", false, "end when standard input closes")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		return errors.New("--dir is required")
	}
	ctx, stop := control.Until(*exitWithStdin)
	defer stop()
	s, err := store.Listen(*dir, store.Link{Latency: *latency, Rate: *rate})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return control.Serve(ctx, "127.0.0.1:0", admin(s), map[string]string{"endpoint": s.Endpoint(), "direct": s.Direct()}, s.Failed())
}

func admin(s *store.Server) http.Handler {
	mux := control.Commands(s.Counts, s.Reset)
	mux.HandleFunc("POST /link", func(w http.ResponseWriter, r *http.Request) {
		latency, err := time.ParseDuration(r.FormValue("latency"))
		rate, err2 := strconv.ParseInt(r.FormValue("rate"), 10, 64)
		if err := errors.Join(err, err2); err != nil || latency < 0 || rate < 0 {
			http.Error(w, fmt.Sprintf("latency and rate are needed: %v", err), http.StatusBadRequest)
			return
		}
		s.SetLink(store.Link{Latency: latency, Rate: rate})
	})
	return mux
}
