package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3response"
)

// CopyObject gives an object that is copied onto itself, for new metadata, the time of the copy, as other stores do. The
// gateway leaves the file as it is, so that nobody could see in a listing that the object has changed.
func (w whole) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	out, err := w.Posix.CopyObject(ctx, in)
	if err != nil || in.Bucket == nil || in.Key == nil || in.CopySource == nil || out.CopyObjectResult == nil {
		return out, err
	}
	bucket, key, _, err := backend.ParseCopySource(*in.CopySource)
	if err != nil || bucket != *in.Bucket || key != *in.Key || strings.HasSuffix(key, "/") {
		return out, err
	}
	now := time.Now()
	err = os.Chtimes(filepath.Join(bucket, key), now, now) // the gateway works in its directory
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil // deleted meanwhile
	}
	if err != nil {
		return out, fmt.Errorf("date the copy: %w", err)
	}
	out.CopyObjectResult.LastModified = &now
	return out, nil
}
