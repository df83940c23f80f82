package s3client

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// BenchmarkPut sends parts from memory and from a file, and reports the client's processor time.
func BenchmarkPut(b *testing.B) {
	addr := startBenchServer(b)
	c, err := Open(Config{Endpoint: "http://" + addr, Region: "us-east-1", Provider: "swift", UserAgent: "pailfs/test",
		Credentials: CredentialsConfig{AccessKey: "access", SecretKey: "secret"}})
	if err != nil {
		b.Fatal(err)
	}
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: readBuffer}
	core, err := minio.NewCore(addr, &minio.Options{Creds: credentials.NewStaticV4("access", "secret", ""),
		Region: "us-east-1", Transport: tr, MaxRetries: 1, BucketLookup: minio.BucketLookupPath})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(); tr.CloseIdleConnections() })
	content := pattern(benchObject)
	file := fileOf(b, content)
	for _, tt := range []struct {
		size int64
		name string
		src  io.ReaderAt
	}{{4 << 10, "memory", bytes.NewReader(content)}, {benchObject, "memory", bytes.NewReader(content)}, {benchObject, "file", file}} {
		b.Run(fmt.Sprintf("%dKiB/%s/minio", tt.size>>10, tt.name), func(b *testing.B) {
			benchPut(b, tt.size, func() error {
				_, err := core.PutObjectPart(b.Context(), "bucket", "dir/key", "id", 1, io.NewSectionReader(tt.src, 0, tt.size),
					tt.size, minio.PutObjectPartOptions{DisableContentSha256: true})
				return err
			})
		})
		b.Run(fmt.Sprintf("%dKiB/%s/pailfs", tt.size>>10, tt.name), func(b *testing.B) {
			benchPut(b, tt.size, func() error {
				_, err := c.UploadPart(b.Context(), PartRequest{Bucket: "bucket", Key: "dir/key", UploadID: "id", Number: 1,
					Body: tt.src, Size: tt.size})
				return err
			})
		})
	}
}

func fileOf(b *testing.B, content []byte) *os.File {
	name := filepath.Join(b.TempDir(), "body")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

func benchPut(b *testing.B, size int64, put func() error) {
	b.ReportAllocs()
	b.SetBytes(size)
	began := cpu(b)
	for b.Loop() {
		if err := put(); err != nil {
			b.Fatal(err)
		}
	}
	used := cpu(b) - began
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(used.Seconds()/float64(int64(b.N)*size)*(1<<30), "cpu-s/GiB")
}
