package mount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"pailfs/s3client"
	"pailfs/tests/storeproxy"
)

func getWhole(bucket, key string) s3client.GetRequest {
	return s3client.GetRequest{Bucket: bucket, Key: key}
}

func isAbsent(err error) bool  { return errors.Is(err, s3client.NotFound) }
func isChanged(err error) bool { return errors.Is(err, s3client.Changed) }

const firstPart = 8 << 20 // what the layout of parts begins with

// A file that is written on end goes up while it is written: each byte once, by one upload, which nobody sees before it is
// whole.
func TestAStreamGoesUpWhileItIsWritten(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		content := noise(1, 64<<20)
		w := writes(t, d, nil)
		seen := w.observed("f", content)
		f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY|os.O_EXCL)
		fill(t, f, content[:48<<20])
		eventually(t, "a part is sent before the file is closed", func() bool {
			return len(requests(w.p.Peek()).of(storeproxy.Part).done()) > 0
		})
		fill(t, f, content[48<<20:])
		closed(t, f)
		w.stored(d)
		if n := seen(); n[-1] == 0 || n[0] == 0 && d == inStore && len(n) > 1 {
			t.Errorf("another client saw it %v", n)
		}
		all := w.took()
		if all.sent() != int64(len(content)) {
			t.Errorf("%d bytes up, the file has %d\n%v", all.sent(), len(content), all)
		}
		if len(all.of(storeproxy.CreateUpload)) != 1 || len(all.of(storeproxy.CompleteUpload)) != 1 ||
			len(all.but(storeproxy.CreateUpload, storeproxy.CompleteUpload, storeproxy.Part)) > 5 {
			t.Errorf("not one upload and hardly anything else: %v", all)
		}
		sameBytes(t, "the object", object(t, w.s, w.bucket, "f"), content)
		sameBytes(t, "the file", read(t, w.path("f")), content)
		w.noUploads()
	})
}

// What is written again before the file is closed is sent again, and little more than that.
func TestAStreamThatIsRewrittenIsRight(t *testing.T) {
	size := 64 << 20
	for name, c := range map[string]struct {
		do    func(t *testing.T, f *os.File, content []byte) []byte
		extra int64 // bytes that may go up beside those of the final file
	}{
		"the header": {func(t *testing.T, f *os.File, content []byte) []byte {
			return overwrite(t, f, content, 0, noise(9, 4096))
		}, firstPart},
		"the middle": {func(t *testing.T, f *os.File, content []byte) []byte {
			return overwrite(t, f, content, 30<<20+77, noise(10, 100_000))
		}, 2 * firstPart},
		"the header, then more behind the end": {func(t *testing.T, f *os.File, content []byte) []byte {
			content = overwrite(t, f, content, 12, noise(11, 16))
			return overwrite(t, f, content, len(content), noise(12, 9<<20))
		}, firstPart},
		"cut to a half": {func(t *testing.T, f *os.File, content []byte) []byte {
			if err := f.Truncate(int64(size/2 + 5)); err != nil {
				t.Fatal(err)
			}
			return content[:size/2+5]
		}, int64(size)}, // a store that keeps parts which no completion names for ever makes it begin anew
		"cut to nothing and written anew": {func(t *testing.T, f *os.File, content []byte) []byte {
			if err := f.Truncate(0); err != nil {
				t.Fatal(err)
			}
			return overwrite(t, f, nil, 0, noise(13, 3<<20))
		}, int64(size)},
		"made longer": {func(t *testing.T, f *os.File, content []byte) []byte {
			if err := f.Truncate(int64(size + 20<<20)); err != nil {
				t.Fatal(err)
			}
			return append(content, make([]byte, 20<<20)...)
		}, firstPart},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, d string) {
				content := noise(2, size)
				w := writes(t, d, nil)
				f := open(t, w.path("f"), os.O_CREATE|os.O_RDWR|os.O_EXCL)
				fill(t, f, content)
				eventually(t, "a part is sent before the file is closed", func() bool {
					return len(requests(w.p.Peek()).of(storeproxy.Part).done()) > 0
				})
				content = c.do(t, f, content)
				closed(t, f)
				w.stored(d)
				all := w.took()
				if all.sent() > int64(len(content))+c.extra {
					t.Errorf("%d bytes up, the file has %d\n%v", all.sent(), len(content), all)
				}
				sameBytes(t, "the object", object(t, w.s, w.bucket, "f"), content)
				sameBytes(t, "the file", read(t, w.path("f")), content)
				w.noUploads()
			})
		})
	}
}

// overwrite writes into a file and into what it must hold then.
func overwrite(t *testing.T, f *os.File, content []byte, off int, p []byte) []byte {
	t.Helper()
	if _, err := f.WriteAt(p, int64(off)); err != nil {
		t.Fatal(err)
	}
	if end := off + len(p); end > len(content) {
		content = append(content, make([]byte, end-len(content))...)
	}
	copy(content[off:], p)
	return content
}

// Several streams at once, each as long as it needs parts of more than one size.
func TestStreamsSideBySide(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil)
		want := map[string][]byte{}
		ended := make(chan error)
		for i := range 4 {
			name, content := fmt.Sprintf("f%d", i), noise(20+i, 40<<20+i*12345)
			want[name] = content
			go func() {
				f, err := os.Create(w.path(name))
				if err == nil {
					_, err = f.ReadFrom(bytes.NewReader(content))
					err = errors.Join(err, f.Close())
				}
				ended <- err
			}()
		}
		for range want {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		w.stored(d)
		all := w.took()
		var bytes int64
		for _, content := range want {
			bytes += int64(len(content))
		}
		if all.sent() != bytes || len(all.of(storeproxy.CreateUpload)) != 4 {
			t.Errorf("%d bytes of %d in 4 uploads: %v", all.sent(), bytes, all)
		}
		w.holds(want)
		w.noUploads()
	})
}
