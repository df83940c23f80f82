package s3client

import "strings"

// The ready-made ACLs of a bucket, and what is none of them.
const (
	ACLPrivate           = "private"
	ACLPublicRead        = "public-read"
	ACLPublicReadWrite   = "public-read-write"
	ACLAuthenticatedRead = "authenticated-read"
	ACLCustom            = "custom"
)

// Canned is the ready-made ACL that has these grants, or ACLCustom.
func (a ACL) Canned() string {
	var anyRead, anyWrite, knownRead, other bool
	for _, g := range a.Grants {
		group := g.Grantee[strings.LastIndexByte(g.Grantee, '/')+1:]
		switch {
		case group == "AllUsers" || group == "all-users":
			anyRead = anyRead || g.Permission == "READ"
			anyWrite = anyWrite || g.Permission == "WRITE"
			other = other || g.Permission != "READ" && g.Permission != "WRITE"
		case group == "AuthenticatedUsers":
			knownRead = knownRead || g.Permission == "READ"
			other = other || g.Permission != "READ"
		case g.Grantee != a.Owner || g.Permission != "FULL_CONTROL":
			other = true
		}
	}
	switch {
	case other, anyWrite && !anyRead, anyRead && knownRead:
		return ACLCustom
	case anyRead && anyWrite:
		return ACLPublicReadWrite
	case anyRead:
		return ACLPublicRead
	case knownRead:
		return ACLAuthenticatedRead
	}
	return ACLPrivate
}
