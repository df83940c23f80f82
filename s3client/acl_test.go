package s3client

import (
	"strings"
	"testing"
)

func TestCannedACL(t *testing.T) {
	const groups = "http://acs.amazonaws.com/groups/global/"
	owner := Grant{"me", "FULL_CONTROL"}
	for _, c := range []struct {
		want   string
		grants []Grant
	}{
		{ACLPrivate, nil},
		{ACLPrivate, []Grant{owner}},
		{ACLPublicRead, []Grant{owner, {groups + "AllUsers", "READ"}}},
		{ACLPublicReadWrite, []Grant{owner, {groups + "AllUsers", "READ"}, {groups + "AllUsers", "WRITE"}}},
		{ACLAuthenticatedRead, []Grant{owner, {groups + "AuthenticatedUsers", "READ"}}},
		{ACLCustom, []Grant{owner, {groups + "AllUsers", "WRITE"}}},
		{ACLCustom, []Grant{owner, {groups + "AllUsers", "READ_ACP"}}},
		{ACLCustom, []Grant{owner, {"somebody", "READ"}}},
		{ACLCustom, []Grant{owner, {groups + "AllUsers", "READ"}, {groups + "AuthenticatedUsers", "READ"}}},
	} {
		if got := (ACL{Owner: "me", Grants: c.grants}).Canned(); got != c.want {
			t.Errorf("%v are %s, want %s", c.grants, got, c.want)
		}
	}
}

func TestMetadataFits(t *testing.T) {
	p := Profile{MaxMetaValue: 10, MaxMeta: 30, MaxMetaName: 5, MaxMetaItems: 3}
	for _, c := range []struct {
		meta map[string]string
		ok   bool
	}{
		{nil, true},
		{map[string]string{"a": strings.Repeat("v", 10)}, true},
		{map[string]string{"a": strings.Repeat("v", 11)}, false},
		{map[string]string{"abcde": ""}, true},
		{map[string]string{"abcdef": ""}, false},
		{map[string]string{"a": "1234567890", "b": "1234567890", "c": "1234567"}, true}, // 30 with the names
		{map[string]string{"a": "1234567890", "b": "1234567890", "c": "12345678"}, false},
		{map[string]string{"a": "", "b": "", "c": "", "d": ""}, false},
		{map[string]string{"a": "", "b": "", "c": "", "": ""}, false},
		{map[string]string{"a": "123456789", "b": "123456789", "c": "123456789"}, true},
	} {
		if err := p.Fits(Headers{Meta: c.meta}); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.meta, err)
		}
	}
	p.MaxMetaName, p.MaxMetaItems = 0, 0 // no limits
	if err := p.Fits(Headers{Meta: map[string]string{"a-long-name": "", "b": "", "c": "", "d": ""}}); err != nil {
		t.Error(err)
	}
}
