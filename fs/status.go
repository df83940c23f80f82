package fs

// Status is how the face stands.
type Status struct {
	Passthrough      string // "on", or why not
	PassthroughOpens int64  // handles that the kernel reads by itself, so far
	SmallFetched     int64  // small files fetched before they were opened
	SmallUsed        int64  // of them, opened
}

// Status never waits.
func (s *Server) Status() Status {
	c := s.face.ahead.Counts()
	return Status{Passthrough: s.face.pass.status(), PassthroughOpens: s.face.pass.opens.Load(), SmallFetched: c.Fetched, SmallUsed: c.Used}
}
