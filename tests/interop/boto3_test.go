package interop

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// args are those of a method of boto3's client.
type args = map[string]any

// boto3 is a running testdata/boto.py.
type boto3 struct {
	w    *world
	in   io.WriteCloser
	out  *bufio.Reader
	errs *bytes.Buffer
}

// boto3 starts a Python that has it; it ends with the test.
func (w *world) boto3() *boto3 {
	w.t.Helper()
	python := w.tool("python3-boto3", []string{"-c", "import boto3"}, "/usr/bin/python3", "python3")
	script, err := filepath.Abs("testdata/boto.py")
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), python, script, w.s.Endpoint, w.s.Region)
	b := &boto3{w: w, errs: &bytes.Buffer{}}
	cmd.Env, cmd.Dir, cmd.Stderr = w.env(), w.home, b.errs
	if b.in, err = cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	b.out = bufio.NewReader(out)
	w.t.Cleanup(func() {
		b.in.Close() // it ends with its input
		if err := cmd.Wait(); err != nil && w.t.Context().Err() == nil {
			w.t.Errorf("boto.py: %v\n%s", err, b.errs.Bytes())
		}
	})
	return b
}

// try calls a method on the world's bucket; code is the store's refusal, "" when it has done it.
func (b *boto3) try(result any, method string, a args) (code string) {
	b.w.t.Helper()
	if bucket, ok := a["Bucket"]; !ok {
		a["Bucket"] = b.w.bucket
	} else if bucket == nil { // a method that takes none
		delete(a, "Bucket")
	}
	line, err := json.Marshal(map[string]any{"call": method, "args": a})
	if err != nil {
		b.w.t.Fatal(err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		b.w.t.Fatalf("%s: %v\n%s", method, err, b.errs.Bytes())
	}
	got, err := b.out.ReadBytes('\n')
	if err != nil {
		b.w.t.Fatalf("%s: %v\n%s", method, err, b.errs.Bytes())
	}
	answer := struct {
		Result json.RawMessage
		Error  string
		Status int
	}{}
	err = json.Unmarshal(got, &answer)
	if err == nil && result != nil && answer.Error == "" {
		err = json.Unmarshal(answer.Result, result)
	}
	if err != nil {
		b.w.t.Fatalf("%s: %v\n%.2000s", method, err, got)
	}
	if answer.Status > 0 && answer.Error == "" {
		answer.Error = fmt.Sprint(answer.Status)
	}
	return answer.Error
}

// call is try of what must succeed.
func (b *boto3) call(result any, method string, a args) {
	b.w.t.Helper()
	if code := b.try(result, method, a); code != "" {
		b.w.t.Fatalf("%s %.200v: the store says %s", method, a, code)
	}
}

// listed are all objects, by pages of a few, of both versions of listings.
func (b *boto3) listed() map[string]object {
	b.w.t.Helper()
	var v1, v2 []object
	for next := ""; ; {
		var page struct {
			Contents              []object
			NextContinuationToken string
		}
		a := args{"MaxKeys": 5}
		if next != "" {
			a["ContinuationToken"] = next
		}
		b.call(&page, "list_objects_v2", a)
		v2 = append(v2, page.Contents...)
		if next = page.NextContinuationToken; next == "" {
			break
		}
	}
	for marker := ""; ; {
		var page struct {
			Contents    []object
			IsTruncated bool
		}
		b.call(&page, "list_objects", args{"MaxKeys": 7, "Marker": marker})
		if v1 = append(v1, page.Contents...); !page.IsTruncated {
			break
		}
		marker = v1[len(v1)-1].Key
	}
	one, two := byKey(v1), byKey(v2)
	if !slices.Equal(slices.Sorted(maps.Keys(one)), slices.Sorted(maps.Keys(two))) || len(v2) != len(two) {
		b.w.t.Errorf("list_objects has %d keys, list_objects_v2 %d", len(v1), len(v2))
	}
	return two
}

// What pailfs has written boto3 lists, page by page, and reads, with metadata and content types; what of it is refused is
// refused.
func TestBoto3ReadsWhatPailfsWrote(t *testing.T) {
	w := newWorld(t)
	b, m := w.boto3(), w.mount()
	all := w.ofPailfs(m.Dir)
	listed := b.listed()
	if got, want := slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Fatalf("it lists\n%q, want\n%q", got, want)
	}
	for key, e := range all {
		e.check(t, key, listed[key])
		var o object
		b.call(&o, "get_object", args{"Key": key, "IfMatch": e.etag})
		e.check(t, key, o)
		same(t, key, o.Body, e.content)
	}
	// A change gives another version, and the old one is refused.
	write(t, m.Path("tree/note.txt"), []byte("other text"))
	if code := b.try(nil, "get_object", args{"Key": "tree/note.txt", "IfMatch": all["tree/note.txt"].etag}); code != "PreconditionFailed" && code != "412" {
		t.Errorf("the version before: %q", code)
	}
	var url string
	b.call(&url, "generate_presigned_url", args{"ClientMethod": "get_object", "Params": args{"Bucket": w.bucket, "Key": "tree/note.txt"}, "Bucket": nil})
	same(t, "by a presigned URL", fetch(t, url), []byte("other text"))
}

// fetch gets what an URL leads to.
func fetch(t *testing.T, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v\n%s", res.Status, err, body)
	}
	return body
}

// What boto3 has written pailfs reads: objects, headers, metadata, uploads in parts, copies and copies of parts.
func TestPailfsReadsWhatBoto3Wrote(t *testing.T) {
	w := newWorld(t)
	b, m := w.boto3(), w.mount()
	want := map[string][]byte{}
	for i, name := range w.names() {
		want["odd/"+name] = noise(i, 3*i)
		b.call(nil, "put_object", args{"Key": "odd/" + name, "Body": want["odd/"+name]})
	}
	b.call(nil, "put_object", args{"Key": "page.html", "Body": []byte("<p>"), "ContentType": "text/html", "ContentLanguage": "ko", "ContentDisposition": "inline",
		"CacheControl": "no-store", "Metadata": args{"mode": "33060", "uid": "7", "gid": "8", "mtime": "1000000000", "colour": "blue"}})
	want["page.html"] = []byte("<p>")
	want["parts"] = b.inParts("parts", 5<<20, 6<<20, 1)
	b.call(nil, "copy_object", args{"Key": "copied", "CopySource": args{"Bucket": w.bucket, "Key": "page.html"}})
	want["copied"] = want["page.html"]
	want["joined"] = b.joined("joined", "parts", want["parts"])

	if got := sh(t, m.Dir, "find . -type f -printf x | wc -c"); got != fmt.Sprint(len(want)) {
		t.Errorf("%s files, want %d", got, len(want))
	}
	for name, content := range want {
		same(t, name, read(t, m.Path(name)), content)
	}
	if got := sh(t, m.Dir, "stat -c '%a %u:%g %Y %s' page.html copied"); got != "444 7:8 1000000000 3\n444 7:8 1000000000 3" {
		t.Errorf("stat: %q", got)
	}
	sh(t, m.Dir, "chmod 600 page.html; printf '</p>' >>page.html; mv page.html moved.html")
	var o object
	b.call(&o, "get_object", args{"Key": "moved.html"})
	same(t, "what pailfs has changed", o.Body, []byte("<p></p>"))
	if o.ContentType != "text/html" || o.ContentLanguage != "ko" || o.ContentDisposition != "inline" || o.CacheControl != "no-store" ||
		o.Metadata["colour"] != "blue" || o.Metadata["mode"] != "33152" {
		t.Errorf("after chmod, append and mv: %+v", o)
	}
	var gone []args
	for name := range want {
		if !strings.ContainsAny(name, "\t\n") { // XML has no way to name them that each store reads
			gone = append(gone, args{"Key": name})
		}
	}
	b.call(nil, "delete_objects", args{"Delete": args{"Objects": gone, "Quiet": true}})
	for name := range want {
		if strings.ContainsAny(name, "\t\n") {
			b.call(nil, "delete_object", args{"Key": name})
		}
	}
	eventually(t, "what was deleted is gone", func() bool { return sh(t, m.Dir, "find . -type f") == "./moved.html" })
}

// inParts writes an object in parts of these sizes.
func (b *boto3) inParts(key string, sizes ...int) (content []byte) {
	b.w.t.Helper()
	var upload struct{ UploadID string }
	b.call(&upload, "create_multipart_upload", args{"Key": key})
	var parts []args
	for i, size := range sizes {
		body := noise(100+i, size)
		content = append(content, body...)
		var part object
		b.call(&part, "upload_part", args{"Key": key, "UploadId": upload.UploadID, "PartNumber": i + 1, "Body": body})
		parts = append(parts, args{"PartNumber": i + 1, "ETag": part.ETag})
	}
	b.call(nil, "complete_multipart_upload", args{"Key": key, "UploadId": upload.UploadID, "MultipartUpload": args{"Parts": parts}})
	return content
}

// joined makes an object of two ranges of another, in the other order.
func (b *boto3) joined(key, source string, content []byte) []byte {
	b.w.t.Helper()
	var upload struct{ UploadID string }
	b.call(&upload, "create_multipart_upload", args{"Key": key})
	half := len(content) / 2
	var parts []args
	for i, r := range []string{fmt.Sprintf("bytes=%d-%d", half, len(content)-1), fmt.Sprintf("bytes=0-%d", half-1)} {
		var part struct{ CopyPartResult object }
		b.call(&part, "upload_part_copy", args{"Key": key, "UploadId": upload.UploadID, "PartNumber": i + 1,
			"CopySource": args{"Bucket": b.w.bucket, "Key": source}, "CopySourceRange": r})
		parts = append(parts, args{"PartNumber": i + 1, "ETag": part.CopyPartResult.ETag})
	}
	b.call(nil, "complete_multipart_upload", args{"Key": key, "UploadId": upload.UploadID, "MultipartUpload": args{"Parts": parts}})
	return slices.Concat(content[half:], content[:half])
}

// uploads are the unfinished ones of a key.
func (b *boto3) uploads(key string) (all []upload) {
	b.w.t.Helper()
	var list struct{ Uploads []upload }
	b.call(&list, "list_multipart_uploads", args{"Prefix": key})
	return list.Uploads
}

type upload struct{ Key, UploadID string }

// The upload of a file that is being written shows its parts to boto3; one that boto3 has left is listed and aborted by pailfs,
// which leaves its own alone.
func TestUploadsOfBoto3AndOfPailfs(t *testing.T) {
	w := newWorld(t)
	b, m := w.boto3(), w.mount()
	f, err := os.Create(m.Path("stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := noise(9, 40<<20)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	type part struct {
		PartNumber int
		Size       int64
		ETag       string
	}
	var parts []part
	eventually(t, "parts of the stream", func() bool {
		if ours := b.uploads("stream"); len(ours) == 1 {
			var list struct{ Parts []part }
			b.call(&list, "list_parts", args{"Key": "stream", "UploadId": ours[0].UploadID})
			parts = list.Parts
		}
		return len(parts) >= 2
	})
	for _, p := range parts {
		sum := md5.Sum(content[(p.PartNumber-1)*firstPart:][:firstPart])
		if p.Size != firstPart || strings.Trim(p.ETag, `"`) != hex.EncodeToString(sum[:]) {
			t.Errorf("part %+v", p)
		}
	}
	if code := b.try(nil, "head_object", args{"Key": "stream"}); code == "" {
		t.Error("the object is there before it is complete")
	}

	var left struct{ UploadID string }
	b.call(&left, "create_multipart_upload", args{"Key": "left"})
	b.call(nil, "upload_part", args{"Key": "left", "UploadId": left.UploadID, "PartNumber": 1, "Body": []byte("a part")})
	var list []struct {
		Key   string `json:"key"`
		ID    string `json:"id"`
		Parts int    `json:"parts"`
		Bytes int64  `json:"bytes"`
	}
	if err := json.Unmarshal(w.pailfs(m, "uploads", "list", w.bucket, "--prefix", "left", "--sizes", "--json"), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Key != "left" || list[0].ID != left.UploadID || list[0].Parts != 1 || list[0].Bytes != 6 {
		t.Errorf("pailfs lists %+v", list)
	}
	for _, key := range []string{"left", "stream"} {
		w.pailfs(m, "uploads", "abort", w.bucket, "--prefix", key, "--older-than", "1s")
	}
	eventually(t, "the upload that was left is aborted", func() bool {
		w.pailfs(m, "uploads", "abort", w.bucket, "--prefix", "left", "--older-than", "1s")
		return len(b.uploads("left")) == 0
	})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(b.uploads("stream")); n != 0 {
		t.Errorf("%d uploads after the close", n)
	}
	var o object
	b.call(&o, "head_object", args{"Key": "stream"})
	expect{content: content, etag: etagOf(content, firstPart)}.check(t, "stream", o)
}
