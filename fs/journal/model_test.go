package journal

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// state is what a journal has to have: for each key its record's attempts and content, for each note its data.
type state struct {
	records map[string]string
	notes   map[uint64]string
}

func (s state) clone() state { return state{maps.Clone(s.records), maps.Clone(s.notes)} }

// model drives a journal and remembers its states with the position in the log from which on each holds.
type model struct {
	t       *rapid.T
	outer   *testing.T
	j       *Journal
	dir     string
	now     state
	history []stateAt
	spools  map[string]*Spool
	n       int
	fail    bool
	unsafe  []span // a sync of them has failed: whatever it said later, they may not be on the disk
}

type stateAt struct {
	end uint64
	state
}

// TestModel does random things, and looks at copies of the directory as kill -9 and a power cut leave them: the first has
// exactly what was appended, the second a state that is no older than the last sync.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: rt, outer: t, dir: t.TempDir(), spools: make(map[string]*Spool),
			now: state{make(map[string]string), make(map[uint64]string)}}
		m.open()
		defer func() { _ = m.j.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"keep": m.keep, "keep again": m.keepAgain, "amend": m.amend, "discard": m.discard, "unkeep": m.unkeep, "note": m.note,
			"replace": m.replace, "drop": m.drop, "sync": m.sync, "tidy": m.tidy, "trim": m.trim, "failing sync": m.failingSync,
			"kill": m.kill, "power cut": m.powerCut, "reopen": m.reopen,
			"": func(t *rapid.T) { m.t = t },
		})
	})
}

func (m *model) check(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) options(dir string) Options {
	return Options{Dir: dir, segmentBytes: 8 << 10, untended: true}
}

func (m *model) open() {
	j, err := OpenWith(m.options(m.dir))
	m.check(err)
	m.j = j
	j.log.syncFile = func(f *os.File) error {
		if m.fail {
			return syscall.EIO
		}
		return fdatasync(f)
	}
	if len(j.log.mu.segs) == 0 { // positions begin anew
		m.unsafe = nil
	}
	m.history = []stateAt{{j.log.mu.durable, m.now.clone()}}
}

// appended notes that the log has another state.
func (m *model) appended() {
	m.history = append(m.history, stateAt{m.j.log.mu.end, m.now.clone()})
}

func (m *model) pending(key string) Pending {
	m.n++
	return Pending{Bucket: "b", Key: key, Size: inlineBytes * 2, Attempts: m.n}
}

func (m *model) said(p Pending, content string) {
	m.now.records[p.Key] = fmt.Sprintf("%d %s", p.Attempts, content)
	m.appended()
}

func (m *model) key(t *rapid.T) (string, bool) {
	keys := slices.Sorted(maps.Keys(m.spools))
	if len(keys) == 0 {
		return "", false
	}
	return rapid.SampledFrom(keys).Draw(t, "key"), true
}

func (m *model) keep(t *rapid.T) {
	s, err := m.j.NewSpool()
	m.check(err)
	p := m.pending(fmt.Sprint("key", m.n))
	_, err = s.WriteAt([]byte(p.Key), 0)
	m.check(err)
	if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
		_, err := s.WriteAt([]byte("end"), inlineBytes)
		m.check(err)
	}
	m.check(m.j.Keep(s, p))
	m.spools[p.Key] = s
	m.said(p, p.Key)
}

func (m *model) keepAgain(t *rapid.T) {
	key, ok := m.key(t)
	if !ok {
		return
	}
	p := m.pending(key)
	text := fmt.Sprintf("%-20s", fmt.Sprint("again", m.n))
	_, err := m.spools[key].WriteAt([]byte(text), 0)
	m.check(err)
	m.check(m.j.Keep(m.spools[key], p))
	m.said(p, text)
}

func (m *model) amend(t *rapid.T) {
	if key, ok := m.key(t); ok {
		if _, kept := m.now.records[key]; !kept {
			return
		}
		p := m.pending(key)
		_, text, _ := strings.Cut(m.now.records[key], " ")
		m.check(m.j.Amend(m.spools[key], p))
		m.said(p, text)
	}
}

func (m *model) discard(t *rapid.T) {
	if key, ok := m.key(t); ok {
		m.check(m.spools[key].Discard())
		delete(m.spools, key)
		delete(m.now.records, key)
		m.appended()
	}
}

func (m *model) unkeep(t *rapid.T) {
	if key, ok := m.key(t); ok {
		m.check(m.spools[key].Unkeep())
		delete(m.now.records, key)
		m.appended()
		if rapid.Bool().Draw(t, "discard") {
			m.check(m.spools[key].Discard())
			delete(m.spools, key)
		}
	}
}

func (m *model) note(*rapid.T) {
	m.n++
	data := strings.Repeat(fmt.Sprint(m.n), 100)
	seq, err := m.j.AddNote("k", []byte(data))
	m.check(err)
	m.now.notes[seq] = data
	m.appended()
}

func (m *model) seq(t *rapid.T) (uint64, bool) {
	seqs := slices.Sorted(maps.Keys(m.now.notes))
	if len(seqs) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(seqs).Draw(t, "seq"), true
}

func (m *model) replace(t *rapid.T) {
	if seq, ok := m.seq(t); ok {
		m.n++
		m.check(m.j.ReplaceNote(seq, []byte(fmt.Sprint(m.n))))
		m.now.notes[seq] = fmt.Sprint(m.n)
		m.appended()
	}
}

func (m *model) drop(t *rapid.T) {
	if seq, ok := m.seq(t); ok {
		m.check(m.j.DropNote(seq))
		delete(m.now.notes, seq)
		m.appended()
	}
}

func (m *model) sync(*rapid.T) {
	m.check(m.j.Sync())
	if m.j.log.mu.durable < m.j.log.mu.need {
		m.t.Fatal("synced and not durable")
	}
}

func (m *model) tidy(*rapid.T) { m.check(m.j.log.tidy()) }

// trim gives space back while others have appended what is not synced.
func (m *model) trim(*rapid.T) { m.check(m.j.log.trim()) }

// failingSync fails once and is mended: a power cut between the two may lose any part of what was never durable.
func (m *model) failingSync(*rapid.T) {
	m.fail = true
	from, to := m.j.log.mu.durable, m.j.log.mu.end
	err := m.j.Sync()
	m.fail = false
	if m.j.log.mu.need > from != errors.Is(err, syscall.EIO) {
		m.t.Fatalf("sync: %v", err)
	}
	if err != nil {
		m.unsafe = append(m.unsafe, span{from, to})
		m.check(m.j.Sync())
		m.appended()
	}
}

func (m *model) kill(*rapid.T) {
	got := m.found(killed(m.outer, m.dir))
	if !reflect.DeepEqual(got, m.now) {
		m.t.Fatalf("after kill -9\n%v\nwant\n%v", got, m.now)
	}
}

// powerCut loses any of the pages that were not synced.
func (m *model) powerCut(t *rapid.T) {
	const page = 64 // smaller than real ones: more to go wrong
	dir := killed(m.outer, m.dir)
	durable := m.j.log.mu.durable
	lost := append(slices.Clone(m.unsafe), span{durable, m.j.log.mu.end})
	for _, s := range m.j.log.mu.segs {
		path := filepath.Join(dir, "log", filepath.Base(s.f.Name()))
		m.check(edit(path, func(b []byte) []byte {
			for off := int64(headerBytes); off < s.end; off += page {
				pos := s.h.base + uint64(off-headerBytes)
				gone := slices.ContainsFunc(lost, func(l span) bool { return l.from < pos+page && pos < l.to })
				if gone && rapid.Bool().Draw(t, "lost") {
					for i := off; i < min(off+page, int64(len(b))); i++ {
						if at := s.h.base + uint64(i-headerBytes); slices.ContainsFunc(lost, func(l span) bool { return l.from <= at && at < l.to }) {
							b[i] = 0
						}
					}
				}
			}
			return b
		}))
	}
	got := m.found(dir)
	allowed := 0
	for i, h := range m.history {
		if h.end < durable && i+1 < len(m.history) && m.history[i+1].end <= durable {
			continue
		}
		allowed++
		if reflect.DeepEqual(got, h.state) {
			return
		}
	}
	m.t.Fatalf("after a power cut, durable up to %d: none of %d states:\n%v\nlatest\n%v", durable, allowed, got, m.now)
}

// found is what a run finds in a directory.
func (m *model) found(dir string) state {
	defer os.RemoveAll(dir)
	j, err := OpenWith(m.options(dir))
	m.check(err)
	defer j.Close()
	return m.contents(j)
}

func (m *model) contents(j *Journal) state {
	ps, err := j.Pendings()
	m.check(err)
	got := state{make(map[string]string), make(map[uint64]string)}
	for _, p := range ps {
		s, err := p.Open()
		m.check(err)
		b := make([]byte, 20)
		n, _ := s.ReadAt(b, 0)
		got.records[p.Key] = fmt.Sprintf("%d %s", p.Attempts, strings.TrimRight(string(b[:n]), "\x00"))
		m.check(s.Close())
	}
	for _, n := range j.Notes("k") {
		got.notes[n.Seq] = string(n.Data)
	}
	return got
}

func (m *model) reopen(*rapid.T) {
	m.check(m.j.Close())
	m.open()
	if got := m.contents(m.j); !reflect.DeepEqual(got, m.now) {
		m.t.Fatalf("after closing and opening\n%v\nwant\n%v", got, m.now)
	}
	ps, err := m.j.Pendings()
	m.check(err)
	clear(m.spools)
	for _, p := range ps {
		s, err := p.Open()
		m.check(err)
		m.spools[p.Key] = s
	}
}
