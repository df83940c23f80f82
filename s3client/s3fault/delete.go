package s3fault

import (
	"context"

	"pailfs/s3client"
)

// DeleteMany implements s3client.Store. A rule for this method with a Key or Prefix strikes single keys: its Before
// leaves such a key alone and reports it, its After deletes it and reports it all the same. A rule without strikes the
// call as a whole.
func (s *Store) DeleteMany(ctx context.Context, bucket string, keys []string) ([]s3client.KeyError, error) {
	c := Call{Name: "DeleteMany", Bucket: bucket}
	rules := s.choose(c)
	if err := s.before(ctx, c, rules); err != nil {
		doubt(ctx, err)
		return nil, err
	}
	var send []string
	var failed []s3client.KeyError
	for _, key := range keys {
		err, spared := s.strikeKey(Call{Name: "DeleteMany", Bucket: bucket, Key: key})
		if err != nil {
			doubt(ctx, err)
			failed = append(failed, s3client.KeyError{Key: key, Err: err})
		}
		if !spared {
			send = append(send, key)
		}
	}
	more, err := s.inner.DeleteMany(ctx, bucket, send)
	if lost := s.after(c, rules); lost != nil {
		s3client.Doubtful(ctx)
		return nil, lost
	}
	return append(failed, more...), err
}

// strikeKey is the error that the rules have for one key, and whether the key is kept from the store.
func (s *Store) strikeKey(c Call) (err error, spared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.mu.rules {
		r := &a.rule
		if r.Call != c.Name || r.Key == "" && r.Prefix == "" || r.Before == nil && r.After == nil && r.Refused == nil ||
			!a.choosesLocked(c) {
			continue
		}
		f := s.mu.counts[c.Name]
		f.Keys++
		s.mu.counts[c.Name] = f
		switch {
		case r.Before != nil:
			return asError(c, r.Before), true
		case r.Refused != nil:
			return s3client.InDoubt(asError(c, r.Refused)), false
		}
		return asError(c, r.After), false
	}
	return nil, false
}
