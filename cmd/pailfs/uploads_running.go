package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

// runningUpload is a multipart upload that a mount is at, or is about to go on with.
type runningUpload struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	ID     string `json:"id"`
}

// Uploads are those of a mount that have an id.
func (r rooms) Uploads() []runningUpload {
	list := []runningUpload{}
	for _, u := range r.Register.Running() {
		list = append(list, runningUpload{u.Bucket, u.Key, u.ID})
	}
	return list
}

func (c *control) uploads(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, c.mount.Uploads())
}

// Uploads are those that the process is at.
func (d daemon) Uploads(ctx context.Context) ([]runningUpload, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	resp, err := d.ask(ctx, http.MethodGet, "/uploads", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list []runningUpload
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostAnswer)).Decode(&list); err != nil {
		return nil, d.unreached(ctx, err)
	}
	return list, nil
}

// uploadsInUse asks all mounts of this host which uploads are theirs; the answer is by upload, the mount point. One that
// does not answer cannot say: only its uploads' age protects them then.
func uploadsInUse(ctx context.Context, dirs []string) map[runningUpload]string {
	var mu struct {
		sync.Mutex
		use map[runningUpload]string
	}
	mu.use = map[runningUpload]string{}
	var asking sync.WaitGroup
	for _, v := range knownMounts(dirs) {
		asking.Go(func() {
			defer v.Close()
			state, err := v.Read()
			if err != nil || v.Ended() || state.Socket == "" {
				return
			}
			list, err := daemon{v, "uploads", state.Mountpoint}.Uploads(ctx)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, u := range list {
				mu.use[u] = state.Mountpoint
			}
		})
	}
	asking.Wait()
	return mu.use
}
