package outbox

import (
	"reflect"
	"testing"
	"time"

	"pailfs/s3client"
)

// FuzzNote: a note that is taken is an Op that can be noted again, and says the same then.
func FuzzNote(f *testing.F) {
	for _, o := range []Op{
		{Kind: KindDelete, Bucket: "b", Key: "k\xff", ETag: "e", Time: time.Unix(1, 2)},
		{Kind: KindPut, Bucket: "b", Key: "k", Body: []byte{0, 1}, Headers: s3client.Headers{ContentType: "x", Meta: map[string]string{"mode": "1", "\xff": "\xfe"}}},
		{Kind: KindHeaders, Bucket: "b", Key: "k", Size: 1 << 40, After: time.Unix(5, 0)},
	} {
		p, err := o.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`{"v":1,"kind":"put","bucket":[],"key":["!"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Decode(3, data)
		if err != nil {
			return
		}
		again, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		same, err := Decode(3, again)
		if err != nil {
			t.Fatal(err)
		}
		if o.Kind == KindDelete {
			o.Headers, same.Headers = s3client.Headers{}, s3client.Headers{} // a deletion has none
		}
		if len(o.Body) == 0 && len(same.Body) == 0 {
			o.Body, same.Body = nil, nil
		}
		if !reflect.DeepEqual(o, same) {
			t.Errorf("%+v became %+v", o, same)
		}
	})
}
