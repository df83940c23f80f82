package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// TestABodyThatIsCutOffIsNotStored sends a part of what it has announced and no more, as a client does that is killed.
func TestABodyThatIsCutOffIsNotStored(t *testing.T) {
	c := startProcess(t).client(t, "KR1", "secretkey")
	ctx := t.Context()
	if err := c.MakeBucket(ctx, "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, sent := range []int{10, 300_000} {
		u, err := c.Client.PresignedPutObject(ctx, "bucket", "torn", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", u.RequestURI(), u.Host, sent+1000, bytes.Repeat([]byte("x"), sent)); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
			t.Errorf("%d bytes of %d: %q, %v", sent, sent+1000, answer, err)
		}
		if o, err := c.Client.StatObject(ctx, "bucket", "torn", minio.StatObjectOptions{}); err == nil {
			t.Errorf("%d bytes of %d are an object of %d", sent, sent+1000, o.Size)
		}
	}
}
