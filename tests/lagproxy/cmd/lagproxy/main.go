// Command lagproxy puts latency and a bandwidth limit before an S3 server and counts its requests.
//
//	lagproxy --backend 127.0.0.1:9000 [--listen 127.0.0.1:0] [--latency 20ms] [--rate 80000000] [--admin 127.0.0.1:0]
//
// One JSON line says where it listens. On the admin address GET /counts answers the counters and POST /reset sets them
// to zero; POST /strike takes a fault, {"harm": "stall", "at": 1000, "kind": "Get", "times": 1}, and /heal, /freeze,
// /leave and /return do what the package says of these methods. It ends on SIGINT, on SIGTERM and, with --exit-with-stdin, when its standard input closes.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"

	"pailfs/tests/control"
	"pailfs/tests/lagproxy"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "lagproxy:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("lagproxy", flag.ContinueOnError)
	backend := f.String("backend", "", "HOST:PORT of the server (required)")
	listen := f.String("listen", "127.0.0.1:0", "address for clients")
	admin := f.String("admin", "127.0.0.1:0", "address for the counters")
	latency := f.Duration("latency", 0, "least time to the first byte of an answer")
	rate := f.Int64("rate", 0, "bytes a second of each connection and direction, 0 for no limit")
	exitWithStdin := f.Bool("exit-with-stdin", false, "end when standard input closes")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, stop := control.Until(*exitWithStdin)
	defer stop()
	p, err := lagproxy.Listen(*listen, lagproxy.Options{Backend: *backend, Latency: *latency, Rate: *rate})
	if err != nil {
		return err
	}
	defer p.Close()
	return control.Serve(ctx, *admin, handler(p), map[string]string{"endpoint": "http://" + p.Addr()}, nil)
}

func handler(p *lagproxy.Proxy) http.Handler {
	mux := control.Commands(p.Counts, p.Reset)
	mux.HandleFunc("POST /strike", func(w http.ResponseWriter, r *http.Request) {
		var f lagproxy.Fault
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.Strike(f)
	})
	mux.HandleFunc("POST /heal", func(http.ResponseWriter, *http.Request) { p.Heal() })
	mux.HandleFunc("POST /freeze", func(http.ResponseWriter, *http.Request) { p.Freeze() })
	mux.HandleFunc("POST /leave", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Leave()) })
	mux.HandleFunc("POST /return", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Return()) })
	return mux
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
