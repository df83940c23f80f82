package s3mem_test

import (
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
	"pailfs/s3client/s3test"
)

// The sizes of the suite's parts follow the profile: a small minimum makes it quick.
const minPart = 64 << 10

func TestConformance(t *testing.T) {
	stores := map[string]struct {
		open func() s3client.Store
		o    s3test.Options
	}{
		"s3mem": {open: func() s3client.Store { return s3mem.New(s3mem.WithMinPart(minPart)) }},
		"s3mem like Swift": {
			open: func() s3client.Store { return s3mem.New(s3mem.WithMinPart(minPart), s3mem.LikeSwift()) },
			o:    s3test.Options{ACLOwnerOnly: true, UploadMetaDashes: true},
		},
		"s3fault without faults": {open: func() s3client.Store {
			return s3fault.New(s3mem.New(s3mem.WithMinPart(minPart)))
		}},
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			store.o.Server = name
			s3test.Run(t, func(*testing.T) s3client.Store { return store.open() }, store.o)
		})
	}
}
