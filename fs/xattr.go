package fs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"

	"pailfs/fs/tree"
)

var (
	_ gofuse.NodeGetxattrer    = (*node)(nil)
	_ gofuse.NodeSetxattrer    = (*node)(nil)
	_ gofuse.NodeRemovexattrer = (*node)(nil)
	_ gofuse.NodeListxattrer   = (*node)(nil)
)

// userPrefix begins the names of attributes that users may set; there are no others here.
const userPrefix = "user."

// maxXAttrName is what the kernel takes (XATTR_NAME_MAX).
const maxXAttrName = 255

// xattrName is a name without its prefix. What has another prefix is not kept: there are no capabilities, no labels and no
// ACLs, which is said at once, since ls and every write to a file ask for them.
func xattrName(attr string) (string, syscall.Errno) {
	name, ok := strings.CutPrefix(attr, userPrefix)
	switch {
	case !ok:
		return "", syscall.EOPNOTSUPP
	case name == "":
		return "", syscall.EINVAL
	case len(attr) > maxXAttrName:
		return "", syscall.ERANGE
	}
	return name, 0
}

// Getxattr reads an extended attribute.
func (n *node) Getxattr(ctx context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	name, errno := xattrName(attr)
	switch {
	case errno == syscall.EOPNOTSUPP && !strings.HasPrefix(attr, "system."):
		return 0, syscall.ENODATA
	case errno != 0:
		return 0, errno
	}
	own, done := n.face.request(ctx, n.face.timeout)
	defer done()
	var value string
	if virtual, ok := strings.CutPrefix(name, virtualPrefix); ok {
		value, errno = n.virtual(own, virtual)
	} else {
		value, errno = n.userXAttr(own, name)
	}
	if errno != 0 {
		return 0, errno
	}
	return answer(dest, value)
}

func (n *node) userXAttr(ctx context.Context, name string) (string, syscall.Errno) {
	all, errno := n.xattrs(ctx)
	if errno != 0 {
		return "", errno
	}
	value, ok := all[name]
	if !ok {
		return "", syscall.ENODATA
	}
	return value, 0
}

// xattrs are the node's attributes by name without prefix.
func (n *node) xattrs(ctx context.Context) (map[string]string, syscall.Errno) {
	p, named := n.path()
	if !named || n.isGone() || n.isSplit() {
		return nil, 0 // what is left of a file without a name are its bytes
	}
	all, err := n.face.tree.XAttrs(ctx, p)
	return all, n.face.fail(ctx, "read extended attributes", p, err)
}

// answer hands a value to the kernel, or its length where only that was asked for.
func answer(dest []byte, value string) (uint32, syscall.Errno) {
	if len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

// Listxattr names the attributes that Setxattr has set, here or elsewhere. The virtual ones are not among them: programs
// that copy attributes would copy these.
func (n *node) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	own, done := n.face.request(ctx, n.face.timeout)
	defer done()
	all, errno := n.xattrs(own)
	if errno != 0 {
		return 0, errno
	}
	names := make([]string, 0, len(all))
	for name := range all {
		if len(userPrefix)+len(name) <= maxXAttrName && !strings.HasPrefix(name, virtualPrefix) {
			names = append(names, userPrefix+name+"\x00")
		}
	}
	slices.Sort(names)
	return answer(dest, strings.Join(names, ""))
}

// Setxattr sets an extended attribute, as chmod sets a mode: with the upload of what is not stored yet, else in the store.
func (n *node) Setxattr(ctx context.Context, attr string, value []byte, flags uint32) syscall.Errno {
	name, errno := xattrName(attr)
	if errno != 0 {
		return errno
	}
	if virtual, ok := strings.CutPrefix(name, virtualPrefix); ok {
		return n.setVirtual(ctx, virtual, string(value))
	}
	return n.changeXAttr(ctx, tree.Change{XAttr: &tree.XAttr{Name: name, Value: string(value),
		Create: flags&unix.XATTR_CREATE != 0, Replace: flags&unix.XATTR_REPLACE != 0}})
}

// Removexattr takes an extended attribute away.
func (n *node) Removexattr(ctx context.Context, attr string) syscall.Errno {
	name, errno := xattrName(attr)
	switch {
	case errno == syscall.EOPNOTSUPP:
		return syscall.ENODATA
	case errno != 0:
		return errno
	case strings.HasPrefix(name, virtualPrefix):
		return syscall.EPERM
	}
	return n.changeXAttr(ctx, tree.Change{XAttr: &tree.XAttr{Name: name, Remove: true}})
}

func (n *node) changeXAttr(ctx context.Context, c tree.Change) syscall.Errno {
	if n.isSplit() {
		return syscall.ESTALE // another inode has the name now
	}
	if n.isGone() {
		return syscall.ENOENT
	}
	own, done := n.face.request(ctx, 0)
	defer done()
	e, errno := n.entry(own)
	if errno != 0 {
		return errno
	}
	_, errno = n.change(own, e, c)
	return errno
}

// The attributes that pailfs itself knows of a file, user.pailfs.NAME.
const virtualPrefix = "pailfs."

const (
	virtualETag        = "etag"
	virtualContentType = "content-type" // can be set; "" is the type by the name
	virtualClass       = "storage-class"
	virtualKey         = "key"
	virtualUpload      = "upload-state"
	virtualCache       = "cache-state"
	virtualACL         = "acl" // of buckets; can be set
	virtualLocation    = "location"
)

// virtual reads one of them; ENODATA where the file has none.
func (n *node) virtual(ctx context.Context, name string) (string, syscall.Errno) {
	switch name {
	case virtualACL, virtualLocation:
		return n.ofBucket(ctx, name)
	case virtualETag, virtualContentType, virtualClass, virtualKey, virtualUpload, virtualCache:
	default:
		return "", syscall.ENODATA
	}
	e, errno := n.entry(ctx)
	if errno != 0 {
		return "", errno
	}
	value, ok := "", false
	switch name {
	case virtualETag:
		value, ok = e.ETag, e.ETag != ""
	case virtualKey:
		value, ok = objectKey(e), e.Key != ""
	case virtualUpload:
		value, ok = n.uploadState(e), true
	case virtualCache:
		value, ok = n.cacheState(e)
	default:
		return n.ofHeaders(ctx, name)
	}
	if !ok {
		return "", syscall.ENODATA
	}
	return value, 0
}

// objectKey is the key of an entry's object; a directory's is its marker.
func objectKey(e tree.Entry) string {
	if e.IsDir() {
		return e.Key + "/"
	}
	return e.Key
}

func (n *node) ofBucket(ctx context.Context, name string) (value string, _ syscall.Errno) {
	p, named := n.path()
	if !named {
		return "", syscall.ENODATA
	}
	var err error
	if name == virtualACL {
		value, err = n.face.tree.BucketACL(ctx, p)
	} else {
		value, err = n.face.tree.BucketLocation(ctx, p)
	}
	return value, n.face.fail(ctx, "read "+name, p, err)
}

func (n *node) ofHeaders(ctx context.Context, name string) (string, syscall.Errno) {
	p, named := n.path()
	if !named || n.isGone() {
		return "", syscall.ENODATA
	}
	e, h, err := n.face.tree.HeadersOf(ctx, p)
	switch {
	case err != nil:
		return "", n.face.fail(ctx, "read headers", p, err)
	case e.Key == "" || e.Pending && name == virtualClass:
		return "", syscall.ENODATA
	case name == virtualContentType:
		return h.ContentType, 0
	}
	if class := n.face.tree.StorageClass(e); class != "" {
		return class, 0
	}
	return "STANDARD", 0 // which stores do not name
}

// uploadState says whether the store has all of a file: "stored", "unsaved" with the bytes that it lacks, "failed" with
// the last try's error too, or "waiting" for what has no bytes of its own.
func (n *node) uploadState(e tree.Entry) string {
	file := n.fileOf(e)
	if file == nil {
		file = n.file()
	}
	if file != nil {
		if u, unsaved := file.Unsaved(); unsaved && u.Err != nil {
			return fmt.Sprintf("failed %d bytes: %v", u.Bytes, u.Err)
		} else if unsaved {
			return fmt.Sprintf("unsaved %d bytes", u.Bytes)
		}
	}
	if n.face.tree.Waits(e.Path) {
		return "waiting"
	}
	return "stored"
}

// cacheState is how much of a stored file can be read without the store.
func (n *node) cacheState(e tree.Entry) (string, bool) {
	if e.Mode&syscall.S_IFMT != syscall.S_IFREG || e.ETag == "" {
		return "", false
	}
	memory, disk := n.face.files.Cached(versionOf(e))
	return fmt.Sprintf("memory %d, disk %d of %d bytes", memory, disk, e.Size), true
}

// setVirtual changes one of those that can be changed.
func (n *node) setVirtual(ctx context.Context, name, value string) syscall.Errno {
	switch name {
	case virtualContentType:
		return n.changeXAttr(ctx, tree.Change{ContentType: &value})
	case virtualACL:
		p, named := n.path()
		if !named {
			return syscall.ENOENT
		}
		own, done := n.face.request(ctx, n.face.timeout)
		defer done()
		return n.face.fail(own, "set acl", p, n.face.tree.SetBucketACL(own, p, value))
	}
	return syscall.EPERM
}
