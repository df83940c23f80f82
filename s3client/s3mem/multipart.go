package s3mem

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pailfs/s3client"
)

// upload is an unfinished multipart upload. Guarded by Store.mu.
type upload struct {
	key, id   string
	initiated time.Time
	headers   s3client.Headers
	parts     map[int]part
}

// part is an uploaded part. Immutable.
type part struct {
	content content
	sum     [md5.Size]byte
}

func (p part) etag() string { return hex.EncodeToString(p.sum[:]) }

func (p part) describe(number int) s3client.Part {
	return s3client.Part{Number: number, ETag: p.etag(), Size: p.content.size()}
}

// uploadLocked is the call's upload or NotFound.
func (s *Store) uploadLocked(c call, id string) (*bucket, *upload, error) {
	b, err := s.findLocked(c)
	if err != nil {
		return nil, nil, err
	}
	u := b.uploads[id]
	if u == nil || u.key != c.key {
		return b, nil, c.fail(s3client.NotFound, 404, "NoSuchUpload", "")
	}
	return b, u, nil
}

// CreateUpload implements s3client.Store.
func (s *Store) CreateUpload(ctx context.Context, bucket, key string, h s3client.Headers) (string, error) {
	c := call{"Initiate Multipart Upload", bucket, key}
	if err := s.start(ctx, c, "CreateUpload"); err != nil {
		return "", err
	}
	if err := c.checkKey(); err != nil {
		return "", err
	}
	headers, err := s.storedHeaders(c, h)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.findLocked(c)
	if err != nil {
		return "", err
	}
	if s.swift {
		headers.Meta = dashed(headers.Meta)
	}
	s.mu.uploads++
	u := &upload{key: key, id: fmt.Sprintf("upload/%06d+=", s.mu.uploads), initiated: s.modified(), headers: headers,
		parts: make(map[int]part)}
	b.uploads[u.id] = u
	return u.id, nil
}

// dashed has "-" for "_" in the names, as metadata comes out of Swift's uploads.
func dashed(meta map[string]string) map[string]string {
	out := make(map[string]string, len(meta))
	for name, v := range meta {
		out[strings.ReplaceAll(name, "_", "-")] = v
	}
	return out
}

// checkNumber refuses part numbers beyond the store's.
func (s *Store) checkNumber(c call, number int) error {
	if number < 1 || number > s.profile.MaxParts {
		return c.fail(s3client.Invalid, 400, "InvalidArgument", fmt.Sprintf("part number %d", number))
	}
	return nil
}

// UploadPart implements s3client.Store.
func (s *Store) UploadPart(ctx context.Context, req s3client.PartRequest) (s3client.Part, error) {
	c := call{"Upload Part", req.Bucket, req.Key}
	if err := s.start(ctx, c, "UploadPart"); err != nil {
		return s3client.Part{}, err
	}
	if err := s.checkNumber(c, req.Number); err != nil {
		return s3client.Part{}, err
	}
	if req.Size > s.profile.MaxPart {
		return s3client.Part{}, c.fail(s3client.TooLarge, 400, "EntityTooLarge", "")
	}
	p, err := s.readBody(ctx, c, req.Body, req.Size)
	if err != nil {
		return s3client.Part{}, err
	}
	made := part{content: bytesContent(p)}
	made.sum = made.content.sum()
	s.mu.Lock()
	defer s.mu.Unlock()
	_, u, err := s.uploadLocked(c, req.UploadID)
	if err != nil {
		return s3client.Part{}, err
	}
	u.parts[req.Number] = made
	return made.describe(req.Number), nil
}

// CopyPart implements s3client.Store.
func (s *Store) CopyPart(ctx context.Context, req s3client.CopyPartRequest) (s3client.Part, error) {
	c := call{"Upload Part Copy", req.Bucket, req.Key}
	if err := s.start(ctx, c, "CopyPart"); err != nil {
		return s3client.Part{}, err
	}
	if err := s.checkNumber(c, req.Number); err != nil {
		return s3client.Part{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, u, err := s.uploadLocked(c, req.UploadID)
	if err != nil {
		return s3client.Part{}, err
	}
	src, err := s.objectLocked(call{c.op, req.SrcBucket, req.SrcKey}, req.SrcETag)
	if err != nil {
		return s3client.Part{}, err
	}
	length, err := s.copyLength(c, req, src.content.size())
	if err != nil {
		return s3client.Part{}, err
	}
	made := part{content: src.content.slice(req.Offset, length)}
	made.sum = made.content.sum()
	u.parts[req.Number] = made
	return made.describe(req.Number), nil
}

// copyLength is how many bytes a CopyPart copies: Swift cuts a range at the source's end, AWS refuses it.
func (s *Store) copyLength(c call, req s3client.CopyPartRequest, size int64) (int64, error) {
	end := req.Offset + req.Length
	switch {
	case req.Offset < 0 || req.Length <= 0 || req.Offset >= size || end > size && !s.swift:
		return 0, c.fail(s3client.Invalid, 400, "InvalidArgument",
			fmt.Sprintf("range of %d bytes at %d of a source of %d bytes", req.Length, req.Offset, size))
	case req.Length > s.profile.MaxPart:
		return 0, c.fail(s3client.TooLarge, 400, "EntityTooLarge", "")
	}
	return min(end, size) - req.Offset, nil
}

// CompleteUpload implements s3client.Store. Completing again what lies under the key is a success, as on Swift.
func (s *Store) CompleteUpload(ctx context.Context, req s3client.CompleteRequest) (s3client.Object, error) {
	c := call{"Complete Multipart Upload", req.Bucket, req.Key}
	if err := s.start(ctx, c, "CompleteUpload"); err != nil {
		return s3client.Object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, u, err := s.uploadLocked(c, req.UploadID)
	if err != nil {
		if b != nil && b.objects[req.Key] != nil && b.objects[req.Key].upload == req.UploadID {
			return b.objects[req.Key].describe(c), nil
		}
		return s3client.Object{}, err
	}
	o, err := s.joinLocked(c, u, req.Parts)
	if err != nil {
		return s3client.Object{}, err
	}
	if req.Size != 0 && req.Size != o.content.size() {
		return s3client.Object{}, c.fail(s3client.Invalid, 400, "InvalidRequest",
			fmt.Sprintf("Size says %d bytes, the parts have %d", req.Size, o.content.size()))
	}
	if req.IfAbsent && b.objects[req.Key] != nil {
		return s3client.Object{}, c.fail(s3client.Exists, 412, "PreconditionFailed", "")
	}
	delete(b.uploads, u.id)
	s.setLocked(b, req.Key, o)
	return o.describe(c), nil
}

// joinLocked makes the object of an upload's parts.
func (s *Store) joinLocked(c call, u *upload, parts []s3client.Part) (*object, error) {
	if len(parts) == 0 {
		return nil, c.fail(s3client.Invalid, 400, "MalformedXML", "no parts")
	}
	var extents []extent
	var sums []byte
	for i, want := range parts {
		if i > 0 && want.Number <= parts[i-1].Number {
			return nil, c.fail(s3client.Invalid, 400, "InvalidPartOrder", "")
		}
		p, ok := u.parts[want.Number]
		if !ok || p.etag() != want.ETag {
			return nil, c.fail(s3client.Invalid, 400, "InvalidPart", fmt.Sprintf("part %d", want.Number))
		}
		if i < len(parts)-1 && p.content.size() < s.profile.MinPart {
			return nil, c.fail(s3client.Invalid, 400, "EntityTooSmall",
				fmt.Sprintf("part %d has %d bytes", want.Number, p.content.size()))
		}
		extents = append(extents, p.content.extents...)
		sums = append(sums, p.sum[:]...)
	}
	sum := md5.Sum(sums)
	return &object{content: newContent(extents...), etag: fmt.Sprintf("%x-%d", sum, len(parts)),
		modified: s.modified(), headers: u.headers, upload: u.id}, nil
}

// AbortUpload implements s3client.Store.
func (s *Store) AbortUpload(ctx context.Context, bucket, key, uploadID string) error {
	c := call{"Abort Multipart Upload", bucket, key}
	if err := s.start(ctx, c, "AbortUpload"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, u, err := s.uploadLocked(c, uploadID)
	if err != nil {
		return err
	}
	delete(b.uploads, u.id)
	return nil
}

// Parts implements s3client.Store.
func (s *Store) Parts(ctx context.Context, bucket, key, uploadID string) ([]s3client.Part, error) {
	c := call{"List Parts", bucket, key}
	if err := s.start(ctx, c, "Parts"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, u, err := s.uploadLocked(c, uploadID)
	if err != nil {
		return nil, err
	}
	var out []s3client.Part
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		out = append(out, u.parts[n].describe(n))
	}
	return out, nil
}

// Uploads implements s3client.Store: by key, then by id.
func (s *Store) Uploads(ctx context.Context, bucket, prefix string) ([]s3client.Upload, error) {
	c := call{op: "List Multipart Uploads", bucket: bucket}
	if err := s.start(ctx, c, "Uploads"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.findLocked(c)
	if err != nil {
		return nil, err
	}
	return b.uploadsLocked(prefix), nil
}

func (b *bucket) uploadsLocked(prefix string) []s3client.Upload {
	var out []s3client.Upload
	for _, u := range b.uploads {
		if strings.HasPrefix(u.key, prefix) {
			out = append(out, s3client.Upload{Key: u.key, ID: u.id, Initiated: u.initiated})
		}
	}
	slices.SortFunc(out, func(x, y s3client.Upload) int {
		return strings.Compare(x.Key+"\x00"+x.ID, y.Key+"\x00"+y.ID)
	})
	return out
}
