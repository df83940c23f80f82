package keystone

import (
	"cmp"
	"fmt"
	"strings"
)

// FromEnvironment reads the variables that openrc files set. What is not there stays empty.
func FromEnvironment(getenv func(string) string) (Login, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	l := Login{
		URL:  getenv("OS_AUTH_URL"),
		User: getenv("OS_USERNAME"), UserID: getenv("OS_USER_ID"), Password: Secret(getenv("OS_PASSWORD")),
		UserDomain:   first("OS_USER_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
		UserDomainID: first("OS_USER_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID", "OS_DEFAULT_DOMAIN"),
		Project:      first("OS_PROJECT_NAME", "OS_TENANT_NAME"), ProjectID: first("OS_PROJECT_ID", "OS_TENANT_ID"),
		ProjectDomain:   first("OS_PROJECT_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
		ProjectDomainID: first("OS_PROJECT_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID", "OS_DEFAULT_DOMAIN"),
		Token:           Secret(first("OS_TOKEN", "OS_AUTH_TOKEN")),
		ApplicationID:   getenv("OS_APPLICATION_CREDENTIAL_ID"), ApplicationName: getenv("OS_APPLICATION_CREDENTIAL_NAME"),
		ApplicationSecret: Secret(getenv("OS_APPLICATION_CREDENTIAL_SECRET")),
		Region:            getenv("OS_REGION_NAME"), Interface: first("OS_INTERFACE", "OS_ENDPOINT_TYPE"), CAFile: getenv("OS_CACERT"),
		From: "the environment (OS_AUTH_URL ...)",
	}
	var err error
	if l.Version, err = versionOf(getenv("OS_IDENTITY_API_VERSION")); err != nil {
		return l, fmt.Errorf("OS_IDENTITY_API_VERSION: %w", err)
	}
	if err := l.only(getenv("OS_AUTH_TYPE")); err != nil {
		return l, fmt.Errorf("OS_AUTH_TYPE: %w", err)
	}
	return l, nil
}

func versionOf(v string) (int, error) {
	major, _, _ := strings.Cut(strings.TrimPrefix(v, "v"), ".")
	switch major {
	case "":
		return 0, nil
	case "2":
		return 2, nil
	case "3":
		return 3, nil
	}
	return 0, fmt.Errorf("%q is neither 2 nor 3", v)
}

// only keeps what belongs to a way of signing in, "" for whatever is there.
func (l *Login) only(way string) error {
	switch way {
	case "":
	case "password", "v2password", "v3password":
		l.Token, l.ApplicationID, l.ApplicationName, l.ApplicationSecret = "", "", "", ""
	case "token", "v2token", "v3token":
		l.ApplicationID, l.ApplicationName, l.ApplicationSecret = "", "", ""
	case "v3applicationcredential":
		l.Token = ""
	default:
		return fmt.Errorf("%q is a way to sign in that is not known here: password, token or v3applicationcredential", way)
	}
	if strings.HasPrefix(way, "v2") || strings.HasPrefix(way, "v3") {
		l.Version = cmp.Or(l.Version, int(way[1]-'0'))
	}
	return nil
}
