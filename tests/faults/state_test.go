package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pailfs/s3client"
)

// object is what a store has, or should have, under a key. Of one that should be there meta are those fields that must be so.
type object struct {
	content string
	meta    map[string]string
}

func (o object) String() string {
	if len(o.content) < 40 {
		return fmt.Sprintf("%q %v", o.content, o.meta)
	}
	return fmt.Sprintf("%d bytes %.8q... %v", len(o.content), o.content, o.meta)
}

// state is the objects below a directory, by the rest of their keys.
type state map[string]object

func (s state) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, " %s=%v", key, s[key])
	}
	return "{" + strings.TrimSpace(b.String()) + "}"
}

// is says whether what the store has is this.
func (s state) is(stored state) bool {
	if len(s) != len(stored) {
		return false
	}
	for key, want := range s {
		got, there := stored[key]
		if !there || got.content != want.content {
			return false
		}
		for name, value := range want.meta {
			if got.meta[name] != value {
				return false
			}
		}
	}
	return true
}

// inStore reads what the store has below a prefix, past the mount.
func (w *worker) inStore(bucket, prefix string) (state, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	page, err := w.s.Client.List(ctx, s3client.ListRequest{Bucket: bucket, Prefix: prefix})
	if err != nil {
		return nil, err
	}
	all := state{}
	for _, o := range page.Objects {
		body, got, err := w.s.Client.Get(ctx, s3client.GetRequest{Bucket: bucket, Key: o.Key})
		if errors.Is(err, s3client.NotFound) {
			continue // it has gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(body)
		body.Close()
		if err != nil {
			return nil, err
		}
		one := object{content: string(content)}
		if got.Headers != nil {
			one.meta = got.Headers.Meta
		}
		all[strings.TrimPrefix(o.Key, prefix)] = one
	}
	return all, nil
}

// view is what the mount shows below a directory: files with their content, links with their target, directories with a
// slash behind them.
func view(dir string) (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d iofs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		switch fi.Mode().Type() {
		case iofs.ModeDir:
			all[name+"/"] = ""
		case iofs.ModeSymlink:
			all[name], err = os.Readlink(path)
		default:
			var content []byte
			content, err = os.ReadFile(path)
			all[name] = string(content)
		}
		return err
	})
	return all, err
}

// shown is the view that a mount has of a state: implied directories among them.
func (s state) shown() map[string]string {
	all := map[string]string{}
	for key, o := range s {
		for i := range key {
			if key[i] == '/' {
				all[key[:i+1]] = ""
			}
		}
		if !strings.HasSuffix(key, "/") {
			all[key] = o.content
		}
	}
	return all
}

// differ says in a few words how two views differ.
func differ(got, want map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if c, there := got[name]; !there {
			fmt.Fprintf(&b, " %s is missing;", name)
		} else if c != want[name] {
			fmt.Fprintf(&b, " %s is %s, not %s;", name, brief(c), brief(want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, there := want[name]; !there {
			fmt.Fprintf(&b, " %s is too many;", name)
		}
	}
	return b.String()
}

func brief(s string) string {
	if len(s) < 30 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%d bytes %.6q", len(s), s)
}

// noise is content that is the same for the same number.
func noise(seed, n int) string {
	b := make([]byte, 0, n+16)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d:%x.", i, (seed+1)*(i+7)*2654435761)
	}
	return string(bytes.Clone(b[:n]))
}
