package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sys/unix"
)

// networkFailure recognises why no answer came; nil when the error is none of the network's.
func (s subject) networkFailure(err error) *failure {
	host := hostOf(s.endpoint)
	var dns *net.DNSError
	if errors.As(err, &dns) {
		why := fmt.Sprintf("the name of %s cannot be looked up (%s)", host, dns.Err)
		if dns.IsNotFound {
			return s.fail(exitUnreachable, why, "check the spelling of --endpoint or --region, and this host's DNS (/etc/resolv.conf)")
		}
		return s.fail(exitUnreachable, why, "this host's DNS does not answer: check /etc/resolv.conf and the network")
	}
	if f := s.tlsFailure(err, host); f != nil {
		return f
	}
	var timeout net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return s.fail(exitUnreachable, host+" refuses connections", "nothing listens there: check host and port of --endpoint, and that the store runs")
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return s.fail(exitUnreachable, "no route to "+host, hintNetwork)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return s.fail(exitUnreachable, fmt.Sprintf("no answer from %s in time", host), hintNetwork)
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return s.fail(exitUnreachable, host+" closes the connection", "a proxy or firewall between may do that, or the port speaks another protocol")
	}
	return nil
}

func (s subject) tlsFailure(err error, host string) *failure {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		return s.fail(exitUnreachable, fmt.Sprintf("the certificate of %s is signed by an authority this host does not know", host),
			"give the authority's certificate with --ca-file FILE, or install ca-certificates")
	case errors.As(err, &name):
		return s.fail(exitUnreachable, fmt.Sprintf("the certificate of %s is for other names (%v)", host, name),
			"check --endpoint; with --virtual-hosted a bucket name with dots does not fit the certificate")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return s.fail(exitUnreachable, fmt.Sprintf("the certificate of %s is not valid now (%v)", host, invalid),
			"check this host's clock first; if it is right, the certificate must be renewed")
	case errors.As(err, &invalid):
		return s.fail(exitUnreachable, fmt.Sprintf("the certificate of %s is not valid (%v)", host, invalid), "")
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return s.fail(exitUnreachable, host+" does not speak TLS", "the endpoint may be http://, or its port another one")
	}
	return nil
}
