// Package tree decides about names: which path is which key, what exists, what attributes it has, and what a change of
// names costs the store. It knows neither FUSE nor minio nor the bytes of open files.
//
// Called by fs. Calls s3client.Store (requests), cache.Entries (what listings and HEADs said) and the Copy func that fs
// takes from fs/upload. content's Stored callback arrives here through fs.
package tree
