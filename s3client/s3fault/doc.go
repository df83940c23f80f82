// Package s3fault is a decorator around a store that fails on purpose, by rules that a test adds.
//
// A Rule says which calls it strikes (method, bucket, key or prefix, the nth one or by chance with a seed) and what
// happens to them: an error instead of the call, an error after the call has been carried out (a lost answer), a delay,
// a body that breaks off or stalls, a hook. Every fault that was really delivered is counted (Counts), so that a test
// can account for each: it reached the caller, or it was retried.
//
// Called by tests only. Calls the store it decorates. Its mutex guards rules and counts and is never held across a
// call, a delay or a hook. It starts no goroutine. Without rules it changes nothing.
package s3fault
