package store

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// segment is a part of an object's content: a range of a file that nobody else has.
type segment struct {
	path      string
	off, size int64
}

// object is one version of an object; it does not change.
type object struct {
	segments []segment // a multipart upload's parts stay files of their own
	size     int64
	etag     string // without quotes
	modified time.Time
	header   http.Header // Content-Type, X-Amz-Meta-... as they were given
}

type bucket struct {
	created time.Time
	keys    []string // sorted
	objects map[string]*object
}

// objects is everything the store has.
type objects struct {
	dir string
	mu  struct {
		sync.RWMutex
		buckets map[string]*bucket
		uploads map[string]*upload
		files   int64 // made so far; names the next one
	}
}

func newObjects(dir string) *objects {
	o := &objects{dir: dir}
	o.mu.buckets, o.mu.uploads = map[string]*bucket{}, map[string]*upload{}
	return o
}

// newPath names a file nobody else has.
func (o *objects) newPath() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.files++
	return filepath.Join(o.dir, fmt.Sprintf("%08d", o.mu.files))
}

// put makes obj the bucket's object of that key, unless the bucket is gone or, with fresh, the key is there.
func (o *objects) put(bucketName, key string, obj *object, fresh bool) (status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b, ok := o.mu.buckets[bucketName]
	if !ok {
		return http.StatusNotFound
	}
	old, there := b.objects[key]
	if there && fresh {
		return http.StatusPreconditionFailed
	}
	if !there {
		i, _ := slices.BinarySearch(b.keys, key)
		b.keys = slices.Insert(b.keys, i, key)
	} else {
		removeFiles(old.segments)
	}
	b.objects[key] = obj
	return http.StatusOK
}

// remove removes an object; one that is not there is no error.
func (o *objects) remove(bucketName, key string) (bucketThere bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b, ok := o.mu.buckets[bucketName]
	if !ok {
		return false
	}
	old, there := b.objects[key]
	if !there {
		return true
	}
	i, _ := slices.BinarySearch(b.keys, key)
	b.keys = slices.Delete(b.keys, i, i+1)
	delete(b.objects, key)
	removeFiles(old.segments)
	return true
}

// find finds an object, nil when there is none.
func (o *objects) find(bucketName, key string) (obj *object, bucketThere bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	b, ok := o.mu.buckets[bucketName]
	if !ok {
		return nil, false
	}
	return b.objects[key], true
}

// link gives a copy of segments, or of a range of them, under names of their own. It costs nothing.
func (o *objects) link(from []segment, off, n int64) ([]segment, error) {
	var out []segment
	for _, s := range cut(from, off, n) {
		path := o.newPath()
		if err := os.Link(s.path, path); err != nil {
			removeFiles(out)
			return nil, err
		}
		out = append(out, segment{path, s.off, s.size})
	}
	return out, nil
}

// cut is [off, off+n) of segments.
func cut(from []segment, off, n int64) []segment {
	var out []segment
	for _, s := range from {
		if off >= s.size {
			off -= s.size
			continue
		}
		if n <= 0 {
			break
		}
		take := min(n, s.size-off)
		out = append(out, segment{s.path, s.off + off, take})
		off, n = 0, n-take
	}
	return out
}

// removeFiles removes what nobody refers to any more. Who has it open reads on.
func removeFiles(l []segment) {
	for _, s := range l {
		os.Remove(s.path) // it is gone already, or goes with the directory
	}
}

// opened is a range of an object, open: it can be read whatever becomes of the object.
type opened struct {
	files []*os.File
	sizes []int64
}

func openSegments(l []segment) (*opened, error) {
	o := &opened{}
	for _, s := range l {
		f, err := os.Open(s.path)
		if err == nil {
			o.files, o.sizes = append(o.files, f), append(o.sizes, s.size)
			if s.off > 0 {
				_, err = f.Seek(s.off, io.SeekStart)
			}
		}
		if err != nil {
			o.close()
			return nil, err
		}
	}
	return o, nil
}

func (o *opened) close() {
	for _, f := range o.files {
		f.Close()
	}
}

// copyTo sends everything; from a file to a connection that is sendfile(2).
func (o *opened) copyTo(w io.Writer) (sent int64, err error) {
	for i, f := range o.files {
		n, err := io.CopyN(w, f, o.sizes[i])
		if sent += n; err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (o *opened) reader() io.Reader {
	l := make([]io.Reader, len(o.files))
	for i, f := range o.files {
		l[i] = io.LimitReader(f, o.sizes[i])
	}
	return io.MultiReader(l...)
}
