package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

const (
	sampleFiles   = 3000 // in 60 directories of 50
	filesInFolder = 50
	uploaders     = 16
)

// sample is one object of the sample buckets.
type sample struct {
	bucket, key, contentType string
	size                     int64
	body                     func() io.Reader
}

func text(bucket, key, contentType, s string) sample {
	return sample{bucket, key, contentType, int64(len(s)), func() io.Reader { return strings.NewReader(s) }}
}

// samples lists the objects of the sample buckets; it makes the content of none.
func samples(o options) []sample {
	const welcome = `Welcome. Every file here is an object of an S3 bucket, and every object is a file.

  ls -l            a listing of the bucket, "/" in keys as directories
  cat, cp, vim     read and write objects
  mv, rm, mkdir    work on objects, too
  rsync, tar, git  do not notice that there is no disk

Whatever you write is an object under the same name as soon as the program has closed the file.
`
	list := []sample{
		text("documents", "README.txt", "text/plain; charset=utf-8", welcome),
		text("documents", "notes/2024/january.md", "text/markdown", "# January\n\n- buckets are directories\n- objects are files\n"),
		text("documents", "notes/2024/february.md", "text/markdown", "# February\n\n- nothing was lost\n"),
		text("documents", "보고서/2024년 3분기 보고서.txt", "text/plain; charset=utf-8", "매출이 늘었습니다.\n한글 이름과 빈칸이 있는 객체입니다.\n"),
		text("documents", "letters/to the office.txt", "text/plain; charset=utf-8", "Dear office,\n\nplease find the files attached.\n"),
		text("documents", "config/settings.json", "application/json", "{\n  \"region\": \"KR1\",\n  \"buckets\": [\"documents\", \"photos\", \"backups\"]\n}\n"),
		text("documents", "data/numbers.csv", "text/csv", numbers()),
		text("documents", "empty", "application/octet-stream", ""),
	}
	for i := range sampleFiles {
		key := fmt.Sprintf("archive/day-%02d/event-%04d.log", i/filesInFolder, i)
		list = append(list, text("events", key, "text/plain", event(i)))
	}
	return append(list, sample{"backups", "disk-image.bin", "application/octet-stream", o.sampleBytes, func() io.Reader {
		return io.LimitReader(rand.NewChaCha8([32]byte{'s', 'a', 'm', 'p', 'l', 'e'}), o.sampleBytes)
	}})
}

func numbers() string {
	var b strings.Builder
	b.WriteString("n,square\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "%d,%d\n", i, i*i)
	}
	return b.String()
}

func event(i int) string {
	return strings.Repeat(fmt.Sprintf("day %02d event %04d level=info msg=\"object stored\" bytes=%d\n", i/filesInFolder, i, i*512), 1+i%8)
}

// makeSamples makes the buckets and objects that are missing, over S3 as any client would.
func makeSamples(ctx context.Context, endpoint string, o options) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	c, err := minio.New(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(o.access, o.secret, ""),
		Region:       o.region,
		BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return err
	}
	list := samples(o)
	for _, bucket := range []string{"documents", "events", "backups", "empty-bucket"} {
		there, err := c.BucketExists(ctx, bucket)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if err := c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{Region: o.region}); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploaders)
	for _, s := range list {
		g.Go(func() error { return put(ctx, c, s) })
	}
	return g.Wait()
}

func put(ctx context.Context, c *minio.Client, s sample) error {
	if st, err := c.StatObject(ctx, s.bucket, s.key, minio.StatObjectOptions{}); err == nil && st.Size == s.size {
		return nil // of an earlier run
	}
	_, err := c.PutObject(ctx, s.bucket, s.key, s.body(), s.size, minio.PutObjectOptions{
		ContentType: s.contentType, DisableContentSha256: true, PartSize: 16 << 20,
	})
	if err != nil {
		return fmt.Errorf("put %s/%s: %w", s.bucket, s.key, err)
	}
	return nil
}
