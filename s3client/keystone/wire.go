package keystone

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"pailfs/s3client/outward"
)

// Options say how the service is asked.
type Options struct {
	// Timeout bounds each request with its answer, 30 s by default.
	Timeout   time.Duration
	UserAgent string
	// Transport replaces the own one, for tests.
	Transport http.RoundTripper
}

const (
	defaultTimeout = 30 * time.Second
	dialTimeout    = 10 * time.Second
	// maxAnswer bounds an answer: catalogs of large clouds have some 100 KB.
	maxAnswer = 1 << 20
	// maxMessage bounds the service's words in an error.
	maxMessage = 500
)

// wire is one service as it is asked.
type wire struct {
	http      *http.Client
	base      string // without version
	userAgent string
	secrets   []Secret // taken out of the service's words
}

func newWire(base, caFile string, o Options) (*wire, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	t := o.Transport
	if t == nil {
		conf := &tls.Config{MinVersion: tls.VersionTLS12}
		if caFile != "" {
			pool, err := outward.Trust(caFile)
			if err != nil {
				return nil, err
			}
			conf.RootCAs = pool
		}
		t = &http.Transport{
			Proxy: outward.Proxy, DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig: conf, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: maxAnswer, // a PKI token stands in a header
		}
	}
	// A redirect is no answer: whoever sent it would get the password, or the token.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &wire{http: &http.Client{Transport: t, Timeout: o.Timeout, CheckRedirect: stay}, base: base, userAgent: o.UserAgent}, nil
}

// request is one call. Its answer is a JSON document into, unless that is nil.
type request struct {
	op           string
	method, path string // path with the version: /v3/auth/tokens
	token        Secret
	subject      Secret // the token that is asked about, in v3
	body         any
	into         any
	want         []int // the statuses of success
}

// call makes a request, once. The error is an *Error.
func (w *wire) call(ctx context.Context, r request) (http.Header, error) {
	e := &Error{Op: r.op, URL: w.base + r.path}
	req, err := w.prepare(ctx, r)
	if err != nil {
		e.Kind, e.Err = Invalid, err
		return nil, e
	}
	resp, err := w.http.Do(req)
	if err != nil {
		e.Kind, e.Err, e.Sent = Unavailable, err, true
		return nil, e
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	e.Status = resp.StatusCode
	switch {
	case err != nil:
		e.Kind, e.Err, e.Sent = Unavailable, err, true
		return nil, e
	case !slices.Contains(r.want, resp.StatusCode):
		w.refused(e, resp, doc)
		return nil, e
	case len(doc) > maxAnswer:
		e.Message, e.Sent = fmt.Sprintf("an answer of more than %d bytes", maxAnswer), true
		return nil, e
	case r.into == nil:
		return resp.Header, nil
	}
	if err := json.Unmarshal(doc, r.into); err != nil {
		// Its text may be a part of the answer, and that the secret.
		e.Kind, e.Message, e.Sent = NoAPI, "the answer is not the document that an identity service gives", true
		return nil, e
	}
	return resp.Header, nil
}

func (w *wire) prepare(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, w.base+r.path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if w.userAgent != "" {
		req.Header.Set("User-Agent", w.userAgent)
	}
	for name, token := range map[string]Secret{"X-Auth-Token": r.token, "X-Subject-Token": r.subject} {
		if token == "" {
			continue
		}
		if strings.ContainsFunc(token.Reveal(), func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, fmt.Errorf("the token has characters that no token has")
		}
		req.Header.Set(name, token.Reveal())
	}
	return req, nil
}

// refused fills in an answer that says no.
func (w *wire) refused(e *Error, resp *http.Response, doc []byte) {
	words, own := w.words(doc)
	e.Message = words
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized && resp.Header.Get("Openstack-Auth-Receipt") != "":
		e.Kind = SecondFactor
	case s == http.StatusUnauthorized:
		e.Kind = Refused
	case s == http.StatusForbidden:
		e.Kind = Forbidden
	case s == http.StatusNotFound && own:
		e.Kind = NotFound
	case s >= 500, s == http.StatusTooManyRequests, s == http.StatusRequestTimeout:
		// A gateway may have passed it on before it lost patience.
		e.Kind, e.Sent = Unavailable, s >= 500
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed, s == http.StatusGone, s >= 200 && s < 400:
		e.Kind = NoAPI
		if to := resp.Header.Get("Location"); to != "" && s >= 300 && e.Message == "" {
			e.Message = "it points to " + cut(to)
		}
	case own:
		e.Kind = Invalid
	}
}

// words are what the service says, {"error": {"message": ...}}; own is false for an answer of another form: a page.
func (w *wire) words(doc []byte) (words string, own bool) {
	var said map[string]json.RawMessage
	if json.Unmarshal(doc, &said) != nil {
		return "", false
	}
	for _, part := range said { // old versions call it "unauthorized", "itemNotFound", ...
		var fault struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(part, &fault) == nil && fault.Message != "" {
			return w.cleaned(fault.Message), true
		}
	}
	return "", len(said) > 0
}

// cleaned takes secrets out of the service's words, should it repeat what it was sent.
func (w *wire) cleaned(text string) string {
	for _, s := range w.secrets {
		if len(s) > 3 {
			text = strings.ReplaceAll(text, s.Reveal(), notShown)
		}
	}
	return cut(text)
}

func cut(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return text
}
