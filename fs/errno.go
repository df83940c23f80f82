package fs

import (
	"context"
	"errors"
	"syscall"

	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

// kindErrno is the total table from the store's answers to errno. A test holds it to every Kind there is.
var kindErrno = map[s3client.Kind]syscall.Errno{
	s3client.Unknown:     syscall.EIO,
	s3client.NotFound:    syscall.ENOENT,
	s3client.Exists:      syscall.EEXIST,
	s3client.NotEmpty:    syscall.ENOTEMPTY,
	s3client.Changed:     syscall.ESTALE,
	s3client.Denied:      syscall.EACCES,
	s3client.Throttled:   syscall.EBUSY,
	s3client.Temporary:   syscall.EIO,
	s3client.TooLarge:    syscall.EFBIG,
	s3client.Unsupported: syscall.EOPNOTSUPP,
	s3client.Invalid:     syscall.EINVAL,
	s3client.Canceled:    syscall.EINTR,
}

// errGone: what an open file stood on is not in the store any more.
var errGone = errors.New("the version that was opened is gone")

// nameErrno is the table of tree's errors and content's.
var nameErrno = []struct {
	err   error
	errno syscall.Errno
}{
	{errGone, syscall.ESTALE}, // first: it wraps what is missing
	{tree.ErrStale, syscall.EIO},
	{tree.ErrNotFound, syscall.ENOENT},
	{tree.ErrExists, syscall.EEXIST},
	{tree.ErrNotEmpty, syscall.ENOTEMPTY},
	{tree.ErrNotDir, syscall.ENOTDIR},
	{tree.ErrIsDir, syscall.EISDIR},
	{tree.ErrName, syscall.EINVAL},
	{tree.ErrNameTooLong, syscall.ENAMETOOLONG},
	{tree.ErrReadOnly, syscall.EROFS},
	{tree.ErrBusy, syscall.EBUSY},
	{tree.ErrInvalid, syscall.EINVAL},
	{tree.ErrNotPermitted, syscall.EPERM},
	{tree.ErrCross, syscall.EXDEV},
	{tree.ErrNoAttribute, syscall.ENODATA},
	{tree.ErrNoSpace, syscall.ENOSPC},
	{content.ErrConflict, syscall.ESTALE},
}

// errnoOf is the one place where an error becomes an errno. What nobody foresaw is EIO, never "no such file".
func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, row := range nameErrno {
		if errors.Is(err, row.err) {
			return row.errno
		}
	}
	var stored *s3client.Error
	if errors.As(err, &stored) {
		if errors.Is(err, context.DeadlineExceeded) {
			return syscall.ETIMEDOUT
		}
		if errno, ok := kindErrno[stored.Kind]; ok {
			return errno
		}
		return syscall.EIO
	}
	switch {
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	case errors.Is(err, context.DeadlineExceeded):
		return syscall.ETIMEDOUT
	}
	var errno syscall.Errno
	if errors.As(err, &errno) { // the spool's disk: ENOSPC, EDQUOT, EIO
		if errno == syscall.ENOENT || errno == syscall.ENOTDIR { // a file of ours is missing, not the one that was asked for
			return syscall.EIO
		}
		return errno
	}
	return syscall.EIO
}

// expected errors belong to a program's ordinary life; they are not worth a line in the log.
func expected(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.ENOTDIR, syscall.EISDIR, syscall.EINVAL,
		syscall.ENAMETOOLONG, syscall.EINTR, syscall.EROFS, syscall.EPERM, syscall.ENODATA, syscall.EXDEV:
		return true
	}
	return false
}

// fail turns an error into an errno and logs it, once, with what was being done. A bare errno is an answer that the face
// itself has decided on.
func (f *face) fail(ctx context.Context, op, path string, err error) syscall.Errno {
	if errno, decided := err.(syscall.Errno); decided { //nolint:errorlint // a wrapped one is somebody's failure
		return errno
	}
	errno := errnoOf(err)
	switch {
	case errno == 0:
	case expected(errno), errors.Is(err, tree.ErrStale), // tree has said once that the store does not answer
		errors.Is(err, content.ErrClosed): // and the log that the mount ends
		f.log.DebugContext(ctx, op, "path", path, "errno", errno.Error(), "err", err)
	default:
		f.log.WarnContext(ctx, op+" failed", "path", path, "errno", errno.Error(), "err", err)
	}
	return errno
}
