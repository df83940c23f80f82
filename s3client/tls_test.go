package s3client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// certificate makes one of its own authority, for the names and addresses, and a file with it.
func certificate(t *testing.T, change func(*x509.Certificate)) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	noError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	noError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// A connection is encrypted with TLS 1.2 or better, by a certificate of an authority that is trusted, for the name that was asked for.
// Otherwise no request leaves this host: nobody in the middle gets a signature, and no error is "not found".
func TestTLSIsVerified(t *testing.T) {
	good, trusted := certificate(t, func(*x509.Certificate) {})
	_, other := certificate(t, func(*x509.Certificate) {})
	named, forName := certificate(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"store.example"} })
	old, expired := certificate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	client, forClients := certificate(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	for name, c := range map[string]struct {
		cert tls.Certificate
		ca   string
		most uint16
		ok   bool
	}{
		"an own authority":         {good, trusted, 0, true},
		"TLS 1.2":                  {good, trusted, tls.VersionTLS12, true},
		"TLS 1.1":                  {good, trusted, tls.VersionTLS11, false},
		"TLS 1.0":                  {good, trusted, tls.VersionTLS10, false},
		"an authority of nobody":   {good, "", 0, false},
		"another authority":        {good, other, 0, false},
		"another name":             {named, forName, 0, false},
		"over":                     {old, expired, 0, false},
		"a certificate of clients": {client, forClients, 0, false},
	} {
		for _, provider := range []string{"aws", "generic"} { // with the guard of HEADs, which makes its own connections, and without
			var asked atomic.Int64
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				object(w, r, "e", []byte("x"))
			}))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{c.cert}, MinVersion: tls.VersionTLS10, MaxVersion: c.most} // a server may be anything
			srv.StartTLS()
			cl, err := Open(Config{Endpoint: srv.URL, Region: "us-east-1", Provider: provider, CAFile: c.ca, Timeout: time.Second,
				Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}})
			noError(t, err)
			_, err = cl.Head(t.Context(), "bucket", "k")
			_, reached := cl.Reach(t.Context())
			cl.Close()
			srv.Close()
			if (err == nil) != c.ok || (reached == nil) != c.ok || KindOf(err) == NotFound {
				t.Errorf("%s, %s: %v, %v", name, provider, err, reached)
			}
			if n := asked.Load(); (n > 0) != c.ok {
				t.Errorf("%s, %s: %d requests arrived", name, provider, n)
			}
			if !c.ok && c.most == 0 {
				want(t, name, err, Unknown, "BadCertificate")
			}
		}
	}
}

// What answers without encryption is not spoken to, and a file of authorities that holds none is refused.
func TestTLSIsNotLeftOut(t *testing.T) {
	var asked atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer plain.Close()
	c, err := Open(Config{Endpoint: strings.Replace(plain.URL, "http:", "https:", 1), Timeout: time.Second, Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}})
	noError(t, err)
	defer c.Close()
	_, err = c.Head(t.Context(), "bucket", "k")
	want(t, "plain", err, Invalid, "NotHTTPS")
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests in the clear", n)
	}
	empty := writeFile(t, filepath.Join(t.TempDir(), "ca"), "no certificate", 0o644)
	_, err = Open(Config{Endpoint: "https://127.0.0.1", CAFile: empty, Credentials: CredentialsConfig{Anonymous: true}})
	want(t, "an empty file", err, Invalid, "BadConfiguration")
}

// An address with a password, and a proxy with one that cannot be read, are told without it.
func TestAddressesAreToldWithoutPasswords(t *testing.T) {
	for _, endpoint := range []string{"https://user:planted@host", "https://planted@host", "http://user:planted@host:bad", "https://user:pl%zzanted@host", "user:planted@host"} {
		_, err := Open(Config{Endpoint: endpoint, Credentials: CredentialsConfig{Anonymous: true}})
		if err == nil || strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "anted@") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
