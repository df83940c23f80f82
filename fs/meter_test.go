package fs

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// answering is a file system that answers all that a test needs.
type answering struct {
	fuse.RawFileSystem
	status fuse.Status
	hang   chan struct{} // not nil: StatFs waits for it
}

func (a answering) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if name != "absent" {
		out.NodeId = 7
	}
	return a.status
}

func (a answering) StatFs(<-chan struct{}, *fuse.InHeader, *fuse.StatfsOut) fuse.Status {
	if a.hang != nil {
		<-a.hang
	}
	return a.status
}

func metered(a answering) (*meter, *Server) {
	a.RawFileSystem = fuse.NewDefaultRawFileSystem()
	m := &meter{RawFileSystem: a, log: slog.New(slog.DiscardHandler)}
	return m, &Server{face: &face{meter: m}}
}

func TestOperationsAreCounted(t *testing.T) {
	m, s := metered(answering{})
	var out fuse.EntryOut
	var entry fuse.OpenOut
	m.Lookup(nil, &fuse.InHeader{}, "there", &out)
	m.Lookup(nil, &fuse.InHeader{}, "absent", &fuse.EntryOut{})
	m.Open(nil, &fuse.OpenIn{}, &entry)
	m.Writev(nil, &fuse.WriteIn{}, nil) // likewise: Write is asked then
	m.Write(nil, &fuse.WriteIn{}, nil)
	m.Release(nil, &fuse.ReleaseIn{})
	got := map[string]string{}
	for _, o := range s.Operations() {
		var errs []string
		for name, n := range o.Errors {
			errs = append(errs, strings.Repeat(name, int(n)))
		}
		got[o.Kind] = strings.Join(append(errs, strings.Repeat("x", int(o.Took.Count()))), " ")
	}
	want := map[string]string{"lookup": "ENOENT xx", "open": "x", "write": "ENOSYS x", "release": "x"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := s.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// Every request of the library's interface is counted, or known not to be: a new one is noticed here.
func TestEveryRequestPassesTheMeter(t *testing.T) {
	passing := map[string]bool{"String": true, "SetDebug": true, "Forget": true, "Access": true, "Tmpfile": true, "GetLk": true, "SetLk": true,
		"SetLkw": true, "Ioctl": true, "Statx": true, "Init": true, "OnUnmount": true}
	all := reflect.TypeFor[fuse.RawFileSystem]()
	for i := range all.NumMethod() {
		method := all.Method(i)
		if passing[method.Name] {
			continue
		}
		m, s := metered(answering{})
		args := []reflect.Value{reflect.ValueOf(m)}
		own, _ := reflect.TypeOf(m).MethodByName(method.Name)
		for k := 1; k < own.Type.NumIn(); k++ {
			in := own.Type.In(k)
			if in.Kind() == reflect.Pointer && in.Elem().Kind() == reflect.Struct && in != reflect.TypeFor[*fuse.DirEntryList]() {
				args = append(args, reflect.New(in.Elem()))
				continue
			}
			args = append(args, reflect.Zero(in))
		}
		own.Func.Call(args)
		if n := len(s.Operations()); n != 1 && method.Name != "Writev" {
			t.Errorf("%s was counted as %d kinds", method.Name, n)
		}
	}
}

func TestAFaceThatHangsDoesNotAnswer(t *testing.T) {
	hang := make(chan struct{})
	_, s := metered(answering{hang: hang})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Answers(ctx); !errors.Is(err, errUnanswered) {
		t.Error(err)
	}
	close(hang)
	if err := s.Answers(t.Context()); err != nil {
		t.Error(err)
	}
	_, broken := metered(answering{status: fuse.EIO})
	if err := broken.Answers(t.Context()); err == nil {
		t.Error("it answered")
	}
}

// Who waits for a request is told of the next one, and of no other.
func TestStirred(t *testing.T) {
	m, s := metered(answering{})
	is := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	first, also := s.Stirred(), s.Stirred()
	if is(first) || is(also) {
		t.Error("nothing was asked")
	}
	m.Lookup(nil, &fuse.InHeader{}, "there", &fuse.EntryOut{})
	next := s.Stirred()
	if !is(first) || !is(also) || is(next) {
		t.Errorf("%v %v %v", is(first), is(also), is(next))
	}
	m.Lookup(nil, &fuse.InHeader{}, "there", &fuse.EntryOut{})
	if !is(next) {
		t.Error("the second request was not told")
	}
}

func BenchmarkMeter(b *testing.B) {
	m, _ := metered(answering{})
	var header fuse.InHeader
	var out fuse.EntryOut
	for b.Loop() {
		m.Lookup(nil, &header, "there", &out)
	}
}
