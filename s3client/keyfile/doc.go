// Package keyfile writes access keys into files of the form of ~/.aws/credentials, which s3client reads and so do the AWS
// tools. It changes the lines of one profile and no other byte: comments, order, other profiles and other settings stay. A
// reader finds the old file or the new one and never half of either, two writers take turns, and nobody but the owner can
// read the result.
//
// Called by cmd/pailfs. Calls nobody of ours.
package keyfile
