package storeproxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassify(t *testing.T) {
	for request, want := range map[string]Op{
		"GET /b?list-type=2": List, "GET /b?uploads": Uploads, "GET /b?location": Buckets, "POST /b?delete": DeleteMany, "HEAD /b": Buckets,
		"GET /b/k": Get, "HEAD /b/k": Head, "PUT /b/k": Put, "DELETE /b/k": Delete, "POST /b/k?uploads": CreateUpload,
		"PUT /b/k?partNumber=3&uploadId=x": Part, "POST /b/k?uploadId=x": CompleteUpload, "DELETE /b/k?uploadId=x": AbortUpload,
		"GET /b/k?uploadId=x": Uploads, "PATCH /b/k": Other,
	} {
		method, target, _ := strings.Cut(request, " ")
		if got := parse(httptest.NewRequest(method, target, nil)); got.Op != want {
			t.Errorf("%s is %s, want %s", request, got.Op, want)
		}
	}
	r := httptest.NewRequest(http.MethodPut, "/b/a/k?partNumber=3&uploadId=x", nil)
	r.Header.Set("X-Amz-Copy-Source", "/b/s")
	r.Header.Set("X-Amz-Copy-Source-Range", "bytes=10-19")
	if got := parse(r); got.Op != CopyPart || got.Key != "a/k" || got.Part != 3 || got.UploadID != "x" || got.Off != 10 || got.Length != 10 {
		t.Errorf("%+v", got)
	}
}

func TestFates(t *testing.T) {
	var asked atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "answer")
	}))
	defer backend.Close()
	p, err := Open(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	gate := make(chan struct{})
	close(gate)
	for name, c := range map[string]struct {
		fate   Fate
		status int // 0: none
		asked  int64
	}{
		"passes": {Fate{}, 200, 1}, "refused": {Fate{Act: Refuse, Status: 503, Code: "SlowDown"}, 503, 0}, "broken": {Fate{Act: Break}, 0, 0},
		"done and failed": {Fate{Act: DoneFail, Status: 500}, 500, 1}, "done and lost": {Fate{Act: DoneLost}, 0, 1},
		"waits": {Fate{Act: Wait, Gate: gate}, 200, 1}, "done, waits": {Fate{Act: DoneWait, Gate: gate}, 200, 1},
	} {
		asked.Store(0)
		p.Meet(Some(c.fate, 1, Put))
		r, err := http.NewRequest(http.MethodPut, p.Endpoint()+"/b/k", strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		status := 0
		if res, err := client.Do(r); err == nil {
			status = res.StatusCode
			res.Body.Close()
		}
		for p.Flying() > 0 {
		}
		all, ok := p.Take()
		if status != c.status || asked.Load() != c.asked || !ok || len(all) != 1 {
			t.Errorf("%s: status %d, the store was asked %d times, %v", name, status, asked.Load(), all)
		} else if all[0].Done != (c.asked > 0) || c.asked > 0 && all[0].Up != 7 {
			t.Errorf("%s: %+v", name, all[0])
		}
	}
}
