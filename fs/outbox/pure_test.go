package outbox

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pailfs/s3client"
)

func anyBytes() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 20), func(p []byte) string { return string(p) }))
}

func TestNotesKeepAnyBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := Op{Seq: rapid.Uint64().Draw(t, "seq"), Kind: rapid.SampledFrom(kinds[:]).Draw(t, "kind"),
			Bucket: "b" + anyBytes().Draw(t, "bucket"), Key: "k" + anyBytes().Draw(t, "key"), ETag: anyBytes().Draw(t, "etag"),
			Size: rapid.Int64().Draw(t, "size")}
		if rapid.Bool().Draw(t, "timed") {
			op.Time = time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "time"))
		}
		if op.Kind != KindDelete {
			op.Headers = s3client.Headers{ContentType: anyBytes().Draw(t, "type"), CacheControl: anyBytes().Draw(t, "cache"),
				ContentDisposition: "d", ContentEncoding: "e", ContentLanguage: "l", Expires: "x",
				Meta: rapid.MapOfN(anyBytes(), anyBytes(), 1, 3).Draw(t, "meta")}
			op.Body = rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "body")
		}
		data, err := op.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(op.Seq, data)
		if err != nil || !reflect.DeepEqual(back, op) {
			t.Fatalf("%+v became %+v (%v) by way of %s", op, back, err, data)
		}
	})
}

func TestNotesThatCannotBeRead(t *testing.T) {
	for note, says := range map[string]string{
		``:      "unexpected end",
		`{"v":`: "unexpected end",
		`{"v":2,"kind":"delete","bucket":"b","key":"k"}`:         "newer pailfs",
		`{"v":1,"kind":"rename","bucket":"b","key":"k"}`:         `unknown kind "rename"`,
		`{"v":1,"kind":"delete","bucket":"b"}`:                   "no version, bucket or key",
		`{"kind":"delete","bucket":"b","key":"k"}`:               "no version, bucket or key",
		`{"v":1,"kind":"delete","bucket":"b","key":["a","b"]}`:   "2 strings",
		`{"v":1,"kind":"delete","bucket":"b","key":["!"]}`:       "illegal base64",
		`{"v":1,"kind":"delete","bucket":"b","key":{"a":"b"}}`:   "cannot unmarshal",
		`{"v":1,"kind":"delete","bucket":"b","key":["a", true]}`: "cannot unmarshal",
	} {
		if op, err := Decode(7, []byte(note)); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "note 7") {
			t.Errorf("%s: %+v, %v; want an error of note 7 that says %q", note, op, err, says)
		}
	}
}

func TestMerge(t *testing.T) {
	first := func(k Kind) Op {
		op := Op{Seq: 1, Kind: k, Bucket: "b", Key: "k", ETag: "e1", Time: time.Unix(1, 0)}
		if k == KindPut {
			op.Body, op.Size, op.ETag = []byte("first"), 5, ""
		}
		if k != KindDelete {
			op.Headers = withMode("1")
		}
		if k == KindHeaders {
			op.Size = 11
		}
		return op
	}
	second := func(k Kind) Op {
		op := first(k)
		op.Seq, op.Time = 2, time.Unix(2, 0)
		if op.ETag != "" {
			op.ETag = "e2"
		}
		switch k {
		case KindPut:
			op.Body, op.Size = []byte("second"), 6
		case KindHeaders:
			op.Size = 22
		}
		if k != KindDelete {
			op.Headers = withMode("2")
		}
		return op
	}
	as := func(op Op, change func(*Op)) *Op {
		op.Seq, op.Time = 1, time.Unix(2, 0)
		if change != nil {
			change(&op)
		}
		return &op
	}
	for _, c := range []struct {
		first, second Kind
		want          *Op
	}{
		{KindPut, KindPut, as(second(KindPut), nil)},
		{KindPut, KindHeaders, as(first(KindPut), func(o *Op) { o.Headers = withMode("2") })},
		{KindPut, KindDelete, as(second(KindDelete), func(o *Op) { o.ETag = "" })},
		{KindHeaders, KindPut, as(second(KindPut), func(o *Op) { o.ETag = AnyVersion })},
		{KindHeaders, KindHeaders, as(second(KindHeaders), func(o *Op) { o.ETag, o.Size = "e1", 11 })},
		{KindHeaders, KindDelete, as(second(KindDelete), nil)},
		{KindDelete, KindPut, as(second(KindPut), func(o *Op) { o.ETag = "e1" })},
		{KindDelete, KindDelete, as(second(KindDelete), nil)},
		{KindDelete, KindHeaders, nil},
	} {
		got, ok := merge(first(c.first), second(c.second))
		if ok != (c.want != nil) || ok && !reflect.DeepEqual(got, *c.want) {
			t.Errorf("%s + %s = %+v, %v; want %+v", c.first, c.second, got, ok, c.want)
		}
	}
}

// object is an object of the naive model: nil is none.
type object struct{ body, mode, etag string }

// after is what a store has after an Op, by the plainest reading of what the Op says.
func after(o *object, op Op) *object {
	switch op.Kind {
	case KindPut:
		return &object{string(op.Body), op.Headers.Meta["mode"], "of " + string(op.Body)}
	case KindHeaders:
		if o == nil || op.ETag != "" && o.etag != op.ETag {
			return o
		}
		return &object{o.body, op.Headers.Meta["mode"], o.etag}
	}
	return nil
}

// Two changes merged do what they do one after the other, when each speaks of what was there at its time.
func TestMergeDoesWhatTheTwoDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(o *object, seq uint64) Op {
			op := Op{Seq: seq, Kind: rapid.SampledFrom(kinds[:]).Draw(t, "kind"), Bucket: "b", Key: "k"}
			if o != nil && rapid.Bool().Draw(t, "pinned") {
				op.ETag = o.etag
			}
			switch op.Kind {
			case KindPut:
				op.ETag, op.Body = "", []byte(rapid.StringN(0, 3, 3).Draw(t, "body"))
				op.Size = int64(len(op.Body))
				fallthrough
			case KindHeaders:
				op.Headers = withMode(rapid.StringN(0, 3, 3).Draw(t, "mode"))
			}
			return op
		}
		var start *object
		if rapid.Bool().Draw(t, "there") {
			start = &object{"base", "0", "of base"}
		}
		one := draw(start, 1)
		between := after(start, one)
		two := draw(between, 2)
		want := after(between, two)
		both, ok := merge(one, two)
		if !ok {
			return
		}
		if got := after(start, both); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v then %+v gives %+v, merged %+v gives %+v", one, two, want, both, got)
		}
	})
}

func TestJudgeKnowsEveryKind(t *testing.T) {
	want := map[s3client.Kind][3]verdict{ // delete, put, headers
		s3client.Unknown:     {later, later, later},
		s3client.NotFound:    {done, refused, moot},
		s3client.Exists:      {refused, refused, refused},
		s3client.NotEmpty:    {refused, refused, refused},
		s3client.Changed:     {moot, moot, moot},
		s3client.Denied:      {refused, refused, refused},
		s3client.Throttled:   {later, later, later},
		s3client.Temporary:   {later, later, later},
		s3client.TooLarge:    {refused, refused, refused},
		s3client.Unsupported: {refused, refused, refused},
		s3client.Invalid:     {refused, refused, refused},
		s3client.Canceled:    {later, later, later},
	}
	for _, k := range s3client.Kinds() {
		row, known := want[k]
		if !known {
			t.Errorf("nobody has said what %s means", k)
		}
		for i, kind := range kinds {
			if got := judge(kind, &s3client.Error{Kind: k}); got != row[i] {
				t.Errorf("%s of a %s: %d, want %d", k, kind, got, row[i])
			}
		}
	}
	for _, condition := range []*s3client.Error{
		{Kind: s3client.Changed, Status: 412},
		{Kind: s3client.Changed, Status: 200, Code: "PreconditionFailed"}, // of a key in the answer to many deletes
	} {
		if judge(KindPut, condition) != later || judge(KindDelete, condition) != later || judge(KindHeaders, condition) != moot {
			t.Errorf("a condition that only headers have: %+v", condition)
		}
	}
	if judge(KindPut, errors.New("x")) != later || judge(KindPut, nil) != done {
		t.Error("what is not from the store, and success")
	}
}

func TestPausesGrowWithinTheirBounds(t *testing.T) {
	for tries := 1; tries < 100; tries++ {
		whole := min(time.Second<<min(tries-1, 20), time.Minute)
		if p := pause(tries, later); p > whole || p < whole*3/4 {
			t.Errorf("try %d: %v, want up to a quarter less than %v", tries, p, whole)
		}
		whole = min(time.Minute<<min(tries-1, 20), 10*time.Minute)
		if p := pause(tries, refused); p > whole || p < whole*3/4 {
			t.Errorf("try %d, refused: %v, want up to a quarter less than %v", tries, p, whole)
		}
	}
}
