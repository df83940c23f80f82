package wired

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// panicVar names the journal's directory in a process that is to panic.
const panicVar = "PAILFS_TEST_PANIC"

// A panic in a goroutine that uploads ends the process, as it must: nobody knows any more what is true in it. What was acknowledged by
// then is in the journal, and the last words have nothing of what was written or of keys.
func TestWhatWasAcknowledgedOutlivesAPanic(t *testing.T) {
	if dir := os.Getenv(panicVar); dir != "" {
		writeUntilThePanic(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWhatWasAcknowledgedOutlivesAPanic$", "-test.v")
	cmd.Env = append(os.Environ(), panicVar+"="+dir)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || !strings.Contains(stderr.String()+out.String(), "panic: injected") {
		t.Fatalf("it has not ended with a panic: %v\n%s%s", err, out.String(), stderr.String())
	}
	if text := stderr.String() + out.String(); strings.Contains(text, "plantedbytes") || strings.Contains(text, "plantedkey") {
		t.Errorf("the last words have a secret:\n%s", text)
	}
	acknowledged := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(out.Bytes())); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "acknowledged "); ok {
			acknowledged[name] = true
		}
	}
	j, err := journal.OpenWith(journal.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	pendings, err := j.Pendings()
	if err != nil {
		t.Error(err)
	}
	for _, p := range pendings {
		s, err := p.Open()
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(s, 0, p.Size))
		if err = errors.Join(err, s.Close()); err != nil || string(got) != bytesOf(p.Key) {
			t.Errorf("%s is %q: %v", p.Key, got, err)
		}
		delete(acknowledged, p.Key)
	}
	if len(pendings) == 0 || len(acknowledged) > 0 {
		t.Errorf("%d files are kept, %v are not", len(pendings), acknowledged)
	}
}

func bytesOf(name string) string { return strings.Repeat("plantedbytes of "+name+"\n", 100) }

// writeUntilThePanic writes files, says of each that its close has returned, and goes on until an upload panics.
func writeUntilThePanic(t *testing.T, dir string) {
	ctx := context.Background()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "plantedkey")
	mem := s3mem.New(s3mem.WithBuckets("b"))
	fault := s3fault.New(mem)
	j, err := journal.OpenWith(journal.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	ok(err)
	r := Open(ctx, Options{Store: fault, Journal: j, Log: slog.New(slog.DiscardHandler), Bucket: "b", Full: true, Behind: true, TTL: time.Minute, MaxLag: time.Hour,
		Limits: upload.LimitsOf(mem.Profile(), 0), Memory: Memory{Blocks: 8 << 20, Ahead: 1 << 20, Names: 1000}})
	due := make(chan struct{})
	fault.Add(s3fault.Rule{Call: "Put", Hook: func(ctx context.Context, _ s3fault.Call) error {
		select {
		case <-due:
			panic("injected")
		case <-ctx.Done():
			return &s3client.Error{Op: "PUT Object", Kind: s3client.Canceled, Err: ctx.Err()}
		}
	}})
	r.Start(ctx)
	for i := range 20 {
		name := fmt.Sprintf("f%02d", i)
		_, err := r.Tree.Create(name, tree.Attr{Mode: 0o644})
		ok(err)
		f, err := r.Files.Open(content.ID{Bucket: "b", Key: name}, nil, content.Create)
		ok(err)
		_, err = f.WriteAt(ctx, []byte(bytesOf(name)), 0)
		ok(err)
		ok(f.Flush(ctx))
		f.Close(nil)
		fmt.Println("acknowledged " + name)
	}
	close(due)
	time.Sleep(time.Minute) // the panic ends it
	t.Fatal("nothing was uploaded")
}
