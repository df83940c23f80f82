// Command bench measures how near a mount comes to what the store and the page cache can give: it does the same work
// through pailfs and, in turns with it, through a bare minio-go client or on a local file.
//
//	go run ./tests/bench [--rounds 5] [--rows seqread,randread] [--links wan,lan] [--out contrib/performance.txt]
//	go run ./tests/bench --binary bin/old --binary 'bin/new --memory=1GiB'     two builds, or two sets of options
//	go run ./tests/bench --peers                                               s3fs and rclone besides
//	go run ./tests/bench --floor                                               what FUSE alone costs besides
//	go run ./tests/bench --peers --page docs/BENCHMARKS.md                     a page with pictures
//
// Rows:
//
//	seqread    a cold file from its beginning to its end, in reads of 1 MiB
//	firstbyte  until the first byte of a cold file, opened by its path, and after an ls
//	again      the same file once more: from the kernel's page cache, from the disk cache; beside a local file
//	randread   4 threads, 4 KiB and 128 KiB at random offsets of a cold file, at multiples of 64 KiB and anywhere
//	smallfiles 2,000 cold files of 16 KiB in one directory, one after another
//	parallel   16 readers of 16 cold files
//	write      one large file
//	edit       4 KiB changed in a stored object: 100 times within 20 MiB, 100 times all over, at its end
//	newfiles   500 new files of 16 KiB by 16 threads, stored at close and behind the journal
//	trees      tar, rsync, unzip, git clone of 2,000 small files
//	remove     rm -r of 2,000 objects
//	names      ls -f of 50,000 files, ls -l, stat, rename of a directory of 1,000, find, du and rsync over 10,000
//
// The store is tests/bench/store, which costs next to nothing, at three distances (link.go): wan is 20 ms to the first byte
// of an answer and 80 MB/s for each connection, lan is 1 ms and no limit, far, which is measured where --links names it, is
// 40 ms and 20 MB/s. Reads begin on a fresh mount, so that no cache has the object; a write ends when close(2) has
// returned, which is when the object is in the store. What is read is compared, 8 bytes of each page, by everyone in the
// same way. Needs root and /dev/fuse, on an otherwise idle machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

type options struct {
	rounds    int
	rows      list
	links     list
	sizeMiB   int64
	files     int
	memoryMiB int64
	store     string
	dir, disk string
	binaries  words
	mountArgs words
	peers     bool
	floor     bool
	out, page string
	json      bool
	limit     time.Duration
	verbose   bool
	steps     *regexp.Regexp // nil: all
}

// words is a flag that may be repeated; list is one with commas.
type (
	words []string
	list  []string
)

func (w *words) String() string     { return strings.Join(*w, " ") }
func (w *words) Set(s string) error { *w = append(*w, s); return nil }
func (l *list) String() string      { return strings.Join(*l, ",") }
func (l *list) Set(s string) error  { *l = strings.Split(s, ","); return nil }

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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r, err := newRig(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	res, broken := r.measureAll(ctx)
	if broken != nil && len(res.samples) == 0 {
		return broken
	}
	if broken != nil {
		res.errs = append(res.errs, fmt.Errorf("not measured to the end: %w", broken))
	}
	return errors.Join(r.report(res), r.page(res), res.failed())
}

func parse(args []string) (options, error) {
	o := options{rows: rowNames(), links: list{"wan", "lan"}}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 3, "rounds; each measures everything once")
	f.Var(&o.rows, "rows", "what to measure")
	f.Var(&o.links, "links", "distances of the store")
	f.Int64Var(&o.sizeMiB, "size", 1024, "size of the large file in MiB, a multiple of 128")
	f.IntVar(&o.files, "files", 2000, "how many small files")
	f.Int64Var(&o.memoryMiB, "memory", 256, "pailfs's --memory, in MiB")
	f.StringVar(&o.store, "store", storeBench, "bench: the store that costs next to nothing; versitygw: a real server behind tests/lagproxy")
	f.StringVar(&o.dir, "dir", "", "directory for the store's data (default: /dev/shm where it can hold them)")
	f.StringVar(&o.disk, "disk", os.TempDir(), "directory on a disk, for the disk cache and the local file beside it")
	f.Var(&o.binaries, "binary", "pailfs to measure (default: built here), options of `pailfs mount` may follow; repeated: one against the other")
	f.Var(&o.mountArgs, "mount-arg", "argument for `pailfs mount`, such as --mount-arg=--max-requests=32; may be repeated")
	f.BoolVar(&o.peers, "peers", false, "measure s3fs and rclone as well; installs them where that is possible")
	f.BoolVar(&o.floor, "floor", false, "measure a FUSE file system that stores nothing as well: what no mount can beat")
	f.StringVar(&o.out, "out", "", "file to which the result is appended")
	f.StringVar(&o.page, "page", "", "file for the result as a page of Markdown, with pictures beside it")
	f.BoolVar(&o.json, "json", false, "print every measurement as JSON instead of tables")
	f.DurationVar(&o.limit, "limit", 5*time.Minute, "most time for one measurement")
	f.BoolVar(&o.verbose, "v", false, "print each measurement as it comes")
	steps := f.String("steps", "", "regular expression of what to measure within the rows: 'raw|journal' leaves out what waits for the store at each close")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if *steps != "" {
		var err error
		if o.steps, err = regexp.Compile(*steps); err != nil {
			return o, fmt.Errorf("--steps: %w", err)
		}
	}
	for _, name := range o.rows {
		if !slices.Contains(rowNames(), name) {
			return o, fmt.Errorf("no row %q: there are %s", name, strings.Join(rowNames(), ", "))
		}
	}
	for _, name := range o.links {
		if _, ok := linkNamed(name); !ok {
			return o, fmt.Errorf("no link %q: there are %s", name, strings.Join(linkNames(), ", "))
		}
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.rounds < 1 || o.files < 1 || o.sizeMiB < 128 || o.sizeMiB%128 != 0:
		return o, errors.New("at least one round, one file, and a size that is a multiple of 128 MiB")
	case o.store != storeBench && o.store != storeVersity:
		return o, fmt.Errorf("no store %q", o.store)
	case os.Geteuid() != 0:
		return o, errors.New("a mount needs root")
	}
	return o, nil
}
