// Package keystone asks the identity service of an OpenStack cloud for what its S3 API needs: access keys, which are there
// called EC2 credentials. It speaks v2.0, as the service that pailfs is made for documents it, and v3, as every Keystone of
// today does.
//
//	login.go        who signs in where, and what of it is missing
//	environment.go  the variables of openrc files (OS_AUTH_URL, OS_USERNAME, ...)
//	clouds.go       clouds.yaml and secure.yaml
//	session.go      signing in: a token, the project, the catalog; v2.go and v3.go have the two forms
//	credential.go   register, list, get and delete
//	wire.go         one request; errors.go, what its answer means
//
// Called by cmd/pailfs. Calls nobody of ours. Passwords, tokens and secret keys are of the type Secret, which prints as
// "(not shown)" wherever it is printed; an error holds the service's words with these taken out. Nothing is written down,
// nothing is followed (a redirect would carry the password away), and nothing is tried twice: a person waits, and a second
// registration would be a second key. There is no lock and no goroutine: a Session is for one caller.
package keystone
