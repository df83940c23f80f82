package main

import (
	"context"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3response"
)

// whole takes no body that ends before its Content-Length. The gateway's HTTP server reports a client that went away in
// the middle of a body as the body's end, and the gateway would store what had come until then: a torn object.
type whole struct{ *posix.Posix }

// PutObject refuses a body that is cut off.
func (w whole) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	in.Body = measured(in.Body, in.ContentLength)
	return w.Posix.PutObject(ctx, in)
}

// UploadPart refuses a body that is cut off.
func (w whole) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	in.Body = measured(in.Body, in.ContentLength)
	return w.Posix.UploadPart(ctx, in)
}

// errCutOff is no io.ErrUnexpectedEOF, which the gateway takes for the end of the body once more.
var errCutOff = errors.New("the body ended before its Content-Length")

// measuredReader is a body that must have so many bytes.
type measuredReader struct {
	io.Reader
	left int64
}

func measured(r io.Reader, length *int64) io.Reader {
	if r == nil || length == nil {
		return r
	}
	return &measuredReader{r, *length}
}

func (m *measuredReader) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.left -= int64(n)
	if err == io.EOF && m.left > 0 {
		err = errCutOff
	}
	return n, err
}
