package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// socketPatience is how long a mount that is just being made may take to open its socket.
	socketPatience = 3 * time.Second
	socketPoll     = 20 * time.Millisecond
	// answerPatience is how long an answer that needs no store may take.
	answerPatience = 10 * time.Second
	mostAnswer     = 16 << 20
)

// daemon is the process of a mount as a command talks to it.
type daemon struct {
	view       *runtimeView
	command    string // "warm"
	mountpoint string
}

// gone is the failure of a mount whose process is not there any more.
func (d daemon) gone() *failure {
	return &failure{code: exitMountPoint, command: d.command, message: fmt.Sprintf("the process that served %s is gone", shown(d.mountpoint)),
		hint: fmt.Sprintf("`pailfs umount %s` cleans up and says how it ended; or mount it again", shown(d.mountpoint))}
}

// socket waits until the process has one.
func (d daemon) socket(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, socketPatience)
	defer cancel()
	ticker := time.NewTicker(socketPoll)
	defer ticker.Stop()
	for {
		s, err := d.view.Read()
		if err == nil && s.Socket != "" && s.Result == nil {
			if s.Socket != filepath.Base(s.Socket) || s.Socket == ".." {
				return "", d.fail(exitGeneral, "", "its runtime file is damaged: socket %q", s.Socket)
			}
			return s.Socket, nil
		}
		switch {
		case d.view.Ended():
			return "", d.gone()
		case err == nil && s.Ending:
			return "", d.fail(exitMountPoint, "", "%v", errUnmounting)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return "", d.fail(exitMountPoint, "it is just being mounted, or was by an older pailfs", "its process has no control socket")
		}
	}
}

func (d daemon) fail(code int, hint, format string, args ...any) *failure {
	return &failure{code: code, command: d.command, message: fmt.Sprintf("%s: ", shown(d.mountpoint)) + fmt.Sprintf(format, args...), hint: hint}
}

// owner says whether a user may be behind the socket: who owns the runtime file, and root.
func (d daemon) owner(uid uint32) bool {
	var st unix.Stat_t
	err := unix.Fstat(int(d.view.f.Fd()), &st)
	return uid == 0 || err == nil && st.Uid == uid
}

// ask sends a request and returns an answer that is one of this protocol and good. The caller closes its body.
func (d daemon) ask(ctx context.Context, method, path string, body any) (*http.Response, error) {
	socket, err := d.socket(ctx)
	if err != nil {
		return nil, err
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://pailfs"+path, in)
	if err != nil {
		return nil, err
	}
	req.Header.Set(headerProtocol, strconv.Itoa(controlProtocol))
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialControl(ctx, filepath.Dir(d.view.f.Name()), socket, d.owner)
		}}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, d.unreached(ctx, err)
	}
	if err := d.check(resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// unreached says why there is no answer.
func (d daemon) unreached(ctx context.Context, err error) error {
	switch {
	case d.view.Ended():
		return d.gone()
	case errors.Is(ctx.Err(), context.Canceled):
		return &failure{code: exitInterrupted, command: d.command, message: "interrupted"}
	case errors.Is(err, context.DeadlineExceeded):
		return d.fail(exitMountPoint, "its log may say what it waits for", "its process does not answer")
	case errors.Is(err, os.ErrPermission):
		return d.fail(exitHost, "run as the user who mounted it, or as root", "no permission to talk to its process")
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return d.fail(exitMountPoint, "it is ending, or its socket was removed", "its process does not listen (%v)", err)
	}
	return d.fail(exitGeneral, "", "its process cannot be reached: %v", err)
}

// check refuses answers of another protocol, and makes failures of the process this command's own.
func (d daemon) check(resp *http.Response) error {
	protocol, version := resp.Header.Get(headerProtocol), resp.Header.Get(headerVersion)
	switch {
	case protocol == "":
		return d.fail(exitGeneral, "", "what answers there is no pailfs (%s)", resp.Status)
	case protocol != strconv.Itoa(controlProtocol):
		return d.fail(exitGeneral, "use the pailfs that mounted it, or unmount and mount again",
			"it is served by pailfs %s, which this pailfs (%s) does not understand: protocol %s, not %d", version, buildInfo().Version, protocol, controlProtocol)
	case resp.StatusCode == http.StatusOK:
		return nil
	}
	var f controlFailure
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostAnswer)).Decode(&f); err != nil || f.Code == exitOK {
		return d.fail(exitGeneral, "", "its process answers %s", resp.Status)
	}
	return d.said(&f)
}

// said is a failure in the words of the process.
func (d daemon) said(f *controlFailure) error {
	return d.fail(f.Code, f.Hint, "%s", f.Message)
}

func (d daemon) Status(ctx context.Context) (statusReport, error) {
	var s statusReport
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	resp, err := d.ask(ctx, http.MethodGet, "/status", nil)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostAnswer)).Decode(&s); err != nil {
		return s, d.unreached(ctx, err)
	}
	return s, nil
}

func (d daemon) Refresh(ctx context.Context, path string) error {
	resp, err := d.ask(ctx, http.MethodPost, "/refresh", pathRequest{Path: path})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Warm returns the last progress it was told of, also with an error. show is called for every line.
func (d daemon) Warm(ctx context.Context, path string, jobs int, show func(warmLine)) (warmProgress, error) {
	var last warmProgress
	err := streamed(ctx, d, "/warm", pathRequest{Path: path, Jobs: jobs}, func(line warmLine) (bool, *controlFailure) {
		last = line.Progress
		show(line)
		return line.Done, line.Failure
	})
	return last, err
}

// Flush returns the last progress it was told of, also with an error. The process keeps to timeout, 0 for none.
func (d daemon) Flush(ctx context.Context, path string, timeout time.Duration, show func(flushProgress)) (flushProgress, error) {
	var last flushProgress
	err := streamed(ctx, d, "/flush", pathRequest{Path: path, Timeout: timeout.Seconds()}, func(line flushLine) (bool, *controlFailure) {
		last = line.Progress
		show(last)
		return line.Done, line.Failure
	})
	return last, err
}

// streamed reads an answer of lines. take says whether a line was the last, and how the work failed.
func streamed[L any](ctx context.Context, d daemon, path string, request any, take func(L) (bool, *controlFailure)) error {
	resp, err := d.ask(ctx, http.MethodPost, path, request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var line L
		if err := lines.Decode(&line); err != nil { // io.EOF as well: the last line has not come
			return d.unreached(ctx, err)
		}
		done, failed := take(line)
		switch {
		case failed != nil:
			return d.said(failed)
		case done:
			return nil
		}
	}
}
