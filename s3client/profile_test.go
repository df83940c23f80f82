package s3client

import (
	"encoding/json"
	"testing"
)

func TestProfileOf(t *testing.T) {
	for _, tt := range []struct {
		cfg                    Config
		name, region, endpoint string
	}{
		{Config{Region: "kr1"}, "nhn", "KR1", "https://kr1-api-object-storage.nhncloudservice.com"},
		{Config{Region: "JP1", Provider: "AUTO"}, "nhn", "JP1", "https://jp1-api-object-storage.nhncloudservice.com"},
		{Config{Endpoint: "https://kr2-api-object-storage.nhncloudservice.com/"}, "nhn", "KR2", "https://kr2-api-object-storage.nhncloudservice.com"},
		{Config{Endpoint: "https://api-storage.cloud.toast.com"}, "nhn", "KR1", "https://api-storage.cloud.toast.com"},
		{Config{Region: "KR1", Endpoint: "http://127.0.0.1:8080"}, "generic", "KR1", "http://127.0.0.1:8080"},
		{Config{Region: "KR1", Endpoint: "http://127.0.0.1:8080", Provider: "swift"}, "swift", "KR1", "http://127.0.0.1:8080"},
		{Config{Endpoint: "http://localhost:9000"}, "generic", "us-east-1", "http://localhost:9000"},
		{Config{Endpoint: "http://localhost:80"}, "generic", "us-east-1", "http://localhost"},
		{Config{Endpoint: "https://[::1]:443"}, "generic", "us-east-1", "https://[::1]"},
		{Config{Endpoint: "https://s3.eu-west-1.amazonaws.com"}, "aws", "eu-west-1", "https://s3.eu-west-1.amazonaws.com"},
		{Config{Endpoint: "https://s3.amazonaws.com", Region: "eu-west-1"}, "aws", "eu-west-1", "https://s3.eu-west-1.amazonaws.com"},
		{Config{Region: "eu-west-1", Provider: "aws"}, "aws", "eu-west-1", "https://s3.eu-west-1.amazonaws.com"},
		{Config{Endpoint: "https://x.example", Provider: "minio"}, "minio", "us-east-1", "https://x.example"},
	} {
		p, _, err := profileOf(tt.cfg)
		if err != nil || p.Name != tt.name || p.Region != tt.region || p.Endpoint != tt.endpoint {
			t.Errorf("%+v: %s %s %s %v", tt.cfg, p.Name, p.Region, p.Endpoint, err)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"nothing":           {},
		"unknown region":    {Region: "KR9"},
		"unknown provider":  {Region: "KR1", Provider: "gopher"},
		"no scheme":         {Endpoint: "localhost:9000"},
		"a path":            {Endpoint: "https://host/bucket"},
		"a query":           {Endpoint: "https://host/?x=1"},
		"no host":           {Endpoint: "https://"},
		"ftp":               {Endpoint: "ftp://host"},
		"no CA file":        {Region: "KR1", CAFile: "/nonexistent/ca.pem"},
		"negative time":     {Region: "KR1", Timeout: -1},
		"negative requests": {Region: "KR1", MaxRequests: -1},
		"half a key":        {Region: "KR1", Credentials: CredentialsConfig{AccessKey: "a"}},
	} {
		if cfg.Credentials.AccessKey == "" {
			cfg.Credentials = CredentialsConfig{AccessKey: "a", SecretKey: "s"}
		}
		_, err := Open(cfg)
		want(t, name, err, Invalid, "BadConfiguration")
	}
}

func TestProfiles(t *testing.T) {
	for _, name := range Providers[1:] {
		p, ok := limitsOf(name)
		if !ok || p.MinPart != 5<<20 || p.MaxPart != 5<<30 || p.MaxPut != 5<<30 || p.MaxCopy != 5<<30 || p.MaxDelete < 100 {
			t.Errorf("%s: %+v", name, p)
		}
		swift := name == "nhn" || name == "swift"
		cautious := swift || name == "generic" // which may be a Swift
		if p.MissedHEADHarmful != cautious || cautious != (p.MaxDelete == 100) || swift != (p.MaxMetaValue == 256) {
			t.Errorf("%s: %+v", name, p)
		}
		doc, err := json.Marshal(p)
		var back Profile
		if err != nil || json.Unmarshal(doc, &back) != nil || back != p {
			t.Errorf("%s: %s %v", name, doc, err)
		}
	}
	for name, parts := range map[string]int{"nhn": 10000, "aws": 10000, "minio": 10000, "swift": 1000, "generic": 1000} {
		if p, _ := limitsOf(name); p.MaxParts != parts {
			t.Errorf("%s: %d parts", name, p.MaxParts)
		}
	}
	if r, ok := RegionByName("us1"); !ok || r.Name != "US1" {
		t.Error(r, ok)
	}
}
