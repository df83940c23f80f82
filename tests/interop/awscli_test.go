package interop

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pailfs/s3client"
)

// expect is what an object should be for another tool.
type expect struct {
	content []byte
	etag    string
	meta    map[string]string // some of it
	kind    string            // content type, "" for any
}

// check holds what a tool says of an object against it.
func (e expect) check(t *testing.T, key string, o object) {
	t.Helper()
	if size := max(o.Size, o.ContentLength); size != int64(len(e.content)) || o.ETag != e.etag {
		t.Errorf("%q: %d bytes with ETag %s, want %d with %s", key, size, o.ETag, len(e.content), e.etag)
	}
	if e.kind != "" && o.ContentType != "" && o.ContentType != e.kind {
		t.Errorf("%q: content type %q, want %q", key, o.ContentType, e.kind)
	}
	for name, want := range e.meta {
		if o.Metadata != nil && o.Metadata[name] != want {
			t.Errorf("%q: metadata %s is %q, want %q", key, name, o.Metadata[name], want)
		}
	}
}

// ofPailfs makes a tree on a mount and tells what the objects are for others.
func (w *world) ofPailfs(dir string) map[string]expect {
	w.t.Helper()
	large := noise(1, largeSize)
	marker := func(mode string) expect {
		return expect{etag: etagOf(nil, 0), meta: map[string]string{"mode": mode, "uid": "0", "gid": "0"}, kind: "application/directory"}
	}
	if w.s.Name == "versitygw" { // the content type of a key that ends in a slash is its own
		marker = func(string) expect { return expect{etag: etagOf(nil, 0)} }
	}
	all := map[string]expect{
		"tree/":          marker("16877"),
		"tree/deep/":     marker("16872"),
		"tree/odd/":      marker("16877"),
		"tree/note.txt":  {content: []byte("some text\n"), meta: map[string]string{"mode": "33184", "uid": "1000", "gid": "1001", "mtime": "981173106.123456789"}, kind: "text/plain; charset=utf-8"},
		"tree/empty":     {meta: map[string]string{"mode": "33188"}, kind: "application/octet-stream"},
		"tree/deep/link": {content: []byte("../note.txt"), meta: map[string]string{"mode": "41471"}},
		"tree/suid":      {content: []byte("suid"), meta: map[string]string{"mode": "35309"}},
		"large.bin":      {content: large, etag: etagOf(large, firstPart), meta: map[string]string{"mode": "33188"}},
	}
	for i, name := range w.names() {
		all["tree/odd/"+name] = expect{content: noise(i, 10+i)}
	}
	sh(w.t, dir, `umask 022; mkdir -p tree/deep tree/odd; chmod 750 tree/deep
		printf 'some text\n' >tree/note.txt; chmod 640 tree/note.txt; chown 1000:1001 tree/note.txt
		touch -d '2001-02-03 04:05:06.123456789' tree/note.txt
		: >tree/empty; chmod 644 tree/empty; ln -s ../note.txt tree/deep/link; printf suid >tree/suid; chmod 4755 tree/suid`)
	write(w.t, filepath.Join(dir, "large.bin"), large)
	for key, e := range all {
		if strings.HasPrefix(key, "tree/odd/") && key != "tree/odd/" {
			write(w.t, filepath.Join(dir, key), e.content)
		}
		if e.etag == "" {
			e.etag = etagOf(e.content, 0)
			all[key] = e
		}
	}
	return all
}

// What pailfs has written the AWS CLI lists, shows and fetches.
func TestTheAWSCLIReadsWhatPailfsWrote(t *testing.T) {
	w := newWorld(t)
	aws, m := w.awsCLI(), w.mount()
	all := w.ofPailfs(m.Dir)
	listed := aws.listed()
	if got, want := slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Fatalf("it lists\n%q, want\n%q", got, want)
	}
	for key, e := range all {
		e.check(t, key, listed[key])
	}
	for _, key := range []string{"tree/note.txt", "tree/deep/", "tree/deep/link", "large.bin"} {
		all[key].check(t, key, aws.object(key))
	}
	aws.run("s3", "sync", "--quiet", "s3://"+w.bucket, "copy")
	for key, e := range all {
		if !strings.HasSuffix(key, "/") { // it makes no directories of markers
			same(t, key, read(t, filepath.Join(w.home, "copy", key)), e.content)
		}
	}
	// A range of one version, across the seam of two parts.
	large := all["large.bin"]
	aws.run("s3api", "get-object", "--bucket", w.bucket, "--key", "large.bin", "--range", "bytes=8388600-8388699", "--if-match", large.etag, "range")
	same(t, "the range", read(t, filepath.Join(w.home, "range")), large.content[8388600:8388700])
	// What goes here goes there.
	sh(t, m.Dir, "rm -r tree")
	if got := slices.Collect(maps.Keys(aws.listed())); !slices.Equal(got, []string{"large.bin"}) {
		t.Errorf("after rm it lists %q", got)
	}
}

// What the AWS CLI has written pailfs shows and reads, and what pailfs changes of it keeps what pailfs does not know.
func TestPailfsReadsWhatTheAWSCLIWrote(t *testing.T) {
	w := newWorld(t)
	aws, m := w.awsCLI(), w.mount()
	local := filepath.Join(w.home, "local")
	for i, name := range append(w.names(), "deep/er/file", "empty") {
		write(t, filepath.Join(local, name), noise(i, 100*i))
	}
	write(t, filepath.Join(local, "empty"), nil)
	large := noise(2, largeSize)
	write(t, filepath.Join(w.home, "large"), large)
	aws.run("s3", "sync", "--quiet", "local", "s3://"+w.bucket+"/in")
	aws.run("s3", "cp", "--quiet", "large", "s3://"+w.bucket+"/large", "--content-type", "video/mp4", "--cache-control", "max-age=60",
		"--metadata", "mode=33184,uid=1000,gid=1001,mtime=981173106.5,colour=red")
	aws.run("s3api", "put-object", "--bucket", w.bucket, "--key", "marker/")

	sh(t, "/", "diff -r '"+local+"' '"+m.Path("in")+"'")
	if got, want := sh(t, m.Dir, "stat -c '%F %a %u:%g %s %.1Y' large marker"), "regular file 640 1000:1001 21000000 981173106.5\ndirectory 755 0:0 "; !strings.HasPrefix(got, want) {
		t.Errorf("stat: %q", got)
	}
	same(t, "large", read(t, m.Path("large")), large)
	expect{content: large, etag: etagOf(large, firstPart), kind: "video/mp4"}.check(t, "large", aws.object("large"))

	sh(t, m.Dir, "printf tail >>large; chmod 600 large")
	o := aws.object("large")
	if o.ContentType != "video/mp4" || o.CacheControl != "max-age=60" || o.Metadata["colour"] != "red" || o.Metadata["mode"] != "33152" {
		t.Errorf("after an append and a chmod: %+v", o)
	}
	aws.run("s3", "cp", "--quiet", "s3://"+w.bucket+"/large", "again")
	same(t, "what was appended to", read(t, filepath.Join(w.home, "again")), append(large, "tail"...))

	aws.run("s3", "mv", "--quiet", "s3://"+w.bucket+"/in/empty", "s3://"+w.bucket+"/moved")
	aws.run("s3api", "copy-object", "--bucket", w.bucket, "--key", "moved", "--copy-source", w.bucket+"/moved", "--metadata-directive", "REPLACE", "--metadata", "mode=33024")
	eventually(t, "the moved file with its new mode", func() bool {
		return sh(t, m.Dir, "ls in/empty 2>/dev/null || stat -c %a moved 2>/dev/null || true") == "400"
	})
	aws.run("s3", "rm", "--quiet", "--recursive", "s3://"+w.bucket+"/in")
	eventually(t, "what was removed is gone", func() bool {
		_, err := os.Stat(m.Path("in", "deep"))
		return os.IsNotExist(err)
	})
}

// A bucket that one makes the other uses and deletes; both say the same of it.
func TestBucketsOfTheAWSCLIAndOfPailfs(t *testing.T) {
	w := newWorld(t)
	aws := w.awsCLI()
	theirs, ours := w.bucket+"-aws", w.bucket+"-pailfs"
	aws.run("s3", "mb", "s3://"+theirs)
	w.pailfs(nil, "bucket", "create", ours)
	var list []struct{ Name string }
	if err := json.Unmarshal(w.pailfs(nil, "bucket", "list", "--json"), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range list {
		names = append(names, b.Name)
	}
	said := string(aws.run("s3", "ls"))
	for _, b := range []string{theirs, ours} {
		if !slices.Contains(names, b) || !strings.Contains(said, " "+b+"\n") {
			t.Errorf("%s: pailfs lists %q, the AWS CLI %q", b, names, said)
		}
		aws.run("s3api", "head-bucket", "--bucket", b)
		var at struct{ LocationConstraint string }
		if err := json.Unmarshal(aws.run("s3api", "get-bucket-location", "--bucket", b), &at); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(w.pailfs(nil, "bucket", "location", b))); got != at.LocationConstraint || !strings.EqualFold(got, w.s.Region) {
			t.Errorf("%s: pailfs says region %q, the AWS CLI %q", b, got, at.LocationConstraint)
		}
	}
	w.sameACL(aws, ours)
	w.pailfs(nil, "bucket", "delete", theirs)
	aws.run("s3", "rb", "s3://"+ours)
	for _, b := range []string{theirs, ours} {
		if err := w.s.Client.HeadBucket(t.Context(), b); s3client.KindOf(err) != s3client.NotFound {
			t.Errorf("%s is still there: %v", b, err)
		}
	}
}

// sameACL compares who may do what with a bucket.
func (w *world) sameACL(aws awsCLI, bucket string) {
	w.t.Helper()
	var theirs struct {
		Grants []struct{ Permission string }
	}
	var ours struct {
		Grants []struct{ Permission string } `json:"grants"`
	}
	if err := json.Unmarshal(aws.run("s3api", "get-bucket-acl", "--bucket", bucket), &theirs); err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(w.pailfs(nil, "bucket", "acl", "get", bucket, "--json"), &ours); err != nil {
		w.t.Fatal(err)
	}
	if !slices.Equal(theirs.Grants, ours.Grants) || len(ours.Grants) == 0 {
		w.t.Errorf("the ACL: %v for the AWS CLI, %v for pailfs", theirs.Grants, ours.Grants)
	}
}
