// Command demostore is a complete S3 server in one process, for demonstrations and tests: the VersityGW gateway over a
// directory. Objects are files in that directory and their attributes are extended attributes, so the directory must be
// on a filesystem that has them (ext4, xfs, btrfs, tmpfs of Linux 6.6 and later).
//
// It is a module of its own, so that the mount's binary carries none of its dependencies.
//
//	demostore --dir DIR [--listen 127.0.0.1:0] --access KEY --secret SECRET [--region KR1] [--samples]
//
// One line on stdout says that it is ready and where it listens; all else goes to stderr:
//
//	{"endpoint":"http://127.0.0.1:40123","region":"KR1","access":"KEY","pid":4711}
//
// It ends with status 0 on SIGINT, on SIGTERM and, with --exit-with-stdin, when its standard input closes: a parent that
// dies takes its store with it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// shutdownGrace is how long open connections may take to end before the process leaves without them.
const shutdownGrace = 3 * time.Second

type options struct {
	dir, listen            string
	access, secret, region string
	printAs                string
	samples                bool
	sampleBytes            int64
	fastETag               bool
	exitWithStdin          bool
}

// ready is what a parent needs to know.
type ready struct {
	Endpoint string `json:"endpoint"`
	Region   string `json:"region"`
	Access   string `json:"access"`
	PID      int    `json:"pid"`
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "demostore:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	// The gateway writes chatter to stdout, its errors to stderr; stdout carries the ready line alone.
	if os.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.exitWithStdin {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		go func() {
			io.Copy(io.Discard, stdin) // an error is an end as well
			cancel()
		}()
	}
	// The gateway's shutdown waits for every connection: not for ever.
	context.AfterFunc(ctx, func() {
		time.AfterFunc(shutdownGrace, func() { os.Exit(0) })
	})

	s, err := start(ctx, o)
	if err != nil {
		return err
	}
	if o.samples {
		if err := makeSamples(ctx, s.endpoint, o); err != nil && ctx.Err() == nil {
			return fmt.Errorf("sample buckets: %w", err)
		}
	}
	if ctx.Err() == nil {
		if err := announce(stdout, o, s.endpoint); err != nil {
			return err
		}
	}
	return s.wait()
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("demostore", flag.ContinueOnError)
	f.StringVar(&o.dir, "dir", "", "directory of the buckets; made if missing (required)")
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "IP address and port; port 0 takes a free one")
	f.StringVar(&o.access, "access", "demo", "access key")
	f.StringVar(&o.secret, "secret", "", "secret key; default: $DEMOSTORE_SECRET, or \"demosecret\"")
	f.StringVar(&o.region, "region", "KR1", "region that requests are signed for")
	f.StringVar(&o.printAs, "print", "json", "form of the ready line: json, or env (NAME=VALUE lines for a shell)")
	f.BoolFunc("print-json", "the same as --print json", func(string) error { o.printAs = "json"; return nil })
	f.BoolVar(&o.samples, "samples", false, "make the sample buckets, where they are missing, before the ready line")
	f.Int64Var(&o.sampleBytes, "sample-bytes", 200<<20, "size of the large sample object")
	f.BoolVar(&o.fastETag, "fast-etag", false, "ETags from CRC64 instead of MD5: less of the CPU goes to the server in a benchmark")
	f.BoolVar(&o.exitWithStdin, "exit-with-stdin", false, "end when standard input closes")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.secret == "" {
		o.secret = os.Getenv("DEMOSTORE_SECRET")
	}
	if o.secret == "" {
		o.secret = "demosecret"
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.dir == "":
		return o, errors.New("--dir is required")
	case o.access == "" || o.region == "":
		return o, errors.New("--access and --region must not be empty")
	case o.printAs != "json" && o.printAs != "env":
		return o, fmt.Errorf("--print %s: must be json or env", o.printAs)
	case o.sampleBytes < 0:
		return o, errors.New("--sample-bytes must not be negative")
	}
	return o, nil
}

func announce(w io.Writer, o options, endpoint string) error {
	if o.printAs == "env" {
		_, err := fmt.Fprintf(w, "PAILFS_ENDPOINT=%s\nPAILFS_REGION=%s\nAWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\nDEMOSTORE_PID=%d\n",
			endpoint, o.region, o.access, o.secret, os.Getpid())
		return err
	}
	return json.NewEncoder(w).Encode(ready{Endpoint: endpoint, Region: o.region, Access: o.access, PID: os.Getpid()})
}
