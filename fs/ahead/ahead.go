package ahead

import (
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// PeekBytes of a file are fetched to learn its attributes: at 80 MB/s they cost less than 2 ms above the round trip.
	PeekBytes = 128 << 10
	// SmallBytes: files up to this size are fetched ahead whole, of larger ones the first PeekBytes.
	SmallBytes = 1 << 20
	// idleLooks: so many files looked at without an open of one make a directory one that is only looked at.
	idleLooks = 2
	// mostAhead is the most files fetched ahead in a directory: at 20 ms a request and 64 at once a reader gets 3,200 a
	// second, which is more than the kernel opens for one thread.
	mostAhead = 64
	// gap is how many names a reader in order may skip between two opens (a shell's pattern, .git in between), and
	// firstGap how many while he is not known to be one: who opens at random hits upon a neighbour now and then.
	gap, firstGap = 8, 2
	// proof: so many opens on end go on from the one before.
	proof = 2
	// mostDirs are remembered.
	mostDirs = 256
)

// Item is a file of a directory: its name, its version and how many bytes it has, and whether its attributes are known.
type Item struct {
	Name  string
	ETag  string
	Size  int64
	Known bool
}

// bytes is how much of the file is fetched ahead.
func (i Item) bytes() int64 {
	if i.Size <= SmallBytes {
		return i.Size
	}
	return PeekBytes
}

// Names is what is known of a directory at this moment, without asking anybody. The order of names is that of their
// bytes. fs implements it over fs/tree.
type Names interface {
	// Between is how many names lie between two names; false when nobody knows.
	Between(first, second string) (n int, ok bool)
	// Following are up to n regular files behind a name, in order.
	Following(name string, n int) []Item
}

// Fetch is what to do about an open: fetch the first bytes of these files, and give up those that were fetched ahead and
// will not be opened. Bytes[i] belongs to Files[i].
type Fetch struct {
	Files []Item
	Bytes []int64
	Ask   []Item // for the attributes of these: they have no bytes
	Drop  []Item
}

// Counts are totals since the start.
type Counts struct {
	Fetched int64 // files fetched ahead
	Used    int64 // of them, opened afterwards
	Peeks   int64 // lookups answered by a GET
	Looks   int64 // lookups answered by a HEAD
	Asked   int64 // files whose attributes were asked for ahead
}

// Dirs is the memory of the directories used last. Safe for concurrent use.
type Dirs struct {
	most int64 // bytes fetched ahead and not opened yet, of all directories

	mu struct {
		sync.Mutex
		dirs   *simplelru.LRU[string, *dir]
		bytes  int64
		counts Counts
		// through: a directory is being looked through, its files are looked at in order and not opened. The next one is likely to
		// be, too (ls -lR, rsync), until that turns out otherwise.
		through bool
	}
}

// dir is one directory.
//
//	    two opens, each a little behind the one before
//	single -------------------------------------------> in order: 4, 8, 16 ... 64 files ahead
//	    ^                                                  |   (an open a little before the last one changes nothing)
//	    +------- an open anywhere else --------------------+  what is ahead is given up
//
// The same for looks, once files are looked at and not opened: an order opens a window of 8 ... 64 files whose attributes
// are asked for ahead.
type dir struct {
	looks  int // lookups that needed attributes since the last open
	looked struct {
		last   string
		window int    // files ahead; 0 while there is no order
		edge   string // asked for up to this name
		passed int    // files that were looked at since, whose attributes had come
	}
	last   string // opened last
	run    int    // opens on end that went on from the one before
	window int    // files ahead; 0 while single
	edge   string // fetched ahead up to this name
	// waiting are the files fetched ahead and not opened yet, in order.
	waiting []Item
}

// New makes a memory that lets at most so many bytes be fetched ahead; 0 or less turns the fetching off.
func New(bytes int64) *Dirs {
	d := &Dirs{most: bytes}
	l, err := simplelru.NewLRU(mostDirs, func(_ string, v *dir) { d.mu.bytes -= v.ahead() })
	if err != nil {
		panic(err) // only for a size below 1
	}
	d.mu.dirs = l
	return d
}

func (v *dir) ahead() (n int64) {
	for _, i := range v.waiting {
		n += i.bytes()
	}
	return n
}

func (d *Dirs) dirLocked(path string) *dir {
	v, ok := d.mu.dirs.Get(path)
	if !ok {
		v = &dir{}
		d.mu.dirs.Add(path, v)
	}
	return v
}

// Looked records that a lookup needs the attributes of a file of the directory, and says how many of its first bytes to
// fetch for them: 0 means to ask for the attributes alone. An empty file is never fetched.
func (d *Dirs) Looked(path string, file Item) (bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.most <= 0 {
		d.mu.counts.Looks++
		return 0
	}
	v := d.dirLocked(path)
	v.looks++
	if v.looks > idleLooks || file.Size == 0 {
		d.mu.counts.Looks++
		return 0
	}
	d.mu.counts.Peeks++
	if v.window > 0 {
		return file.bytes()
	}
	return min(file.Size, PeekBytes)
}

// Opened records that a file was opened for reading and says what to fetch ahead now.
func (d *Dirs) Opened(path, name string, names Names) Fetch {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.most <= 0 {
		return Fetch{}
	}
	v := d.dirLocked(path)
	v.looks, v.looked.window, d.mu.through = 0, 0, false
	before := v.last
	if before == name {
		return Fetch{}
	}
	n, ok := 0, false
	if before != "" {
		n, ok = names.Between(before, name)
	}
	most := gap
	if v.window == 0 {
		most = firstGap
	}
	switch {
	case !ok || n > most:
		v.last, v.run = name, 0
		return Fetch{Drop: d.dropLocked(v)}
	case name < before: // one of several readers that go through the directory together
		d.takeLocked(v, name)
		return Fetch{}
	}
	v.last = name
	if v.run++; v.run < proof {
		return Fetch{}
	}
	d.passedLocked(v, name)
	return d.windowLocked(v, name, names)
}

// Expect says of which files to ask for the attributes before those of a file are asked for: where the directory before was
// looked through, of those behind the first of a new one.
func (d *Dirs) Expect(path, name string, names Names) []Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mu.through || d.most <= 0 || d.mu.dirs.Contains(path) {
		return nil
	}
	if n, known := names.Between("", name); !known || n > gap {
		return nil
	}
	d.mu.through = false
	v := d.dirLocked(path)
	v.looks = idleLooks
	v.looked.last, v.looked.window = name, mostAhead/2
	return d.askLocked(v, name, names)
}

// Looks records that a file was looked up, whatever was known of it, and says of which files to ask for the attributes
// now: of those behind it, when files of the directory are looked at in order and not opened (ls -l, rsync, git status).
func (d *Dirs) Looks(path, name string, names Names) []Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.mu.dirs.Get(path)
	if !ok || d.most <= 0 || v.looks <= idleLooks || v.window > 0 {
		return nil // nothing was asked for here, or bytes come ahead
	}
	l := &v.looked
	before := l.last
	if before == name {
		return nil
	}
	l.last = name
	n, known := names.Between(before, name)
	if l.window > 0 && name > l.edge { // all up to there was known when it was looked at
		n, known = names.Between(l.edge, name)
	}
	if before == "" || !known || n > gap || name < before {
		l.window, l.edge = 0, ""
		return nil
	}
	if left, _ := names.Between(name, l.edge); l.window > 0 && l.edge > name && left > l.window/2 {
		return nil
	}
	d.mu.through = true
	return d.askLocked(v, max(name, l.edge), names)
}

// Passed records a look at a file whose attributes are known. It may be one of those that were asked for ahead: then it says
// of which files to ask for the attributes now.
func (d *Dirs) Passed(path, name string, names Names) []Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.mu.dirs.Peek(path)
	if !ok {
		return nil
	}
	l := &v.looked
	if l.window == 0 || name <= l.last || name > l.edge {
		return nil
	}
	l.last = name
	if l.passed++; l.passed < l.window/2 {
		return nil
	}
	d.mu.through = true
	return d.askLocked(v, l.edge, names)
}

// askLocked opens the window of attributes further, behind a name.
func (d *Dirs) askLocked(v *dir, from string, names Names) (ask []Item) {
	l := &v.looked
	l.window, l.passed = min(max(8, 2*l.window), mostAhead), 0
	for _, i := range names.Following(from, l.window) {
		if l.edge = i.Name; !i.Known {
			ask = append(ask, i)
		}
	}
	d.mu.counts.Asked += int64(len(ask))
	return ask
}

// dropLocked ends an order: what is waiting is not wanted.
func (d *Dirs) dropLocked(v *dir) []Item {
	drop := v.waiting
	d.mu.bytes -= v.ahead()
	v.waiting, v.window, v.edge = nil, 0, ""
	return drop
}

// passedLocked takes off what the reader has come to. What he has skipped stays while it is near: another reader may be
// about to open it.
func (d *Dirs) passedLocked(v *dir, name string) {
	d.takeLocked(v, name)
	behind := 0
	for behind < len(v.waiting) && v.waiting[behind].Name < name {
		behind++
	}
	for ; behind > gap; behind-- {
		d.mu.bytes -= v.waiting[0].bytes()
		v.waiting = v.waiting[1:]
	}
}

// takeLocked takes one file off.
func (d *Dirs) takeLocked(v *dir, name string) {
	i := slices.IndexFunc(v.waiting, func(i Item) bool { return i.Name == name })
	if i < 0 {
		return
	}
	if n := v.waiting[i].bytes(); n > 0 {
		d.mu.bytes -= n
		d.mu.counts.Used++
	}
	v.waiting = slices.Delete(v.waiting, i, i+1)
}

// windowLocked opens the window further and fills it. It is filled again when a quarter of it is free, so that the names
// are looked up in batches.
func (d *Dirs) windowLocked(v *dir, name string, names Names) Fetch {
	v.window = min(max(4, 2*v.window), mostAhead)
	if len(v.waiting) > v.window*3/4 {
		return Fetch{}
	}
	from := name
	if len(v.waiting) > 0 {
		from = v.edge
	}
	var f Fetch
	for _, i := range names.Following(from, v.window-len(v.waiting)) {
		n := i.bytes()
		if d.mu.bytes+n > d.most {
			break
		}
		v.edge = i.Name
		v.waiting = append(v.waiting, i)
		d.mu.bytes += n
		switch {
		case n > 0:
			f.Files, f.Bytes = append(f.Files, i), append(f.Bytes, n)
			d.mu.counts.Fetched++
		case !i.Known: // an empty file has attributes as well
			f.Ask = append(f.Ask, i)
			d.mu.counts.Asked++
		}
	}
	return f
}

// Counts are the totals.
func (d *Dirs) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.counts
}
