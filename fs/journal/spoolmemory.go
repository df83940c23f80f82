package journal

import (
	"errors"
	"io"
)

// reserve takes memory for a spool; false when there is none free.
func (j *Journal) reserve(bytes int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.memory+bytes > j.o.MemoryBytes {
		return false
	}
	j.mu.memory += bytes
	return true
}

func (j *Journal) release(bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.memory -= bytes
}

func (s *Spool) readMemory(p []byte, off int64) (where whereabouts, n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return inMemory, 0, s.closedError("read")
	}
	if where = s.whereLocked(); where != inMemory {
		return where, 0, nil
	}
	n, err = readBytes(p, off, s.mu.data, s.mu.size)
	return inMemory, n, err
}

// readBytes reads from data, then zeros up to size.
func readBytes(p []byte, off int64, data []byte, size int64) (n int, err error) {
	if off >= size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	if int64(len(p)) > size-off {
		p, err = p[:size-off], io.EOF
	}
	n = 0
	if off < int64(len(data)) {
		n = copy(p, data[off:])
	}
	clear(p[n:])
	return len(p), err
}

// readLog reads bytes that are in the log alone, and has them in memory from now on if there is room.
func (s *Spool) readLog(p []byte, off int64) (int, error) {
	loaded, e, err := s.load()
	if err != nil {
		return 0, err
	}
	if loaded {
		return s.readAt(p, off)
	}
	return readBytes(p, off, e.data, e.size)
}

// load takes resting bytes into memory; loaded false: there is no room, the bytes are in e.
func (s *Spool) load() (loaded bool, e entry, err error) {
	e, err = s.j.log.readKeep(s.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return false, e, s.closedError("read")
	}
	if !s.mu.resting {
		return true, e, nil
	}
	if err != nil || s.mu.moving || !s.j.reserve(int64(cap(e.data))) {
		return false, e, err
	}
	s.mu.data, s.mu.resting = e.data, false
	return true, e, nil
}

// changeMemory changes the bytes in memory; file: they are in the file, where change has no place. change says false
// where memory is not enough.
func (s *Spool) changeMemory(op string, change func() bool) (file bool, err error) {
	for {
		where, done, err := s.tryChange(op, change)
		switch {
		case err != nil || done:
			return false, err
		case where == inFile:
			return true, nil
		case where == inLog:
			if loaded, _, err := s.load(); err != nil {
				return false, err
			} else if loaded {
				continue
			}
		}
		if err := s.toFile(); err != nil {
			return false, err
		}
	}
}

func (s *Spool) tryChange(op string, change func() bool) (where whereabouts, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.mu.moving {
		s.changed.Wait()
	}
	if s.mu.closed {
		return 0, false, s.closedError(op)
	}
	if where = s.whereLocked(); where != inMemory || !change() {
		return where, false, nil
	}
	s.changedLocked()
	return where, true, nil
}

func (s *Spool) writeMemoryLocked(p []byte, off int64) bool {
	if off > s.j.inline-int64(len(p)) {
		return false
	}
	end := int(off) + len(p)
	if end > cap(s.mu.data) && !s.growLocked(end) {
		return false
	}
	if was := len(s.mu.data); end > was {
		s.mu.data = s.mu.data[:end]
		clear(s.mu.data[was:]) // what was cut off is still there
	}
	copy(s.mu.data[off:], p)
	s.mu.size = max(s.mu.size, int64(end))
	return true
}

// growLocked makes room in memory, in powers of two.
func (s *Spool) growLocked(need int) bool {
	room := 4 << 10
	for room < need {
		room *= 2
	}
	if !s.j.reserve(int64(room - cap(s.mu.data))) {
		return false
	}
	data := make([]byte, len(s.mu.data), room)
	copy(data, s.mu.data)
	s.mu.data = data
	return true
}

// small gives the bytes of a spool that is small enough to stand in the log.
func (s *Spool) small() (data []byte, size int64, small bool, err error) {
	s.mu.Lock()
	where, closed := s.whereLocked(), s.mu.closed
	data, size = append(data, s.mu.data...), s.mu.size
	var end int64
	if where == inFile {
		if end = s.mu.sums.end(); s.mu.sums.loose {
			end = size
		}
	}
	s.mu.Unlock()
	switch {
	case closed:
		return nil, 0, false, s.closedError("keep")
	case where == inLog:
		e, err := s.j.log.readKeep(s.id)
		return e.data, e.size, true, err
	case where == inMemory:
		return data, size, true, nil
	case end > s.j.inline:
		return nil, size, false, nil
	}
	data = make([]byte, min(end, size))
	if _, err := s.readFile(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, false, err
	}
	return data, size, true, nil
}
