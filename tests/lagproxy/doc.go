// Package lagproxy makes a local S3 server answer as a remote one does, and counts what it is asked.
//
// It is a TCP proxy that understands HTTP/1.1 framing and changes no byte: one connection to the server for each of a
// client's, requests and answers in their order, keep-alive and pipelining as the client likes. An answer's first byte
// leaves no sooner than the latency after its request was complete (the server's own time counts towards it); a request
// waits for the latency of the one before it on the same connection alone. Each connection carries at most Rate bytes a
// second in each direction. Bodies move by splice(2), so that the proxy costs a fraction of what client and server do.
//
// It can do harm as well: to single requests and answers (Strike), to all connections that are open (Freeze), and as an
// endpoint that goes away and comes back (Leave, Return). Each harm is written down (Strokes), and each answer is counted as
// its client got it (Given).
//
// Not modelled: TLS, TCP's slow start, loss. Requests are told apart in path style (/BUCKET/KEY); other requests pass and
// count as Other. tests/bench uses it, and cmd/lagproxy is the same as a program.
package lagproxy
