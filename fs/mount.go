package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"pailfs/cache"
	"pailfs/fs/ahead"
	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

const (
	// fsType is what /proc/mounts shows: fuse.pailfs.
	fsType = "pailfs"
	// maxBackground is how many requests the kernel keeps in flight for reading ahead; its default, 12, is less than
	// one reader needs at 20 ms a request.
	maxBackground = 256
	// readAheadKiB lifts the kernel's own readahead, 128 KiB, to one full request of 1 MiB: twice the throughput.
	// Only root may.
	readAheadKiB = 1024
	// kernelTTL and kernelAbsentTTL bound how long the kernel itself trusts names and attributes, whatever the TTL: asking
	// here again costs it 50 microseconds and the store nothing, and what it holds it cannot be told to look at again
	// (Refresh) without harm, or, where a name is absent, at all.
	kernelTTL       = 10 * time.Second
	kernelAbsentTTL = time.Second
	// MaxRequest is the largest read or write that the kernel sends without raising fs.fuse.max_pages_limit.
	MaxRequest = 1 << 20
	// extraCapabilities: no GETXATTR before each write; readdirplus only where stat follows; truncation in the open
	// itself; mappings of O_DIRECT handles; concurrent O_DIRECT requests.
	extraCapabilities = fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_ATOMIC_O_TRUNC |
		fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_ASYNC_DIO
)

// Options say what to mount where.
type Options struct {
	Tree  *tree.Tree
	Files *content.Files
	// Mountpoint is an existing directory.
	Mountpoint string
	// Device is a descriptor of /dev/fuse that somebody else has mounted; 0: none, mount here. With it Mountpoint is only a name, and
	// Source, AllowOther, MountOptions are not looked at. Mount takes the descriptor over.
	Device int
	// Release takes the mount of Device away: EBUSY while it is in use, unless lazily. nil: nobody can from here.
	Release func(lazily bool) error
	// Source is shown by df and /proc/mounts. It holds no secret.
	Source string
	// ReadOnly refuses every change in the kernel.
	ReadOnly bool
	// XAttr shows extended attributes. Without it the kernel is told once that there are none, and stops asking.
	XAttr bool
	// AllowOther lets users other than the mounting one in; permissions are checked by the kernel always.
	AllowOther bool
	// MountOptions are generic ones: nosuid, nodev, noexec and their opposites.
	MountOptions []string
	// Ahead guesses which small files are opened next; nil fetches none ahead. Attributes is built over the same one.
	Ahead *ahead.Dirs
	// Head asks for an object's attributes, for those that are asked for ahead; nil asks for none.
	Head func(ctx context.Context, bucket, key string) (s3client.Object, error)
	// Whole gives the file of an object that lies wholly in the disk tier, for passthrough. nil: PassthroughOff says why.
	Whole          func(cache.Version) (Backing, bool)
	PassthroughOff string
	// MaxInodes is how many inodes the kernel may keep that it does not use; 0: as many as it likes.
	MaxInodes int
	// TTL is how long names and attributes are trusted.
	TTL time.Duration
	// Outbox has the small changes that wait for the store; nil where there are none.
	Outbox Outbox
	// Behind is journal durability: the store gets changes after their calls have returned.
	Behind bool
	// Forget, where it is not nil, is told of an object that will not be stored any more, and what of it is half uploaded.
	Forget func(bucket, key string)
	// Kept makes durable what was appended to the journal; nil: nothing to do.
	Kept func() error
	// Timeout bounds an operation that asks the store; 0 means the store's calls alone are bounded.
	Timeout time.Duration
	Log     *slog.Logger
}

// Outbox is where small changes wait for the store.
type Outbox interface {
	// Drain carries out what waits under a prefix ("" bucket: everything) and returns when the store has it.
	Drain(ctx context.Context, bucket, prefix string) error
	// Wake says that a file which kept back changes of its name may be gone.
	Wake()
}

// Server is a mount that answers.
type Server struct {
	fuse       *fuse.Server
	face       *face
	mountpoint string
	release    func(lazily bool) error // nil: it was mounted here
}

// Errors that CheckMountpoint and Mount give for what a user can mend.
var (
	ErrNoMountpoint = errors.New("the mount point does not exist")
	ErrNotDirectory = errors.New("the mount point is not a directory")
	ErrNotEmpty     = errors.New("the mount point is not empty")
	ErrMounted      = errors.New("something is mounted there already")
	ErrNoFuse       = errors.New("this host has no /dev/fuse")
	ErrNoPermission = errors.New("no permission to mount")
)

// CheckMountpoint says whether a file system can be mounted on a directory. A dead mount of a killed daemon is no
// obstacle: Mount removes it.
func CheckMountpoint(path string) error {
	if awaited(path) || dead(path) {
		return nil
	}
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ErrNoMountpoint
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	case err != nil:
		return err
	case !fi.IsDir():
		return ErrNotDirectory
	}
	if taken, err := taken(path); err != nil {
		return fmt.Errorf("read the mount table: %w", err)
	} else if taken {
		return ErrMounted
	}
	names, err := readSome(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	}
	if len(names) > 0 {
		return ErrNotEmpty
	}
	return nil
}

// taken says whether something is mounted on a directory. What a container finds at the path of a volume does not count, a
// directory of elsewhere that is bound there, or memory: that is where it is to mount.
func taken(path string) (bool, error) {
	if mounted, err := mountinfo.Mounted(path); err != nil || !mounted {
		return mounted, err
	}
	top, err := TopMount(path)
	if err != nil || top == nil {
		return true, err
	}
	return strings.HasPrefix(top.FSType, "fuse") || top.Root == "/" && top.FSType != "tmpfs", nil
}

// awaited says whether an automount (autofs, of systemd) waits on a directory for this very mount. Whoever looks into the directory
// waits for the mount as well, and so it must not be looked into.
func awaited(path string) bool {
	top, err := TopMount(path)
	return err == nil && top != nil && top.FSType == "autofs"
}

// TopMount is the mount that hides the others on a directory, nil when there is none. The mount table is asked, not the directory.
func TopMount(path string) (*mountinfo.Info, error) {
	all, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != path, false })
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[len(all)-1], nil
}

func readSome(path string) ([]string, error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, _ := d.Readdirnames(1) // io.EOF: empty
	return names, nil
}

// dead says whether a mount's daemon is gone. statfs tells at once: a stat would be answered from the kernel's cache for
// as long as the TTL. ECONNABORTED is the answer when the daemon dies during the request, EIO when it dies while it takes the
// request from the kernel: then the next answer tells.
func dead(path string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	for tries := 0; errors.Is(err, unix.EIO) && tries < 3; tries++ {
		err = unix.Statfs(path, &st)
	}
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// CleanDead removes the dead mount of a killed daemon, if there is one.
func CleanDead(path string) (cleaned bool, err error) {
	if awaited(path) || !dead(path) {
		return false, nil
	}
	if err := unix.Unmount(path, unix.MNT_DETACH); err == nil {
		return true, nil
	} else if os.Geteuid() == 0 {
		return false, fmt.Errorf("remove the dead mount: %w", err)
	}
	if err := fusermountLazy(path); err != nil {
		return false, fmt.Errorf("remove the dead mount: %w", err)
	}
	return true, nil
}

// Mount mounts and returns when the kernel answers. The caller has set the process's umask to 0: modes come from the
// kernel with the caller's umask applied.
func Mount(ctx context.Context, o Options) (*Server, error) {
	if o.Device == 0 {
		if err := prepare(o); err != nil {
			return nil, err
		}
	}
	root := newRoot(o)
	own, cancel := root.face.request(ctx, o.Timeout)
	defer cancel()
	e, err := o.Tree.Lookup(own, "")
	if err != nil {
		if o.Device > 0 {
			err = errors.Join(err, unix.Close(o.Device))
		}
		return nil, err
	}
	root.know(e)
	how := root.mountHere
	if o.Device > 0 {
		how = root.mountDevice
	}
	s, err := how(o)
	if err != nil {
		return nil, err
	}
	if root.face.pass.whole != nil && s.fuse.KernelSettings().Flags64()&fuse.CAP_PASSTHROUGH == 0 {
		root.face.pass.refused.Store(true)
	}
	return s, nil
}

// prepare makes the mount point ready.
func prepare(o Options) error {
	if cleaned, err := CleanDead(o.Mountpoint); err != nil {
		return err
	} else if cleaned {
		o.Log.Info("removed the dead mount of a daemon that is gone", "mountpoint", o.Mountpoint)
	}
	if _, err := os.Stat("/dev/fuse"); errors.Is(err, os.ErrNotExist) {
		return ErrNoFuse
	}
	return nil
}

// mountHere mounts on o's mount point.
func (n *node) mountHere(o Options) (*Server, error) {
	real, err := filepath.EvalSymlinks(o.Mountpoint) // as the mount table calls it
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoMountpoint, err)
	}
	server, err := serve(o.Mountpoint, n, n.face.library(mountOptions(o), o.TTL))
	if err != nil {
		return nil, mountError(err)
	}
	if err := RaiseReadAhead(real); err != nil {
		o.Log.Debug("the kernel's readahead stays at its default", "err", err)
	}
	return &Server{fuse: server, face: n.face, mountpoint: o.Mountpoint}, nil
}

// serve does what gofuse.Mount does, but for its last step: that opens a file on the new mount. A process that is killed
// while it waits for an answer of its own mount never ends, since only its end would end the waiting, and what it has locked
// stays locked. The kernel's first request is answered when NewServer returns; that is all there is to wait for. What the
// step is good for, keeping the runtime's poller away from the mount, is no concern of a process that opens nothing there.
func serve(dir string, root *node, options *gofuse.Options) (*fuse.Server, error) {
	root.face.meter.RawFileSystem = gofuse.NewNodeFS(root, options)
	server, err := fuse.NewServer(root.face.meter, dir, &options.MountOptions)
	if err != nil {
		return nil, err
	}
	go server.Serve() // ends with the mount; Wait waits for it
	return server, nil
}

// newRoot makes the root's node, and what all nodes share.
func newRoot(o Options) *node {
	if o.Ahead == nil {
		o.Ahead = ahead.New(0)
	}
	root := &node{face: &face{meter: &meter{log: o.Log}, tree: o.Tree, names: newNames(), inodes: newInodes(), dirTimes: newDirTimes(), files: o.Files, log: o.Log, ttl: min(o.TTL, kernelTTL), timeout: o.Timeout,
		ahead: o.Ahead, asks: newAsksAhead(o.Head), pass: &passthrough{whole: o.Whole, why: o.PassthroughOff},
		outbox: o.Outbox, kept: o.Kept, behind: o.Behind, readOnly: o.ReadOnly, lent: o.Device > 0, forget: o.Forget}}
	root.face.root = root
	root.face.shed = &shed{most: o.MaxInodes, run: root.face.asks.run, ask: root.NotifyPrune}
	return root
}

// library is how go-fuse is to work.
func (f *face) library(options fuse.MountOptions, ttl time.Duration) *gofuse.Options {
	absent := min(ttl, kernelAbsentTTL)
	return &gofuse.Options{
		MountOptions:    options,
		NullPermissions: true, // mode 0 is a mode
		NegativeTimeout: &absent,
		EntryTimeout:    &f.ttl, // and no AttrTimeout: zero in an answer means zero (enough)
		RootStableAttr:  &gofuse.StableAttr{Ino: rootIno, Mode: syscall.S_IFDIR},
		Logger:          options.Logger,
	}
}

func mountOptions(o Options) fuse.MountOptions {
	options := []string{"default_permissions"}
	var flags uintptr = syscall.MS_NOSUID | syscall.MS_NODEV
	if o.ReadOnly {
		flags |= syscall.MS_RDONLY
	}
	for _, m := range o.MountOptions {
		if !slices.Contains(options, m) {
			options = append(options, m)
		}
	}
	direct := os.Geteuid() == 0 && o.Device == 0
	if o.ReadOnly && !direct {
		options = append(options, "ro")
	}
	return fuse.MountOptions{
		Name:              fsType,
		FsName:            o.Source,
		AllowOther:        o.AllowOther,
		Options:           options,
		DirectMountStrict: direct, // root needs no fusermount3
		DirectMountFlags:  flags,
		MaxBackground:     maxBackground,
		MaxWrite:          MaxRequest,
		DisableSplice:     true,     // answers are vectors over cached blocks; a pipe would only be taken and dropped
		DisableXAttrs:     !o.XAttr, // GNU ls -l asks two a file; with ENOSYS the kernel stops asking
		ExtraCapabilities: extraCapabilities,
		Logger:            libraryLog(o),
	}
}

// mountError names what a user can mend.
func mountError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w: %w", ErrNoFuse, err)
	case strings.Contains(err.Error(), "fusermount"): // the helper speaks in text alone
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	}
	return err
}

// RaiseReadAhead writes the read_ahead_kb of a mount that is served. The mount table names its device: the mount itself is not
// asked (serve).
func RaiseReadAhead(mountpoint string) error {
	m, err := TopMount(mountpoint)
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("%s is not in the mount table", mountpoint)
	}
	name := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", m.Major, m.Minor)
	return os.WriteFile(name, []byte(fmt.Sprint(readAheadKiB)), 0)
}

// Wait returns when the file system is unmounted, by whoever, and nothing of the face runs any more.
func (s *Server) Wait() {
	s.fuse.Wait()
	s.face.asks.close()
}

// Unmount unmounts; EBUSY while a program uses it, ErrNotOurs where somebody else is to unmount.
func (s *Server) Unmount() error {
	if s.release == nil {
		return s.fuse.Unmount()
	}
	if err := s.release(false); err != nil {
		return err
	}
	s.fuse.Wait()
	return nil
}

// Detach unmounts lazily: the name goes at once, the connection when the last program has let go.
func (s *Server) Detach() error {
	if s.release != nil {
		return s.release(true)
	}
	if err := unix.Unmount(s.mountpoint, unix.MNT_DETACH); err == nil || os.Geteuid() == 0 {
		return err
	}
	return fusermountLazy(s.mountpoint)
}
