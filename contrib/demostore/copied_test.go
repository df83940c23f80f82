package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// An object that is copied onto itself for new metadata has the time of the copy, in listings too.
func TestACopyOntoItselfIsLater(t *testing.T) {
	c := startProcess(t).client(t, "KR1", "secretkey")
	ctx := t.Context()
	if err := c.MakeBucket(ctx, "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(ctx, "bucket", "k", bytes.NewReader([]byte("x")), 1, "", "", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	first, err := c.Client.StatObject(ctx, "bucket", "k", minio.StatObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		got, err := c.Client.CopyObject(ctx, minio.CopyDestOptions{Bucket: "bucket", Object: "k", ReplaceMetadata: true,
			UserMetadata: map[string]string{"a": "1"}}, minio.CopySrcOptions{Bucket: "bucket", Object: "k"})
		if err != nil {
			t.Fatal(err)
		}
		now, err := c.Client.StatObject(ctx, "bucket", "k", minio.StatObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if now.UserMetadata["A"] != "1" || now.ETag != first.ETag || now.LastModified.Unix() != got.LastModified.Unix() {
			t.Fatalf("%+v; the copy said %v", now, got.LastModified)
		}
		if now.LastModified.After(first.LastModified) { // headers have whole seconds
			return
		}
		if time.Now().After(end) {
			t.Fatal("it stays as old as it was")
		}
	}
}
