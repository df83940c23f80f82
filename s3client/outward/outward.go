// Package outward is how this program's HTTP clients leave the host: through the environment's proxy, and trusting the system's
// certificates and those of a file.
package outward

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
)

// errProxy says what the library would say with the whole address, a password included.
var errProxy = errors.New("the proxy in HTTPS_PROXY or HTTP_PROXY has no address of the form http://HOST:PORT")

// Proxy is the environment's proxy for a request: an http.Transport's Proxy. Its error repeats nothing of the environment.
func Proxy(r *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errProxy
	}
	return proxy, nil
}

// Trust is the system's certificates and those of a PEM file.
func Trust(file string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA file: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in the CA file %s", file)
	}
	return pool, nil
}
