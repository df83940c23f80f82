package s3test_test

import (
	"cmp"
	"os"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3test"
)

// servers are what known servers lack, by the name in PAILFS_TEST_SERVER.
var servers = map[string]s3test.Options{
	"":    {},
	"aws": {},
	"minio": {NoObjectPrefixClash: true, NoPathKeys: true, NoLongComponents: true, NoBucketACL: true, CopyLosesExpires: true,
		AbortAlwaysWorks: true},
	"versitygw": {NoObjectPrefixClash: true, NoSlashBody: true, NoPathKeys: true, NoLongComponents: true,
		NoControlCharKeys: true, BadKeyFails: true, OwnDirectoryType: true, NoCannedACL: true, SelfCopyMerges: true, PinsRace: true},
	"swift": {ACLOwnerOnly: true, UploadMetaDashes: true, OvertakenPutFails: true},
}

// TestRealServer runs the suite on the server that the environment names:
//
//	PAILFS_TEST_ENDPOINT                          a URL; without it nothing is tested
//	PAILFS_TEST_REGION                            as it is signed
//	PAILFS_TEST_PROVIDER                          a profile's name, auto by default
//	PAILFS_TEST_SERVER                            versitygw, minio, swift or aws: what the server is known to lack
//	PAILFS_TEST_LISTING_LAG                       how late its listings may be, as in 5s
//	AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY   an account that may create buckets
func TestRealServer(t *testing.T) {
	endpoint := os.Getenv("PAILFS_TEST_ENDPOINT")
	if endpoint == "" {
		t.Skip("no real server: PAILFS_TEST_ENDPOINT is not set")
	}
	server := os.Getenv("PAILFS_TEST_SERVER")
	o, ok := servers[server]
	if !ok {
		t.Fatalf("PAILFS_TEST_SERVER=%s: not a server this suite knows", server)
	}
	o.Server = cmp.Or(server, endpoint)
	if lag := os.Getenv("PAILFS_TEST_LISTING_LAG"); lag != "" {
		var err error
		if o.ListingLag, err = time.ParseDuration(lag); err != nil {
			t.Fatalf("PAILFS_TEST_LISTING_LAG: %v", err)
		}
	}
	s3test.Run(t, func(t *testing.T) s3client.Store {
		c, err := s3client.Open(s3client.Config{
			Endpoint: endpoint, Region: os.Getenv("PAILFS_TEST_REGION"), Provider: os.Getenv("PAILFS_TEST_PROVIDER"),
			Timeout: time.Minute, UserAgent: "pailfs/test",
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}, o)
}
