package content

import (
	"math"

	"pailfs/fs/journal"
)

// A long stream passes through memory: what is written behind its first part of PassAfter bytes is borrowed memory's
// (journal.Spool.Pass), and given away (room.go) when the store has acknowledged it and the memory is wanted for what is
// written next. So its bytes are copied into pages that were used a moment ago, in place of ones that a file never had, which
// is most of what a written byte costs. What goes back there needs a commit (punched.go), but for the newest, as behind all
// that was given away.
//
// Not in journal durability: there a close that returns when the file is in the journal needs all of the file here.

// defaultPassAfter: programs that go back in what they write, to sizes and tables of contents, write files of less, as a rule,
// or go back to the beginning.
const defaultPassAfter = 256 * mib

// partsAhead of the layout are on their way at least, whatever the memory: requests have to overlap.
const partsAhead = 5

// pass lets what a stream's spool gets from now on pass; the caller has the turn.
func (f *File) pass(st *streaming, spool *journal.Spool) {
	st.passes = math.MaxInt64
	if most, _ := f.files.o.Journal.Lending(); most > 0 && !f.files.o.Behind {
		st.passes = f.files.o.PassAfter
	}
	spool.Pass(st.passes)
}

// mostPassing bounds what of a stream is on its way by the memory that it passes through, so that there is some for what is
// written: what has no room is written to the file, and is as dear as that.
func (f *File) mostPassing(st *streaming) int64 {
	most, _ := f.files.o.Journal.Lending()
	part, passes := f.partPassing(st)
	if !passes || most == 0 {
		return math.MaxInt64
	}
	return max(most/f.files.streams.many()-2*part, partsAhead*part)
}

// partPassing is the length of the part that is being written, and whether it passes through memory.
func (f *File) partPassing(st *streaming) (length int64, passes bool) {
	f.mu.Lock()
	front := f.mu.front
	f.mu.Unlock()
	_, _, length = st.Limits().PartAt(front)
	return length, front >= st.passes
}

// thinMemory gives away what the store has of a stream in memory, oldest first, until the memory has room for two more parts:
// the one that is begun, and what is written until the next is acknowledged. The caller has the turn.
func (f *File) thinMemory(st *streaming) {
	part, passes := f.partPassing(st)
	enough := func() bool {
		_, free := f.files.o.Journal.Lending()
		return free >= 2*part
	}
	acks := st.Acks()
	if !passes || enough() || st.thinned && acks == st.acks || !f.lent() {
		return
	}
	st.thinned, st.acks = true, acks
	parts, _ := f.givable(st)
	for _, p := range parts {
		if p.Off < st.passes {
			continue
		}
		if !f.giveAway(st, p) {
			return
		}
		if enough() {
			st.thinned = false
			return
		}
	}
}

// lent says whether bytes of the present spool are in lent memory.
func (f *File) lent() bool {
	f.mu.Lock()
	spool := f.mu.spool
	f.mu.Unlock()
	return spool != nil && spool.HasLent()
}

// endPassing ends what pass began, when there is no stream any more.
func (f *File) endPassing() {
	f.mu.Lock()
	spool := f.mu.spool
	f.mu.Unlock()
	if spool != nil {
		spool.Pass(math.MaxInt64)
	}
}

// givePassedAway gives the memory of a stream back that has become the base: who reads these bytes again reads the base. The
// caller has the turn.
func (f *File) givePassedAway(st *streaming) {
	f.endPassing()
	if st != nil && f.lent() {
		f.giveStoredAway(st.passes)
	}
}
