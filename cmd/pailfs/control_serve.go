package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	mostRequestBytes = 64 << 10 // a path of 4096 bytes, escaped at its worst
	longestPath      = 4096     // PATH_MAX
	mostJobs         = 256      // of one warm
	streamTick       = 200 * time.Millisecond
	clientPatience   = time.Minute // a client that reads nothing for so long is gone
	mostFailures     = 1000        // named in one warm; the number of all is known
)

// controlFailure is a failure on its way to the command.
type controlFailure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func controlFailureOf(err error) *controlFailure {
	if err == nil {
		return nil
	}
	f := failureOf(err)
	return &controlFailure{f.code, f.message, f.hint}
}

// pathRequest is the body of /refresh, /flush and /warm.
type pathRequest struct {
	Path    string  `json:"path"`
	Jobs    int     `json:"jobs,omitempty"`    // of /warm
	Timeout float64 `json:"timeout,omitempty"` // of /flush, in seconds; 0: none
}

// warmFailure is a file that could not be fetched.
type warmFailure struct {
	Path  string `json:"path"`
	Error string `json:"error,omitempty"`
}

// warmLine is a line of the answer to /warm. The last one is the only one with Done; Failure says why the whole ended
// before its end.
type warmLine struct {
	Progress warmProgress    `json:"progress"`
	Failed   []warmFailure   `json:"failed,omitempty"` // since the last line
	Done     bool            `json:"done,omitempty"`
	Failure  *controlFailure `json:"failure,omitempty"`
}

// flushLine is a line of the answer to /flush. The last one is the only one with Done; Failure says what was not stored, or
// why it was not tried to the end.
type flushLine struct {
	Progress flushProgress   `json:"progress"`
	Done     bool            `json:"done,omitempty"`
	Failure  *controlFailure `json:"failure,omitempty"`
}

func (c *control) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", c.status)
	mux.HandleFunc("GET /ready", c.ready)
	mux.HandleFunc("GET /uploads", c.uploads)
	mux.HandleFunc("POST /options", c.tune)
	mux.HandleFunc("POST /refresh", c.refresh)
	mux.HandleFunc("POST /flush", c.flush)
	mux.HandleFunc("POST /warm", c.warm)
	own := buildInfo().Version
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(headerProtocol, strconv.Itoa(controlProtocol))
		w.Header().Set(headerVersion, own)
		if given := r.Header.Get(headerProtocol); given != strconv.Itoa(controlProtocol) {
			refuse(w, usagef("", "the request speaks protocol %q, not %d", given, controlProtocol))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (c *control) status(w http.ResponseWriter, _ *http.Request) {
	s := c.mount.Status()
	s.PID, s.Version = os.Getpid(), buildInfo().Version
	switch {
	case c.serving.Err() != nil:
		s.State = stateDraining
	case s.State == "":
		s.State = stateServing
	}
	answer(w, http.StatusOK, s)
}

func (c *control) refresh(w http.ResponseWriter, r *http.Request) {
	req, err := readPath(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	ctx, done := c.working(r)
	defer done()
	if err := c.because(ctx, c.mount.Refresh(ctx, req.Path)); err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, struct{}{})
}

// working is the context of work that ends with its client and with the mount.
func (c *control) working(r *http.Request) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(r.Context())
	if c.serving.Err() != nil {
		cancel(errUnmounting)
	}
	stop := context.AfterFunc(c.serving, func() { cancel(errUnmounting) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// because is the error of work, or the reason that it was ended for.
func (c *control) because(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errUnmounting) {
		return &failure{code: exitMountPoint, message: errUnmounting.Error()}
	}
	return err
}

// readPath reads a request to its end: only then does the server notice that a client has left.
func readPath(w http.ResponseWriter, r *http.Request) (pathRequest, error) {
	var req pathRequest
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostRequestBytes))
	if err != nil {
		return req, usagef("", "the request cannot be read: %v", err)
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return req, usagef("", "the request is no JSON: %v", err)
	}
	if req.Jobs < 0 || req.Jobs > mostJobs {
		return req, usagef("", "%d jobs are not between 0 and %d", req.Jobs, mostJobs)
	}
	if req.Timeout < 0 || req.Timeout > forever.Seconds() {
		return req, usagef("", "a timeout of %v s is none", req.Timeout)
	}
	return req, checkRelative(req.Path)
}

// checkRelative refuses what is no path below a mount point: names between slashes, or "".
func checkRelative(path string) error {
	if path == "" {
		return nil
	}
	if len(path) > longestPath {
		return usagef("", "a path of %d bytes is too long", len(path))
	}
	for _, name := range strings.Split(path, "/") {
		if name == "" || name == "." || name == ".." || strings.ContainsRune(name, 0) {
			return usagef("", "%q is no path inside a mount", path)
		}
	}
	return nil
}

// warm streams. Progress goes out at most at every tick, failures all.
func (c *control) warm(w http.ResponseWriter, r *http.Request) {
	req, err := readPath(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	ctx, done := c.working(r)
	defer done()
	var out warmOutput
	var result warmProgress
	_ = stream(ctx, w, out.take, func(ctx context.Context) error {
		var err error
		result, err = c.mount.Warm(ctx, req.Path, req.Jobs, out.report)
		return c.because(ctx, err)
	}, func(err error) any { return out.last(result, err) }) // a client that has left does not miss the end
}

// flush streams as warm does.
func (c *control) flush(w http.ResponseWriter, r *http.Request) {
	req, err := readPath(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	ctx, done := c.working(r)
	defer done()
	if req.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.Timeout*float64(time.Second)))
		defer cancel()
	}
	var out flushOutput
	var result flushProgress
	_ = stream(ctx, w, out.take, func(ctx context.Context) error {
		var err error
		result, err = c.mount.Flush(ctx, req.Path, out.report)
		return c.because(ctx, err)
	}, func(err error) any { return flushLine{Progress: result, Done: true, Failure: controlFailureOf(err)} }) // as above
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has left does not miss it
}

func refuse(w http.ResponseWriter, err error) {
	f := controlFailureOf(err)
	status := http.StatusInternalServerError
	switch f.Code {
	case exitUsage:
		status = http.StatusBadRequest
	case exitNotFound:
		status = http.StatusNotFound
	}
	answer(w, status, f)
}

// errClientGone: nobody reads the answer any more.
func errClientGone(err error) error { return fmt.Errorf("the client has left: %w", err) }
