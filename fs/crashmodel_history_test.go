package fs_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// history is what happens, but for the order of what happens at the same moment.
type history struct {
	Seed     uint64
	Behind   bool
	Faults   bool
	Look     bool // all names are read at each start
	Provider string
	Memory   int64 // of the journal's spools
	Inline   int64 // the most of a spool that stands in the journal's log; 0: 256 KiB, more than any file has
	Others   uint  // a bit for each process whose durability is the other one
	TTL      time.Duration
	Settle   time.Duration
	MaxLag   time.Duration
	Writers  [][]op
	Kills    []kill
}

// kill says when a process is killed: before its nth entry in the journal, at its nth event, at its nth while directories are
// being renamed, or at a time.
type kill struct {
	Entry, Event int
	Moving       int
	After        time.Duration
	Damage       bool          // and then a file of its journal is damaged
	Pause        time.Duration // until the next one
}

// op is what a writer does next. Its names are the writer's own.
type op struct {
	Kind  string
	Name  string
	To    string // of a rename
	Sizes []int  // of what is written, piece after piece
	Sync  int    // after which pieces there is an fsync: a bit each
	At    int    // where, in hundredths of the file's size
	Mode  uint32
	Think time.Duration // before it
	Pause time.Duration // between the pieces
}

func (h history) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "seed %d behind %v faults %v look %v provider %s memory %d inline %d others %b ttl %v settle %v max-lag %v\n", h.Seed, h.Behind, h.Faults,
		h.Look, h.Provider, h.Memory, h.Inline, h.Others, h.TTL, h.Settle, h.MaxLag)
	for i, ops := range h.Writers {
		for _, o := range ops {
			fmt.Fprintf(&s, "  writer %d %v\n", i, o)
		}
	}
	for _, k := range h.Kills {
		fmt.Fprintf(&s, "  kill %+v\n", k)
	}
	return s.String()
}

func (o op) String() string {
	s := fmt.Sprintf("{%s %s", o.Kind, o.Name)
	if o.To != "" {
		s += " to " + o.To
	}
	if len(o.Sizes) > 0 {
		s += fmt.Sprintf(" %v sync %b pause %v", o.Sizes, o.Sync, o.Pause)
	}
	if o.Kind == "edit" || o.Kind == "cut" {
		s += fmt.Sprintf(" at %d%%", o.At)
	}
	if o.Mode != 0 {
		s += fmt.Sprintf(" mode %o", o.Mode)
	}
	return s + fmt.Sprintf(" think %v}", o.Think)
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// newHistory makes a history of a seed.
func newHistory(seed uint64) history {
	r := rand.New(rand.NewPCG(seed, 0x70a11f5))
	h := history{Seed: seed, Behind: r.IntN(4) > 0, Faults: r.IntN(4) == 0, Look: r.IntN(2) == 0,
		Provider: pick(r, "minio", "minio", "generic"), Memory: pick[int64](r, 0, 0, -1, 8<<10), Inline: pick[int64](r, 0, 1<<10), Others: pick(r, 0, 0, uint(r.IntN(32))),
		TTL: pick(r, 5*time.Second, 5*time.Second, time.Second, time.Minute), Settle: pick(r, 100*time.Millisecond, time.Millisecond, time.Second),
		MaxLag: pick(r, 30*time.Second, 30*time.Second, 200*time.Millisecond)}
	switch *crashOnly {
	case "store":
		h.Behind, h.Others = false, 0
	case "journal":
		h.Behind, h.Others = true, 0
	}
	if f := *crashFaults; f != "both" {
		h.Faults = h.Faults && f == map[bool]string{false: "store", true: "journal"}[h.Behind]
	}
	for id := range 1 + r.IntN(3) {
		var ops []op
		for range 3 + r.IntN(18) {
			ops = append(ops, newOp(r, id))
		}
		h.Writers = append(h.Writers, ops)
	}
	for range r.IntN(5) {
		h.Kills = append(h.Kills, newKill(r))
	}
	return h
}

func newKill(r *rand.Rand) (k kill) {
	n := 1 + r.IntN(pick(r, 10, 40, 160))
	switch r.IntN(8) {
	case 0, 1, 2:
		k.Entry = n
	case 3:
		k.After = time.Duration(1+r.IntN(5000)) * time.Millisecond
	case 4:
		k.Moving = 1 + r.IntN(15)
	default:
		k.Event = n
	}
	k.Pause = pick(r, 0, time.Duration(r.IntN(100))*time.Millisecond, time.Duration(r.IntN(5000))*time.Millisecond, 3*time.Minute)
	k.Damage = r.IntN(40) == 0
	return k
}

func newOp(r *rand.Rand, id int) op {
	own := func() string { return fmt.Sprintf("g%c%d", 'a'+id, r.IntN(2)) }
	in := func() string {
		if r.IntN(4) == 0 {
			return own()
		}
		return pick(r, dirs...)
	}
	link := func() string { return fmt.Sprintf("%s/%cl", in(), 'a'+id) }
	name := func() string { return fmt.Sprintf("%s/%c%d", in(), 'a'+id, r.IntN(2)) }
	o := op{Name: name(), Think: pick(r, 0, time.Duration(r.IntN(20))*time.Millisecond, time.Duration(r.IntN(400))*time.Millisecond,
		time.Duration(r.IntN(8000))*time.Millisecond)}
	o.Kind = pick(r, "save", "save", "save", "append", "edit", "cut", "chmod", "chmod", "rename", "rename", "unlink", "again", "again",
		"replace", "replace", "read", "flush", "chown", "utimens", "clone", "link")
	switch r.IntN(12) {
	case 0:
		o.Name, o.Kind = own()+"/", pick(r, "mkdir", "rmdir", "movedir", "movedir", "movedir")
		name = func() string { return own() + "/" }
	case 1, 2:
		o.Name, o.Kind = link(), pick(r, "link", "link", "rename", "unlink", "chown", "utimens", "read")
		name = link
	}
	switch o.Kind {
	case "link":
		o.Name = link()
	case "rename", "clone", "movedir":
		for o.To = name(); o.To == o.Name; o.To = name() {
		}
	case "chmod":
		o.Mode = pick[uint32](r, 0o600, 0o640, 0o755)
	case "chown":
		o.Mode = pick[uint32](r, 2, 3)
	case "utimens":
		o.Mode = uint32(1e9 + r.IntN(1e6))
	case "save", "append", "edit", "cut", "again", "replace":
		for range r.IntN(pick(r, 2, 5)) + pick(r, 0, 1, 1, 1) {
			o.Sizes = append(o.Sizes, 1+r.IntN(pick(r, 100, 3000, 3000, 12000)))
		}
		o.Sync = pick(r, 0, 0, 0, r.IntN(8))
		o.At = r.IntN(101)
		o.Pause = pick(r, 0, 0, time.Duration(r.IntN(300))*time.Millisecond)
	}
	return o
}
