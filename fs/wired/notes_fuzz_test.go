package wired

import "testing"

// FuzzUploadNote and FuzzRenameNote: notes of earlier runs are taken or refused.
func FuzzUploadNote(f *testing.F) {
	f.Add([]byte(`{"v":1,"store":"KR1","bucket":"b","key":"aw==","id":"u"}`))
	f.Add([]byte(`{"v":99}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		note, err := decodeUpload(data)
		if err == nil && (note.Bucket == "" || len(note.Key) == 0) {
			t.Errorf("%+v", note)
		}
		if err == nil {
			note.left(1)
		}
	})
}

func FuzzRenameNote(f *testing.F) {
	f.Add([]byte(`{"v":1,"stage":"copy","from_bucket":"b","from":"YQ==","to_bucket":"b","to":"Yg=="}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := decodeRename(data)
		if err == nil && (in.FromBucket == "" || in.ToBucket == "" || in.String() == "") {
			t.Errorf("%+v", in)
		}
	})
}
