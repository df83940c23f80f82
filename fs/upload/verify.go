package upload

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"

	"pailfs/s3client"
)

// What verifying costs, measured on one core of a small server: MD5 makes 0.65 GB/s, which is 1.5 s for a GiB. A PUT or a
// part costs 0.36 s for a GiB over http and 0.73 s over https, all included, so that verifying everything makes a large
// upload three to five times as dear, and 80 MB/s on each of 16 connections would need two cores for it alone. A file of
// 16 KiB costs 25 microseconds of MD5 beside 300 of the request, one of 1 MiB 1.6 ms beside 12 ms on such a connection.
//
// So VerifyAuto verifies what a single PUT of at most autoBytes sends: nearly all files of most trees. Beyond that it
// trusts TLS, and over plain http the checksums of the network. What is read back from the journal is checked there.
const autoBytes = mib

// sends is how often a body is sent whose answer names other bytes.
const sends = 2

// errJoined marks an object that is not the parts it was joined from.
var errJoined = errors.New("joined from other parts")

// etags is what is known of a bucket's ETags, from the answers so far. Those of buckets with SSE-KMS are no MD5s.
type etags int

const (
	unknownETags etags = iota
	md5ETags
	otherETags
)

func (u *Uploader) etagsOf(bucket string) etags {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mu.etags[bucket]
}

// learn notes what a bucket's ETags are; true when that is news.
func (u *Uploader) learn(bucket string, e etags) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	news := u.mu.etags[bucket] != e
	u.mu.etags[bucket] = e
	return news
}

// putBody is the body of a file sent in one request, partBody one of a part.
func (u *Uploader) putBody(to target, src io.ReaderAt, size int64) *body {
	b := &body{src: src, size: size}
	if u.o.Verify == VerifyFull || u.o.Verify == VerifyAuto && size <= autoBytes && u.etagsOf(to.bucket) != otherETags {
		b.sum = newRunning()
	}
	return b
}

func (u *Uploader) partBody(src io.ReaderAt, p Piece) *body {
	b := &body{src: src, off: p.Off, size: p.Len}
	if u.o.Verify == VerifyFull {
		b.sum = newRunning()
	}
	return b
}

// verifyPut holds a PUT's answer against what was sent. An ETag that is not the bytes' MD5 need not mean other bytes: where
// nobody asked for more (VerifyAuto), the object is read again to find that out, once for a bucket.
func (u *Uploader) verifyPut(ctx context.Context, to target, etag string, b *body) error {
	err := b.verify("PUT Object", to, etag)
	if b.sum == nil || u.o.Verify == VerifyFull {
		return err
	}
	switch {
	case !isMD5(etag):
		u.learnOther(to.bucket)
		return nil
	case err == nil:
		u.learn(to.bucket, md5ETags)
		return nil
	}
	if err := acquire(ctx, u.learning); err != nil { // one at a time, so that it costs a bucket one read
		return err
	}
	defer release(u.learning)
	if u.etagsOf(to.bucket) == otherETags {
		return nil
	}
	same, rerr := u.stored(ctx, to, etag, b)
	switch {
	case rerr != nil:
		return errors.Join(err, fmt.Errorf("read it again: %w", goneAfterwards(rerr)))
	case !same:
		return err
	}
	u.learnOther(to.bucket)
	return nil
}

func (u *Uploader) learnOther(bucket string) {
	if u.learn(bucket, otherETags) {
		u.o.Log.Info("the ETags of a bucket are not MD5s: what is sent there is not verified", "bucket", bucket)
	}
}

// stored reads an object and says whether it is what was sent.
func (u *Uploader) stored(ctx context.Context, to target, etag string, b *body) (bool, error) {
	rc, _, err := u.o.Store.Get(s3client.Patient(ctx), s3client.GetRequest{Bucket: to.bucket, Key: to.key, ETag: etag})
	if err != nil {
		return false, err
	}
	defer rc.Close()
	h := md5.New()
	if _, err := io.Copy(h, rc); err != nil {
		return false, err
	}
	want, err := b.md5()
	return err == nil && hex.EncodeToString(h.Sum(nil)) == want, err
}

// verifyJoined holds a completed object's ETag against its parts'. Where one of them has another form it proves nothing.
func (u *Uploader) verifyJoined(to target, etag string, parts []s3client.Part) error {
	if u.o.Verify != VerifyFull {
		return nil
	}
	want, ok := joinedETag(parts)
	sum, number, dashed := strings.Cut(etag, "-")
	_, wantNumber, _ := strings.Cut(want, "-")
	if !ok || !dashed || number != wantNumber || !isMD5(sum) || etag == want {
		return nil
	}
	return &s3client.Error{Op: "POST Complete Multipart Upload", Bucket: to.bucket, Key: to.key, Kind: s3client.Unknown,
		Code: "ETagMismatch", Message: fmt.Sprintf("the object's ETag is %s, its parts make %s", etag, want), Err: errJoined}
}

// joinedETag is the ETag that nearly all stores give to a multipart object: the MD5 of its parts' MD5s, and their number.
func joinedETag(parts []s3client.Part) (string, bool) {
	h := md5.New()
	for _, p := range parts {
		raw, err := hex.DecodeString(p.ETag)
		if err != nil || len(raw) != md5.Size {
			return "", false
		}
		h.Write(raw)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(parts)), len(parts) > 0
}

func isMD5(etag string) bool {
	raw, err := hex.DecodeString(etag)
	return err == nil && len(raw) == md5.Size
}

// verify compares an answer's ETag with the MD5 of what was sent; an ETag of another form proves nothing.
func (b *body) verify(op string, to target, etag string) error {
	if b.sum == nil || !isMD5(etag) {
		return nil
	}
	want, err := b.md5()
	if err != nil || strings.EqualFold(etag, want) {
		return err
	}
	return &s3client.Error{Op: op, Bucket: to.bucket, Key: to.key, Kind: s3client.Unknown, Code: "ETagMismatch",
		Message: fmt.Sprintf("the store says it got %s, the MD5 of the %d bytes sent is %s", etag, b.size, want)}
}

// md5 is the sum of the bytes as the request took them. Where it did not take them in order they are read again.
func (b *body) md5() (string, error) {
	if sum, ok := b.sum.of(b.size); ok {
		return sum, nil
	}
	return sumOf(b.src, b.off, b.size)
}

// hashChunk is how much is read at once only to be hashed.
const hashChunk = 256 * 1024

// sumOf is the MD5 of a stretch of a file.
func sumOf(src io.ReaderAt, off, size int64) (string, error) {
	h := md5.New()
	n, err := io.CopyBuffer(h, io.NewSectionReader(src, off, size), make([]byte, min(hashChunk, max(size, 1))))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", fmt.Errorf("read what is to be verified: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// running hashes a body on its way. A request that is repeated begins at 0 anew.
type running struct {
	mu struct {
		sync.Mutex
		h     hash.Hash
		n     int64 // bytes hashed
		apart bool  // not read in order
	}
}

func newRunning() *running {
	r := &running{}
	r.mu.h = md5.New()
	return r
}

func (r *running) read(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if off == 0 {
		r.mu.h.Reset()
		r.mu.n, r.mu.apart = 0, false
	}
	if r.mu.apart = r.mu.apart || off != r.mu.n; r.mu.apart {
		return
	}
	r.mu.h.Write(p)
	r.mu.n += int64(len(p))
}

// of is the sum if all size bytes were read in order.
func (r *running) of(size int64) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.apart || r.mu.n != size {
		return "", false
	}
	return hex.EncodeToString(r.mu.h.Sum(nil)), true
}
