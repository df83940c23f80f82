package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

const (
	parallel   = 16 // requests the bare client has in flight
	rangeBytes = 8 * mib
)

// raw is the bare client: minio-go with nothing between it and the program.
type raw struct {
	core      minio.Core
	transport *http.Transport
}

// newRaw makes a client without connections, as a fresh mount has none.
func newRaw(endpoint string, connections int) (*raw, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	tr, err := minio.DefaultTransport(false)
	if err != nil {
		return nil, err
	}
	tr.MaxIdleConnsPerHost = connections
	c, err := minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: region,
		Transport: tr, BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return nil, err
	}
	return &raw{*c, tr}, nil
}

func (r *raw) close() { r.transport.CloseIdleConnections() }

// piece is a range of an object.
type piece struct {
	object
	off, n int64
}

// pieces cuts objects into the bare client's requests.
func pieces(objects ...object) (l []piece) {
	for _, o := range objects {
		for off := int64(0); off < o.size; off += rangeBytes {
			l = append(l, piece{o, off, min(rangeBytes, o.size-off)})
		}
	}
	return l
}

// read fetches pieces, so many at once, comparing each. The buffers are as many as that.
func (r *raw) read(ctx context.Context, l []piece, buffers [][]byte) error {
	free := make(chan []byte, len(buffers))
	for _, b := range buffers {
		free <- b
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(len(buffers))
	for _, p := range l {
		g.Go(func() error {
			buf := <-free
			defer func() { free <- buf }()
			return r.readPiece(ctx, p, buf[:p.n])
		})
	}
	return g.Wait()
}

func (r *raw) readPiece(ctx context.Context, p piece, buf []byte) error {
	body, err := r.open(ctx, p)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.ReadFull(body, buf); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, body); err != nil { // to its end, so that the connection is used again
		return err
	}
	return p.content.check(buf, p.off)
}

func (r *raw) open(ctx context.Context, p piece) (io.ReadCloser, error) {
	var o minio.GetObjectOptions
	if p.n < p.size {
		if err := o.SetRange(p.off, p.off+p.n-1); err != nil {
			return nil, err
		}
	}
	body, _, _, err := r.core.GetObject(ctx, bucket, p.key, o)
	return body, err
}

// write uploads an object by parallel parts.
func (r *raw) write(ctx context.Context, key string, data []byte) error {
	id, err := r.core.NewMultipartUpload(ctx, bucket, key, minio.PutObjectOptions{})
	if err != nil {
		return err
	}
	parts := make([]minio.CompletePart, (len(data)+rangeBytes-1)/rangeBytes)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range parts {
		g.Go(func() error {
			b := data[i*rangeBytes : min((i+1)*rangeBytes, len(data))]
			p, err := r.core.PutObjectPart(gctx, bucket, key, id, i+1, bytes.NewReader(b), int64(len(b)),
				minio.PutObjectPartOptions{DisableContentSha256: true})
			if err != nil {
				return fmt.Errorf("part %d: %w", i+1, err)
			}
			parts[i] = minio.CompletePart{PartNumber: i + 1, ETag: p.ETag}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = r.core.CompleteMultipartUpload(ctx, bucket, key, id, parts, minio.PutObjectOptions{})
	return err
}

// put stores an object in one request.
func (r *raw) put(ctx context.Context, o object) error {
	_, err := r.core.PutObject(ctx, bucket, o.key, o.content.reader(), o.size, "", "", minio.PutObjectOptions{DisableContentSha256: true})
	if err != nil {
		return fmt.Errorf("preparing %s: %w", o.key, err)
	}
	return nil
}

// list is the directory's keys in their order.
func (r *raw) list(prefix string) (keys []string, err error) {
	for token := ""; ; {
		page, err := r.core.ListObjectsV2(bucket, prefix, "", token, "/", 1000)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, o.Key)
		}
		if !page.IsTruncated {
			return keys, nil
		}
		token = page.NextContinuationToken
	}
}

// same compares a whole object.
func (r *raw) same(ctx context.Context, key string, want []byte) error {
	body, info, _, err := r.core.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer body.Close()
	if info.Size != int64(len(want)) {
		return fmt.Errorf("%s has %d bytes, not %d", key, info.Size, len(want))
	}
	buf := make([]byte, rangeBytes)
	for off := 0; off < len(want); off += len(buf) {
		b := buf[:min(len(buf), len(want)-off)]
		if _, err := io.ReadFull(body, b); err != nil {
			return err
		}
		if !bytes.Equal(b, want[off:off+len(b)]) {
			return fmt.Errorf("%s differs between %d and %d", key, off, off+len(b))
		}
	}
	return nil
}

func (r *raw) remove(ctx context.Context, key string) error {
	return r.core.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{})
}
