package cache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrArchiveInUse is why OpenArchive fails while another process, or this one, has the file.
var ErrArchiveInUse = errors.New("in use by another process")

// ArchiveOptions say where an Archive lies and what it is about.
type ArchiveOptions struct {
	// Path is the file. Its directory is made (0700) where it is missing.
	Path string
	// Store is the identity of the store; what was written about another one is dropped.
	Store string
	// Log hears that the file cannot be written. Default: nobody.
	Log *slog.Logger
}

// Archive keeps small values by key over the end of the process: a log that a goroutine appends to, and that is written anew
// when more of it is outdated than not. Like all of a cache it may vanish or be cut short at any time: each record has a
// checksum, nothing is synced, and what cannot be written is given up. Safe for concurrent use.
//
//	OpenArchive -> Load (once) -> Start -> Put ... -> Close
type Archive struct {
	o      ArchiveOptions
	file   *os.File // locked
	counts func(key string, value []byte) bool
	wake   chan struct{}
	done   chan struct{}

	// Of the goroutine alone, once it runs.
	size, compact int64 // of the file; as it was when last written anew

	mu struct {
		sync.Mutex
		records []byte // not written yet
		started bool
		closed  bool
		failed  bool // the disk is full, or worse: nothing is kept any more
	}
}

const (
	archiveMagic = "pailfs archive 1\n"
	// most of the records that wait for the disk: what comes faster is not kept.
	archiveQueue = 8 << 20
	// archiveSlack is how much more than twice its compact size the file may have.
	archiveSlack = 1 << 20
	mostRecord   = 1 << 20
)

// OpenArchive opens the file, or makes it.
func OpenArchive(o ArchiveOptions) (*Archive, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of %s: %w", o.Path, err)
	}
	f, err := openLocked(o.Path)
	if err != nil {
		return nil, err
	}
	return &Archive{o: o, file: f, wake: make(chan struct{}, 1), done: make(chan struct{})}, nil
}

// openLocked opens and locks the file that has the name; another process may put a new one there at that moment.
func openLocked(path string) (*os.File, error) {
	for range 100 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, ErrArchiveInUse), f.Close())
		}
		here, err := f.Stat()
		if err == nil {
			err = ownFile(f)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(here, there) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: %w", path, ErrArchiveInUse)
}

// ownFile refuses a file that somebody else has put there: what it says of owners and modes would be believed.
func ownFile(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() || st.Nlink > 1 {
		return fmt.Errorf("%s is not a file of one's own, with mode 0600: %w", f.Name(), os.ErrPermission)
	}
	return nil
}

// Load hands out what was kept, oldest first; of a key the last one counts. It ends at the first damage. value is the
// callee's.
func (a *Archive) Load(each func(key string, value []byte)) error {
	r := &archiveReader{r: bufio.NewReaderSize(a.file, 1<<20)}
	if !r.begins(a.o.Store) {
		return a.begin()
	}
	end := r.at
	for key, value, ok := r.next(); ok; key, value, ok = r.next() {
		end = r.at
		each(key, value)
	}
	if r.err != nil {
		return fmt.Errorf("read %s: %w", a.o.Path, r.err)
	}
	a.size, a.compact = end, end/2               // nobody knows how much of it counts: soon it is written anew
	if err := a.file.Truncate(end); err != nil { // behind it is what a crash has left
		return fmt.Errorf("cut %s: %w", a.o.Path, err)
	}
	if _, err := a.file.Seek(end, io.SeekStart); err != nil {
		return fmt.Errorf("read %s: %w", a.o.Path, err)
	}
	return nil
}

// begin empties the file.
func (a *Archive) begin() error {
	head := archiveHead(a.o.Store)
	if err := a.file.Truncate(0); err != nil {
		return fmt.Errorf("empty %s: %w", a.o.Path, err)
	}
	if _, err := a.file.WriteAt(head, 0); err != nil {
		return fmt.Errorf("write %s: %w", a.o.Path, err)
	}
	a.size, a.compact = int64(len(head)), int64(len(head))
	if _, err := a.file.Seek(a.size, io.SeekStart); err != nil {
		return fmt.Errorf("write %s: %w", a.o.Path, err)
	}
	return nil
}

func archiveHead(store string) []byte {
	return appendText([]byte(archiveMagic), store)
}

func appendText(p []byte, s string) []byte {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

// Start begins to keep. counts says of a record whether it is still worth keeping, for when the file is written anew; it is
// called by a goroutine of the Archive.
func (a *Archive) Start(counts func(key string, value []byte) bool) {
	a.counts = counts
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.started = true
	go a.write()
}

// Put keeps a value. It waits for nothing.
func (a *Archive) Put(key string, value []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.closed || a.mu.failed || len(a.mu.records) > archiveQueue || len(key)+len(value) > mostRecord {
		return
	}
	a.mu.records = appendKept(a.mu.records, key, value)
	select {
	case a.wake <- struct{}{}:
	default: // what the goroutine writes next has it
	}
}

// appendKept encodes a record: its length, its checksum, key and value.
func appendKept(p []byte, key string, value []byte) []byte {
	body := appendText(make([]byte, 0, len(key)+len(value)+4), key)
	body = append(body, value...)
	p = binary.AppendUvarint(p, uint64(len(body)))
	p = binary.LittleEndian.AppendUint32(p, crc32.Checksum(body, castagnoli))
	return append(p, body...)
}

// Close writes what waits and gives the file free. Nothing is kept afterwards.
func (a *Archive) Close() error {
	a.mu.Lock()
	a.mu.closed = true
	started := a.mu.started
	a.mu.Unlock()
	if started {
		select {
		case a.wake <- struct{}{}:
		default:
		}
		<-a.done
	}
	return a.file.Close()
}

// write is the goroutine.
func (a *Archive) write() {
	defer close(a.done)
	for range a.wake {
		a.mu.Lock()
		records, closed := a.mu.records, a.mu.closed
		a.mu.records = nil
		a.mu.Unlock()
		if err := a.append(records); err != nil {
			a.o.Log.Info("attributes are not kept for the next mount", "file", a.o.Path, "err", err)
			a.mu.Lock()
			a.mu.failed, a.mu.records = true, nil
			a.mu.Unlock()
		}
		if closed {
			return
		}
	}
}

func (a *Archive) append(records []byte) error {
	n, err := a.file.Write(records)
	a.size += int64(n)
	if err != nil {
		return errors.Join(err, a.file.Truncate(a.size-int64(n)))
	}
	if a.size > 2*a.compact+archiveSlack {
		return a.rewrite()
	}
	return nil
}

// rewrite puts a new file, of what counts, in place of the old one.
func (a *Archive) rewrite() (err error) {
	path := a.o.Path + ".new"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(path))
		}
	}()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	size, err := a.writeAll(f)
	if err != nil {
		return err
	}
	if err := os.Rename(path, a.o.Path); err != nil {
		return err
	}
	old := a.file
	a.file, a.size, a.compact = f, size, size
	return old.Close()
}

// writeAll copies the records that count, of each key the last.
func (a *Archive) writeAll(f *os.File) (size int64, err error) {
	last := map[string]int64{}
	err = a.each(func(at int64, key string, value []byte) error {
		if a.counts(key, value) {
			last[key] = at
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	write := func(p []byte) error {
		size += int64(len(p))
		_, err := w.Write(p)
		return err
	}
	if err := write(archiveHead(a.o.Store)); err != nil {
		return 0, err
	}
	err = a.each(func(at int64, key string, value []byte) error {
		if have, ok := last[key]; !ok || have != at {
			return nil
		}
		return write(appendKept(nil, key, value))
	})
	if err != nil {
		return 0, err
	}
	return size, w.Flush()
}

// each reads the file's records with their offsets.
func (a *Archive) each(do func(at int64, key string, value []byte) error) error {
	r := &archiveReader{r: bufio.NewReaderSize(io.NewSectionReader(a.file, 0, a.size), 1<<20)}
	if !r.begins(a.o.Store) {
		return r.err
	}
	for {
		at := r.at
		key, value, ok := r.next()
		if !ok {
			return r.err
		}
		if err := do(at, key, value); err != nil {
			return err
		}
	}
}

// archiveReader reads a file's records up to what is none.
type archiveReader struct {
	r   *bufio.Reader
	at  int64
	err error // of the disk
}

func (r *archiveReader) bytes(n uint64) ([]byte, bool) {
	if n > mostRecord+64 {
		return nil, false
	}
	p := make([]byte, n)
	got, err := io.ReadFull(r.r, p)
	r.at += int64(got)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		r.err = err
	}
	return p, err == nil
}

func (r *archiveReader) length() (uint64, bool) {
	n, err := binary.ReadUvarint(r.r)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		r.err = err
	}
	r.at += int64(len(binary.AppendUvarint(nil, n)))
	return n, err == nil
}

// begins says whether the file is about this store.
func (r *archiveReader) begins(store string) bool {
	head := archiveHead(store)
	p, ok := r.bytes(uint64(len(head)))
	return ok && string(p) == string(head)
}

func (r *archiveReader) next() (key string, value []byte, ok bool) {
	n, ok := r.length()
	if !ok {
		return "", nil, false
	}
	sum, ok := r.bytes(4)
	if !ok {
		return "", nil, false
	}
	body, ok := r.bytes(n)
	if !ok || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return "", nil, false
	}
	long, width := binary.Uvarint(body)
	if width <= 0 || long > uint64(len(body)-width) {
		return "", nil, false
	}
	return string(body[width : width+int(long)]), body[width+int(long):], true
}
