package outbox

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"pailfs/s3client"
)

// Kind is what an Op does to its key.
type Kind string

const (
	KindDelete  Kind = "delete"  // the object goes away
	KindPut     Kind = "put"     // an object of Headers and Body, whatever was there
	KindHeaders Kind = "headers" // the stored object of version ETag gets Headers
)

// Op is one change of one key.
type Op struct {
	Seq         uint64 // of its note in the journal; Settled reports under it
	Kind        Kind
	Bucket, Key string // the key may be any bytes
	// ETag is the version that is deleted or gets new headers; "" is whichever is there. Of a put it is the version that it
	// replaces, AnyVersion where that is not known, "" where there is none.
	ETag    string
	Size    int64 // bytes of the object that gets new headers, or of Body
	Headers s3client.Headers
	Body    []byte
	Time    time.Time // when it was accepted; of merged ones the last
	// After is when it may be carried out: an upload that was given up may make the object until then. Zero: at once.
	After time.Time
}

func (o *Op) String() string { return string(o.Kind) + " " + o.Bucket + "/" + o.Key }

// AnyVersion as the ETag of a put: it replaces whatever is there.
const AnyVersion = "*"

// NoteKind is the kind of the outbox's notes in the journal.
const NoteKind = "name"

// noteVersion is the format of a note. A reader refuses what is newer than itself.
const noteVersion = 1

// note is an Op as the journal has it.
type note struct {
	Version int      `json:"v"`
	Kind    Kind     `json:"kind"`
	Bucket  text     `json:"bucket"`
	Key     text     `json:"key"`
	ETag    text     `json:"etag,omitempty"`
	Size    int64    `json:"size,omitempty"`
	Headers *headers `json:"headers,omitempty"` // of puts and headers
	Body    []byte   `json:"body,omitempty"`
	Time    int64    `json:"time,omitempty"` // ns since 1970; 0 is the zero time
	After   int64    `json:"after,omitempty"`
}

type headers struct {
	ContentType        text      `json:"type,omitempty"`
	CacheControl       text      `json:"cache,omitempty"`
	ContentDisposition text      `json:"disposition,omitempty"`
	ContentEncoding    text      `json:"encoding,omitempty"`
	ContentLanguage    text      `json:"language,omitempty"`
	Expires            text      `json:"expires,omitempty"`
	Meta               [][2]text `json:"meta,omitempty"` // names in order
}

// text is a string of any bytes: JSON's strings are UTF-8 and the encoder replaces what is not, so that two keys could
// become one. What is not UTF-8 is written as an array of one base64 string.
type text string

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal([1]string{base64.StdEncoding.EncodeToString([]byte(t))})
}

func (t *text) UnmarshalJSON(p []byte) error {
	if len(p) == 0 || p[0] != '[' {
		return json.Unmarshal(p, (*string)(t))
	}
	var coded []string
	if err := json.Unmarshal(p, &coded); err != nil {
		return err
	}
	if len(coded) != 1 {
		return fmt.Errorf("%d strings where one belongs", len(coded))
	}
	raw, err := base64.StdEncoding.DecodeString(coded[0])
	*t = text(raw)
	return err
}

// encode makes an Op's note. The Seq is the journal's business.
func (o *Op) encode() ([]byte, error) {
	n := note{Version: noteVersion, Kind: o.Kind, Bucket: text(o.Bucket), Key: text(o.Key), ETag: text(o.ETag),
		Size: o.Size, Body: o.Body}
	if !o.Time.IsZero() {
		n.Time = o.Time.UnixNano()
	}
	if !o.After.IsZero() {
		n.After = o.After.UnixNano()
	}
	if o.Kind != KindDelete {
		n.Headers = noteHeaders(&o.Headers)
	}
	p, err := json.Marshal(&n)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", o, err)
	}
	return p, nil
}

func noteHeaders(h *s3client.Headers) *headers {
	n := &headers{ContentType: text(h.ContentType), CacheControl: text(h.CacheControl),
		ContentDisposition: text(h.ContentDisposition), ContentEncoding: text(h.ContentEncoding),
		ContentLanguage: text(h.ContentLanguage), Expires: text(h.Expires)}
	for _, name := range slices.Sorted(maps.Keys(h.Meta)) {
		n.Meta = append(n.Meta, [2]text{text(name), text(h.Meta[name])})
	}
	return n
}

// Decode reads a note of an earlier run.
func Decode(seq uint64, data []byte) (Op, error) {
	var n note
	if err := json.Unmarshal(data, &n); err != nil {
		return Op{}, fmt.Errorf("note %d of a change of a name: %w", seq, err)
	}
	switch {
	case n.Version > noteVersion:
		return Op{}, fmt.Errorf("note %d of a change of a name: format %d, of a newer pailfs; this one reads up to %d", seq,
			n.Version, noteVersion)
	case n.Version < 1 || n.Bucket == "" || n.Key == "":
		return Op{}, fmt.Errorf("note %d of a change of a name: no version, bucket or key", seq)
	case n.Kind != KindDelete && n.Kind != KindPut && n.Kind != KindHeaders:
		return Op{}, fmt.Errorf("note %d of a change of a name: unknown kind %q", seq, n.Kind)
	}
	o := Op{Seq: seq, Kind: n.Kind, Bucket: string(n.Bucket), Key: string(n.Key), ETag: string(n.ETag), Size: n.Size,
		Body: n.Body}
	if n.Time != 0 {
		o.Time = time.Unix(0, n.Time)
	}
	if n.After != 0 {
		o.After = time.Unix(0, n.After)
	}
	if h := n.Headers; h != nil {
		o.Headers = h.headers()
	}
	return o, nil
}

func (h *headers) headers() s3client.Headers {
	out := s3client.Headers{ContentType: string(h.ContentType), CacheControl: string(h.CacheControl),
		ContentDisposition: string(h.ContentDisposition), ContentEncoding: string(h.ContentEncoding),
		ContentLanguage: string(h.ContentLanguage), Expires: string(h.Expires)}
	if len(h.Meta) > 0 {
		out.Meta = make(map[string]string, len(h.Meta))
		for _, pair := range h.Meta {
			out.Meta[string(pair[0])] = string(pair[1])
		}
	}
	return out
}
