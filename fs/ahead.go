package fs

import (
	"context"
	"path"
	"syscall"

	"pailfs/cache"
	"pailfs/fs/ahead"
	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

// Attributes answers tree's question for a file's attributes by a GET of its first bytes where the file is likely to be
// opened next: the answer carries them, and whoever reads tells tree (tree.Learn). The empty Object says so; else, and
// where the GET fails, tree asks for the attributes alone. files is called at each question: content is built after tree.
func Attributes(dirs *ahead.Dirs, files func() *content.Files, head func(context.Context, tree.Entry) (s3client.Object, error),
) func(context.Context, tree.Entry) (s3client.Object, error) {
	return func(ctx context.Context, e tree.Entry) (s3client.Object, error) {
		dir, name := path.Split(e.Path)
		if n := dirs.Looked(dir, itemOf(name, e)); n > 0 {
			if err := files().Peek(ctx, versionOf(e), n); err == nil {
				return s3client.Object{}, nil
			}
		}
		return head(ctx, e)
	}
}

func itemOf(name string, e tree.Entry) ahead.Item {
	return ahead.Item{Name: name, ETag: e.ETag, Size: e.Size}
}

// dirNames is what tree knows of one directory.
type dirNames struct {
	tree *tree.Tree
	dir  string // with a slash at its end; "" the top
}

func (d dirNames) Between(first, second string) (int, bool) {
	return d.tree.Between(d.dir+first, d.dir+second)
}

func (d dirNames) Following(name string, n int) []ahead.Item {
	var out []ahead.Item
	for _, e := range d.tree.Following(d.dir+name, n) {
		if e.Mode&syscall.S_IFMT == syscall.S_IFREG && !e.Pending && e.ETag != "" {
			out = append(out, itemOf(path.Base(e.Path), e))
		}
	}
	return out
}

// opened tells the readahead of small files that one was opened for reading, and carries out what it says.
func (f *face) opened(e tree.Entry) {
	dir, name := path.Split(e.Path)
	do := f.ahead.Opened(dir, name, dirNames{f.tree, dir})
	version := func(i ahead.Item) cache.Version {
		bucket, key, err := f.tree.Locate(dir + i.Name)
		if err != nil {
			return cache.Version{} // it has no bytes
		}
		return cache.Version{Bucket: bucket, Key: key, ETag: i.ETag, Size: i.Size}
	}
	for _, i := range do.Drop {
		f.files.NotAhead(version(i))
	}
	for n, i := range do.Files {
		f.files.Ahead(version(i), do.Bytes[n])
	}
}
