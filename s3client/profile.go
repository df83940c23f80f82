package s3client

import (
	"net"
	"net/url"
	"strings"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// Profile is what a kind of store can do: limits that no request asks for and habits that have to be respected.
type Profile struct {
	Name     string `json:"name"`     // "nhn", "swift", "ceph", "minio", "aws" or "generic"
	Region   string `json:"region"`   // as it is signed
	Endpoint string `json:"endpoint"` // a URL
	// MinPart and MaxPart bound a part of a multipart upload in bytes; the last part may be smaller.
	MinPart int64 `json:"min_part"`
	MaxPart int64 `json:"max_part"`
	// MaxParts is the most parts of one upload. Swift takes 1000 unless it was told otherwise.
	MaxParts int `json:"max_parts"`
	// MaxPut and MaxCopy are the most bytes of one PUT and of one CopyObject.
	MaxPut  int64 `json:"max_put"`
	MaxCopy int64 `json:"max_copy"`
	// MaxDelete is the most keys of a DeleteObjects request. Swift allows 1000 but works through them one after
	// another, without a byte until the end.
	MaxDelete int `json:"max_delete"`
	// ListV1 asks for listings by List Objects version 1.
	ListV1 bool `json:"list_v1"`
	// MaxMetaValue and MaxMeta bound one value and all names and values of the user metadata in bytes.
	MaxMetaValue int `json:"max_meta_value"`
	MaxMeta      int `json:"max_meta"`
	// MaxMetaName and MaxMetaItems bound a metadata name in bytes, and how many an object can have; 0: nothing does.
	MaxMetaName  int `json:"max_meta_name,omitempty"`
	MaxMetaItems int `json:"max_meta_items,omitempty"`
	// MetaUnderscoreLost: "_" in a metadata name becomes "-" where it is sent with a multipart upload.
	MetaUnderscoreLost bool `json:"meta_underscore_lost,omitempty"`
	// ACLUnseen: GET Bucket ACL may show the owner's grant alone, whatever was set.
	ACLUnseen bool `json:"acl_unseen,omitempty"`
	// MissedHEADHarmful: the answer to a HEAD that fails is followed by bytes that do not belong there, so that the
	// connection's next answer cannot be read. head.go keeps that from happening.
	MissedHEADHarmful bool `json:"missed_head_harmful"`
}

// Region is a region of the public cloud this program is made for.
type Region struct {
	Name     string `json:"name"` // upper case: it is part of the signature
	Place    string `json:"place"`
	Endpoint string `json:"endpoint"`
}

// Regions are the regions that need no --endpoint.
var Regions = []Region{
	{"KR1", "Korea (Pangyo)", "https://kr1-api-object-storage.nhncloudservice.com"},
	{"KR2", "Korea (Pyeongchon)", "https://kr2-api-object-storage.nhncloudservice.com"},
	{"KR3", "Korea (Gwangju)", "https://kr3-api-object-storage.nhncloudservice.com"},
	{"JP1", "Japan (Tokyo)", "https://jp1-api-object-storage.nhncloudservice.com"},
	{"US1", "USA (California)", "https://us1-api-object-storage.nhncloudservice.com"},
}

// formerHosts are endpoints of the same regions in older editions of the service's guide.
var formerHosts = map[string]string{
	"api-storage.cloud.toast.com":     "KR1",
	"kr2-api-storage.cloud.toast.com": "KR2",
	"jp1-api-storage.cloud.toast.com": "JP1",
	"us1-api-storage.cloud.toast.com": "US1",
}

// RegionByName finds a region of the table, whatever the case of the name.
func RegionByName(name string) (Region, bool) {
	for _, r := range Regions {
		if strings.EqualFold(r.Name, name) {
			return r, true
		}
	}
	return Region{}, false
}

// regionByHost finds the region that an endpoint's host belongs to.
func regionByHost(host string) (Region, bool) {
	host = strings.ToLower(host)
	if name, ok := formerHosts[host]; ok {
		return RegionByName(name)
	}
	for _, r := range Regions {
		if strings.TrimPrefix(r.Endpoint, "https://") == host {
			return r, true
		}
	}
	return Region{}, false
}

// Providers are the names that Config.Provider takes.
var Providers = []string{"auto", "nhn", "swift", "ceph", "minio", "aws", "generic"}

// nhnWriteRate stays below the 500 writes a second that the service allows an account.
const nhnWriteRate = 450

// limitsOf is the profile of a provider, without region and endpoint.
func limitsOf(provider string) (Profile, bool) {
	p := Profile{Name: provider, MinPart: 5 * mib, MaxPart: 5 * gib, MaxParts: 10000, MaxPut: 5 * gib, MaxCopy: 5 * gib,
		MaxDelete: 1000, MaxMetaValue: 2048, MaxMeta: 2048}
	switch provider {
	case "aws", "minio", "ceph":
	case "nhn", "swift":
		p.MaxDelete, p.MaxMetaValue, p.MaxMeta, p.MissedHEADHarmful = 100, 256, 4096, true
		p.MaxMetaName, p.MaxMetaItems, p.MetaUnderscoreLost, p.ACLUnseen = 128, 90, true, true
		if provider == "swift" {
			p.MaxParts = 1000
		}
	case "generic": // it may be a Swift: the narrower limits, and on guard
		p.MaxParts, p.MaxDelete, p.MissedHEADHarmful = 1000, 100, true
		p.MaxMetaName, p.MaxMetaItems, p.MetaUnderscoreLost, p.ACLUnseen = 128, 90, true, true
	default:
		return Profile{}, false
	}
	return p, true
}

// profileOf settles region, endpoint and provider of a configuration. Errors are *Error of Kind Invalid.
func profileOf(cfg Config) (Profile, *url.URL, error) {
	region, endpoint := cfg.Region, cfg.Endpoint
	listed, isListed := RegionByName(region)
	if isListed {
		region = listed.Name
	}
	provider := strings.ToLower(cfg.Provider)
	if endpoint == "" {
		switch {
		case isListed:
			endpoint = listed.Endpoint
		case provider == "aws" && region != "":
			endpoint = "https://s3." + region + ".amazonaws.com"
		default:
			return Profile{}, nil, badConfig("no endpoint: give a region of the table (KR1, KR2, KR3, JP1, US1) or an endpoint")
		}
	}
	u, err := endpointURL(endpoint)
	if err != nil {
		return Profile{}, nil, err
	}
	hostRegion, hostListed := regionByHost(u.Hostname()) // by the host alone: other Swifts name their region KR1 as well
	if region == "" && hostListed {
		region = hostRegion.Name
	}
	if provider == "" || provider == "auto" {
		provider = guessProvider(u.Hostname(), hostListed)
	}
	p, ok := limitsOf(provider)
	if !ok {
		return Profile{}, nil, badConfig("unknown provider %q: one of %s", cfg.Provider, strings.Join(Providers, ", "))
	}
	if region == "" {
		region = awsHostRegion(u.Hostname())
	}
	if u.Hostname() == "s3.amazonaws.com" {
		u.Host = "s3." + region + ".amazonaws.com"
	}
	p.Region, p.Endpoint = region, u.String()
	return p, u, nil
}

// endpointURL checks an endpoint: http or https, a host, nothing behind it.
func endpointURL(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil: // whose text has the whole, a password included
		return nil, badConfig("the endpoint is not a URL")
	case u.User != nil:
		return nil, badConfig("the endpoint has a user or password in it: it must be a host and a port, nothing more")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, badConfig("the endpoint must look like https://HOST or https://HOST:PORT")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return nil, badConfig("endpoint %q must be a host and a port, nothing more", endpoint)
	}
	u.Path = ""
	// Default ports are not sent in the Host header, which is signed.
	if h, port, err := net.SplitHostPort(u.Host); err == nil &&
		(u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443") {
		if strings.Contains(h, ":") {
			h = "[" + h + "]"
		}
		u.Host = h
	}
	return u, nil
}

func guessProvider(host string, listed bool) string {
	switch {
	case listed:
		return "nhn"
	case isAWSHost(host):
		return "aws"
	}
	return "generic"
}

func isAWSHost(host string) bool {
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// awsHostRegion takes the region out of s3.REGION.amazonaws.com; us-east-1 is what everyone else takes for "no region".
func awsHostRegion(host string) string {
	if isAWSHost(host) {
		parts := strings.Split(strings.TrimSuffix(strings.TrimSuffix(host, ".cn"), ".amazonaws.com"), ".")
		if last := parts[len(parts)-1]; last != "s3" && last != "" && last != "dualstack" {
			return last
		}
	}
	return "us-east-1"
}
