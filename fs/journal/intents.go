package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Pending says what a kept spool is: the bytes of an object that the store refused so far.
type Pending struct {
	Bucket, Key string
	Size        int64   // the file's size in bytes
	Dirty       []Range // what of the file is in the spool, at its own offsets; sorted and disjoint
	Base        *Base   // where the rest comes from; nil: the rest is zeros
	Headers     Headers
	Reason      string // why it was not stored, for people
	Time        time.Time
}

// Base is the stored version under a file: its bytes [0, Limit) are the file's where nothing is dirty. Bytes at and
// beyond Limit are zeros.
type Base struct {
	Bucket, Key, ETag string
	Size, Limit       int64
}

// Headers are what travels with the object. The fields are those of s3client.Headers, so that one converts to the other.
type Headers struct {
	ContentType        string
	CacheControl       string
	ContentDisposition string
	ContentEncoding    string
	ContentLanguage    string
	Expires            string
	Meta               map[string]string
}

// recordVersion is the format this program writes. Records of a later one are left alone and reported.
const recordVersion = 1

// record is a file under record/: the checksum is over the bytes of Pending as they stand in the file.
type record struct {
	Version int             `json:"version"`
	SHA256  string          `json:"sha256"`
	Pending json.RawMessage `json:"pending"`
}

// pendingJSON is Pending as it is written. Keys are bytes to the store and may not be UTF-8, which JSON needs.
type pendingJSON struct {
	Bucket  string    `json:"bucket"`
	Key     text      `json:"key"`
	Size    int64     `json:"size"`
	Dirty   []Range   `json:"dirty,omitempty"`
	Base    *baseJSON `json:"base,omitempty"`
	Headers Headers   `json:"headers"`
	Reason  text      `json:"reason,omitempty"`
	Time    time.Time `json:"time"`
}

type baseJSON struct {
	Bucket string `json:"bucket"`
	Key    text   `json:"key"`
	ETag   string `json:"etag"`
	Size   int64  `json:"size"`
	Limit  int64  `json:"limit"`
}

// text is a string that survives JSON whatever its bytes: a string where it is UTF-8, {"base64": ...} otherwise.
type text string

type textBytes struct {
	Base64 []byte `json:"base64"`
}

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(textBytes{[]byte(t)})
}

func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var raw textBytes
		err := json.Unmarshal(b, &raw)
		*t = text(raw.Base64)
		return err
	}
	var s string
	err := json.Unmarshal(b, &s)
	*t = text(s)
	return err
}

// encode makes the bytes of a record.
func encode(p Pending) ([]byte, error) {
	w := pendingJSON{Bucket: p.Bucket, Key: text(p.Key), Size: p.Size, Dirty: p.Dirty, Headers: p.Headers,
		Reason: text(p.Reason), Time: p.Time}
	if b := p.Base; b != nil {
		w.Base = &baseJSON{b.Bucket, text(b.Key), b.ETag, b.Size, b.Limit}
	}
	payload, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	return json.Marshal(record{recordVersion, checksum(payload), payload})
}

// decode reads a record: errNewer for one of a later version, another error for a damaged one.
func decode(b []byte) (Pending, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return Pending{}, err
	}
	if r.Version > recordVersion {
		return Pending{}, fmt.Errorf("%w: version %d", ErrNewer, r.Version)
	}
	if sum := checksum(r.Pending); r.Version < 1 || sum != r.SHA256 {
		return Pending{}, fmt.Errorf("checksum %.12s, should be %.12s", sum, r.SHA256)
	}
	var w pendingJSON
	if err := json.Unmarshal(r.Pending, &w); err != nil {
		return Pending{}, err
	}
	p := Pending{Bucket: w.Bucket, Key: string(w.Key), Size: w.Size, Dirty: w.Dirty, Headers: w.Headers,
		Reason: string(w.Reason), Time: w.Time}
	if b := w.Base; b != nil {
		p.Base = &Base{b.Bucket, string(b.Key), b.ETag, b.Size, b.Limit}
	}
	return p, p.check()
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// check says whether a Pending makes sense: a wrong one must be refused while the bytes are still at hand.
func (p Pending) check() error {
	if p.Bucket == "" || p.Key == "" || p.Size < 0 {
		return fmt.Errorf("no object: %q/%q of %d bytes", p.Bucket, p.Key, p.Size)
	}
	end := int64(0)
	for _, r := range p.Dirty {
		if r.Off < end || r.Len <= 0 || r.Len > p.Size-r.Off {
			return fmt.Errorf("dirty range %d+%d is out of order or past the size %d", r.Off, r.Len, p.Size)
		}
		end = r.Off + r.Len
	}
	if b := p.Base; b != nil && (b.Limit < 0 || b.Limit > b.Size) {
		return fmt.Errorf("base limit %d of %d bytes", b.Limit, b.Size)
	}
	return nil
}

// dirtyEnd is the least size of the spool that holds p.
func (p Pending) dirtyEnd() int64 {
	if len(p.Dirty) == 0 {
		return 0
	}
	last := p.Dirty[len(p.Dirty)-1]
	return last.Off + last.Len
}

// Keep makes a spool outlive this process: when it returns nil, spool and record are durable. Keeping a spool again
// replaces its record. The spool may be read meanwhile, and must not be written until Keep returns.
func (j *Journal) Keep(s *Spool, p Pending) error {
	if err := j.keep(s, p); err != nil {
		return fmt.Errorf("keep %s/%s in the journal: %w", p.Bucket, p.Key, err)
	}
	return nil
}

func (j *Journal) keep(s *Spool, p Pending) error {
	if err := p.check(); err != nil {
		return err
	}
	if err := s.holds(p); err != nil {
		return err
	}
	b, err := encode(p)
	if err != nil {
		return err
	}
	if err := s.Sync(); err != nil {
		return err
	}
	if err := syncDir(j.spools()); err != nil {
		return err
	}
	s.setKept() // before the rename: a record that may be there is one that Discard has to remove
	return writeRecord(filepath.Join(j.records(), s.id), b)
}

// holds says whether the spool is long enough for the dirty ranges.
func (s *Spool) holds(p Pending) error {
	fi, err := s.f.Stat()
	if err != nil {
		return err
	}
	if fi.Size() < p.dirtyEnd() {
		return fmt.Errorf("spool ends at %d, dirty bytes at %d", fi.Size(), p.dirtyEnd())
	}
	return nil
}

// tempSuffix marks a record that is being written; Open removes what a crash left of it.
const tempSuffix = ".tmp"

func writeRecord(path string, b []byte) error {
	tmp := path + tempSuffix
	if err := writeSynced(tmp, b); err != nil {
		return errors.Join(err, removeFile(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, removeFile(tmp))
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// drop removes a record and makes that durable, then its spool.
func (j *Journal) drop(id string) error {
	if err := removeFile(filepath.Join(j.records(), id)); err != nil {
		return fmt.Errorf("drop record: %w", err)
	}
	if err := syncDir(j.records()); err != nil {
		return fmt.Errorf("drop record: %w", err)
	}
	if err := removeFile(filepath.Join(j.spools(), id)); err != nil {
		return fmt.Errorf("drop spool: %w", err)
	}
	return nil
}
