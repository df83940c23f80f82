// Command bench measures how near a mount comes to what the store can give: it reads and writes one large object through
// pailfs and, in turns with it, through a bare minio-go client with 16 parallel requests of 8 MiB.
//
//	go run ./tests/bench [--rounds 5] [--size 512] [--out contrib/performance.txt]
//
// The store is contrib/demostore in memory behind tests/lagproxy, which makes it as far away as a real one: 20 ms to the
// first byte of each answer and 80 MB/s for each connection. A read begins on a fresh mount, so that no cache has the
// object; a write ends when close(2) has returned, which is when the object is in the store. Every byte is compared,
// read or written. Needs root and /dev/fuse.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const mib = 1 << 20

type options struct {
	rounds    int
	sizeMiB   int
	latency   time.Duration
	rate      int64
	out       string
	dir       string
	binary    string
	md5       bool
	mountArgs words
	verbose   bool
}

// words is a flag that may be repeated.
type words []string

func (w *words) String() string     { return fmt.Sprint([]string(*w)) }
func (w *words) Set(s string) error { *w = append(*w, s); return nil }

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := newRig(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	res := newResults()
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		if err := r.round(ctx, round, res); err != nil {
			return err
		}
	}
	return report(r, res)
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 5, "rounds; each measures everything once")
	f.IntVar(&o.sizeMiB, "size", 512, "size of the object in MiB, a multiple of 8")
	f.DurationVar(&o.latency, "latency", 20*time.Millisecond, "time to the first byte of an answer")
	f.Int64Var(&o.rate, "rate", 80e6, "bytes a second of a connection, 0 for no limit")
	f.StringVar(&o.out, "out", "", "file to which the result is appended")
	f.StringVar(&o.dir, "dir", "", "directory for the store's data (default: /dev/shm where it can hold them)")
	f.StringVar(&o.binary, "binary", "", "pailfs to measure (default: built here)")
	f.BoolVar(&o.md5, "md5", false, "let the store compute MD5 for its ETags; CRC64 leaves more of the CPU to the clients")
	f.Var(&o.mountArgs, "mount-arg", "argument for `pailfs mount`, such as --mount-arg=--memory=1GiB; may be repeated")
	f.BoolVar(&o.verbose, "v", false, "print each measurement")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.rounds < 1 || o.sizeMiB < 8 || o.sizeMiB%8 != 0:
		return o, errors.New("at least one round, and a size that is a multiple of 8")
	case os.Geteuid() != 0:
		return o, errors.New("a mount needs root")
	}
	return o, nil
}
