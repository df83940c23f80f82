package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

// parallel is how many requests the bare client has in flight.
const parallel = 16

// raw is the bare client: minio-go with nothing between it and the program.
type raw struct {
	core      minio.Core
	transport *http.Transport
}

// newRaw makes a client without connections, as a fresh mount has none.
func newRaw(endpoint string) (*raw, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	tr, err := minio.DefaultTransport(false)
	if err != nil {
		return nil, err
	}
	tr.MaxIdleConnsPerHost = parallel
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

// read fetches the object by parallel ranges, comparing each, and returns how long it took.
func (r *raw) read(ctx context.Context, key string, c *content) (time.Duration, error) {
	began := time.Now()
	buffers := make(chan []byte, parallel)
	for range parallel {
		buffers <- make([]byte, rangeBytes)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range c.sums {
		g.Go(func() error {
			buf := <-buffers
			defer func() { buffers <- buf }()
			if err := r.readRange(ctx, key, i, buf); err != nil {
				return err
			}
			return c.check(i, buf)
		})
	}
	err := g.Wait()
	return time.Since(began), err
}

func (r *raw) readRange(ctx context.Context, key string, i int, buf []byte) error {
	var o minio.GetObjectOptions
	if err := o.SetRange(int64(i)*rangeBytes, int64(i+1)*rangeBytes-1); err != nil {
		return err
	}
	body, _, _, err := r.core.GetObject(ctx, bucket, key, o)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.ReadFull(body, buf); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, body) // to its end, so that the connection is used again
	return err
}

// write uploads the object by parallel parts and returns how long it took.
func (r *raw) write(ctx context.Context, key string, c *content) (time.Duration, error) {
	began := time.Now()
	id, err := r.core.NewMultipartUpload(ctx, bucket, key, minio.PutObjectOptions{})
	if err != nil {
		return 0, err
	}
	parts := make([]minio.CompletePart, len(c.sums))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range c.sums {
		g.Go(func() error {
			p, err := r.core.PutObjectPart(gctx, bucket, key, id, i+1, bytes.NewReader(c.part(i)), rangeBytes,
				minio.PutObjectPartOptions{DisableContentSha256: true})
			if err != nil {
				return fmt.Errorf("part %d: %w", i+1, err)
			}
			parts[i] = minio.CompletePart{PartNumber: i + 1, ETag: p.ETag}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	_, err = r.core.CompleteMultipartUpload(ctx, bucket, key, id, parts, minio.PutObjectOptions{})
	return time.Since(began), err
}
