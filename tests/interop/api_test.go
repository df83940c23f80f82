package interop

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// service is what the service documents, in its order: the S3 API, and the calls for EC2-type credentials.
var service = []string{
	"GET Service", "PUT Bucket", "HEAD Bucket", "DELETE Bucket", "PUT Bucket ACL", "GET Bucket ACL", "GET Bucket Location",
	"GET Bucket List Objects", "GET Object", "HEAD Object", "PUT Object", "PUT Object Copy", "DELETE Object",
	"Initiate Multipart Upload", "Upload Part", "Upload Part Copy", "Complete Multipart Upload", "Abort Multipart Upload",
	"List Parts", "List Multipart Uploads", "DELETE Multiple Objects",
	"PUT Bucket with object lock", "PUT Object Lock Configuration", "GET Object Lock Configuration",
	"Presigned URL, GET", "Presigned URL, PUT",
	"POST tokens", "POST credentials/OS-EC2", "GET credentials/OS-EC2", "DELETE credentials/OS-EC2",
}

var namedTest = regexp.MustCompile("`(Test[A-Za-z0-9_]+)` in ([a-z0-9/]+)")

// Each request that the service documents has a row, with what uses it and tests that are there; what is not used has a reason.
func TestTheAPITable(t *testing.T) {
	text := string(read(t, filepath.Join(testenv.Root(t), "docs", "API.md")))
	var rows []string
	for _, table := range testenv.Tables(text) {
		if table.Head[0] != "Request" {
			continue
		}
		for _, row := range table.Rows {
			if len(row) != 3 {
				t.Fatalf("%q", row)
			}
			rows = append(rows, row[0])
			tests := namedTest.FindAllString(row[2], -1)
			if reason, unused := strings.CutPrefix(row[1], "not used"); unused && len(reason) < 10 || !unused && len(tests) == 0 {
				t.Errorf("%s: neither a test nor a reason: %q, %q", row[0], row[1], row[2])
			}
			if row[2] != "-" && strings.Join(tests, ", ") != row[2] {
				t.Errorf("%s: not only tests: %q", row[0], row[2])
			}
		}
	}
	if !slices.Equal(rows, service) {
		t.Errorf("the rows are\n%q, want\n%q", rows, service)
	}
	testenv.NamedTests(t, text)
}
