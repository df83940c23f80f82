package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
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
	Upload      string    // id of a multipart upload that may have parts of it already
	Parts       []Part    // those that it has for sure, in order: what they have and Dirty has not is nowhere else
	Attempts    int       // how often storing it was tried
	File        string    // names the file over all its records, for the caller: of two records with one name the later counts
	Own         []string  // ETags that earlier states of the file may have in the store, where no answer told
	Yields      []Version // what was about to take the key: where the store has one of these the record is void
	Over        string    // the File whose key this one has taken: its record is void
	Leaves      *Base     // the version under its former name that is to be deleted once it is stored
}

// Base is the stored version under a file: its bytes [0, Limit) are the file's where nothing is dirty. Bytes at and
// beyond Limit are zeros.
type Base struct {
	Bucket, Key, ETag string
	Size, Limit       int64
}

// Version is one of an object. A multipart ETag ("-" in it) may be another one after a copy; size and stamp stay.
type Version struct {
	ETag  string `json:"etag"`
	Size  int64  `json:"size"`
	Stamp string `json:"stamp,omitempty"` // of its size and attributes, as the owner makes it; "": not known
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

// recordVersion is the format of records in files. Those of a later one are left alone and reported.
const recordVersion = 1

// record is such a file: the checksum is over the bytes of Pending as they stand in the file.
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

	Upload   string `json:"upload,omitempty"`
	Parts    []Part `json:"parts,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
	File     string `json:"file,omitempty"`

	Own    []string  `json:"own,omitempty"`
	Yields []Version `json:"yields,omitempty"`
	Over   string    `json:"over,omitempty"`
	Leaves *baseJSON `json:"leaves,omitempty"`
}

type baseJSON struct {
	Bucket string `json:"bucket"`
	Key    text   `json:"key"`
	ETag   string `json:"etag"`
	Size   int64  `json:"size"`
	Limit  int64  `json:"limit"`
}

func (b *Base) json() *baseJSON {
	if b == nil {
		return nil
	}
	return &baseJSON{b.Bucket, text(b.Key), b.ETag, b.Size, b.Limit}
}

func (b *baseJSON) base() *Base {
	if b == nil {
		return nil
	}
	return &Base{b.Bucket, string(b.Key), b.ETag, b.Size, b.Limit}
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

// encode makes the bytes of a record in a file of its own: as earlier versions kept them, and damaged ones are set aside.
func encode(p Pending) ([]byte, error) {
	payload, err := encodePending(p)
	if err != nil {
		return nil, err
	}
	return json.Marshal(record{recordVersion, checksum(payload), payload})
}

func encodePending(p Pending) ([]byte, error) {
	w := pendingJSON{Bucket: p.Bucket, Key: text(p.Key), Size: p.Size, Dirty: p.Dirty, Headers: p.Headers,
		Reason: text(p.Reason), Time: p.Time, Upload: p.Upload, Parts: p.Parts, Attempts: p.Attempts, File: p.File, Own: p.Own,
		Yields: p.Yields, Over: p.Over}
	w.Base, w.Leaves = p.Base.json(), p.Leaves.json()
	return json.Marshal(w)
}

// decode reads a record: errNewer for one of a later version, another error for a damaged one.
func decode(b []byte) (Pending, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return Pending{}, err
	}
	if r.Version > recordVersion {
		return Pending{}, fmt.Errorf("%w: format %d, this one reads up to %d", ErrNewer, r.Version, recordVersion)
	}
	if sum := checksum(r.Pending); r.Version < 1 || sum != r.SHA256 {
		return Pending{}, fmt.Errorf("checksum %.12s, should be %.12s", sum, r.SHA256)
	}
	return decodePending(r.Pending)
}

// decodePending reads a record. One that says more than is known here is a later version's: what it means by that may be what keeps
// somebody's bytes.
func decodePending(b []byte) (Pending, error) {
	var w pendingJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return Pending{}, err
	}
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(new(pendingJSON)); err != nil {
		return Pending{}, fmt.Errorf("%w: %w", ErrNewer, err)
	}
	p := Pending{Bucket: w.Bucket, Key: string(w.Key), Size: w.Size, Dirty: w.Dirty, Headers: w.Headers,
		Reason: string(w.Reason), Time: w.Time, Upload: w.Upload, Parts: w.Parts, Attempts: w.Attempts, File: w.File, Own: w.Own,
		Yields: w.Yields, Over: w.Over}
	p.Base, p.Leaves = w.Base.base(), w.Leaves.base()
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
	return p.checkParts()
}

// dirtyEnd is the least size of the spool that holds p.
func (p Pending) dirtyEnd() int64 {
	if len(p.Dirty) == 0 {
		return 0
	}
	last := p.Dirty[len(p.Dirty)-1]
	return last.Off + last.Len
}
