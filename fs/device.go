package fs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A mount may be somebody else's: a process that may mount opens /dev/fuse, mounts it, and hands the descriptor to this one,
// which needs no privilege to serve it. The mount point is then a name alone, of a place in another namespace perhaps.

var (
	// ErrDevice: a descriptor is none that can be served.
	ErrDevice = errors.New("nothing can be served")
	// ErrNotOurs: who mounted it unmounts it. What is written stays until this process ends.
	ErrNotOurs = errors.New("the mount is somebody else's")
)

// fuseMajor and fuseMinor are the numbers of /dev/fuse.
const fuseMajor, fuseMinor = 10, 229

// devicePatience is how long the kernel's first request is waited for, in milliseconds: it is there when mount(2) has returned.
const devicePatience = 1000

// CheckDevice says whether a descriptor is one of /dev/fuse that is mounted and that nobody has served yet. Nothing is read.
func CheckDevice(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%w: descriptor %d: %w", ErrDevice, fd, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(fuseMajor, fuseMinor) {
		return fmt.Errorf("%w: descriptor %d is not /dev/fuse", ErrDevice, fd)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		switch _, err := unix.Poll(poll, devicePatience); {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("%w: descriptor %d: %w", ErrDevice, fd, err)
		case poll[0].Revents&unix.POLLERR != 0:
			return fmt.Errorf("%w: descriptor %d of /dev/fuse is not mounted, or not any more", ErrDevice, fd)
		case poll[0].Revents&unix.POLLIN == 0:
			return fmt.Errorf("%w: descriptor %d has been served before", ErrDevice, fd)
		}
		return nil
	}
}

// mountDevice mounts for o what a descriptor leads to. It is closed when that fails.
func (n *node) mountDevice(o Options) (*Server, error) {
	err := CheckDevice(o.Device)
	if err == nil {
		err = unix.SetNonblock(o.Device, false) // the library waits in read(2)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(o.Device))
	}
	// The library closes it from here on.
	server, err := serve(fmt.Sprintf("/dev/fd/%d", o.Device), n, n.face.library(mountOptions(o), o.TTL))
	if err != nil {
		return nil, fmt.Errorf("%w: descriptor %d: %w", ErrDevice, o.Device, err)
	}
	if server.KernelSettings().Major == 0 {
		return nil, fmt.Errorf("%w: the mount of descriptor %d has been served before", ErrDevice, o.Device)
	}
	return &Server{fuse: server, face: n.face, mountpoint: o.Mountpoint, release: o.releaser()}, nil
}

// releaser is how the mount of a descriptor is taken away.
func (o Options) releaser() func(lazily bool) error {
	if o.Release != nil {
		return o.Release
	}
	return func(bool) error { return ErrNotOurs }
}
