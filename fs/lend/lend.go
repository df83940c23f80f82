package lend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Options are how a lender mounts.
type Options struct {
	Flags   uintptr  // MS_RDONLY, MS_NOSUID and the like
	Words   []string // for the kernel: allow_other, context="..."
	MaxRead int      // bytes of the largest read request
	Source  string   // what df shows; "": what the borrower asks for
}

// Lender lends mounts of one mount point. Run is called once.
type Lender struct {
	// Mountpoint is an existing directory, its symbolic links resolved.
	Mountpoint string
	Options    Options
	// May says who may borrow.
	May func(uid uint32) bool
	// Dead says whether the process behind a mount is gone.
	Dead func(mountpoint string) bool
	// Serving is called when a borrower serves the mount.
	Serving func(mountpoint string) error
	Log     *slog.Logger

	own int // id of the mount that is lent, 0: none
}

// askPatience is how long a borrower may take to say what it wants: others wait for it.
const askPatience = 5 * time.Second

// Run lends on a listener. When stopping ends it asks the borrower to end, waits until it has, and takes the mount away; when
// leaving ends it waits no longer.
func (l *Lender) Run(stopping, leaving context.Context, on *net.UnixListener) error {
	if err := l.clean(); err != nil { // a borrower of an earlier run may still be serving: it is waited for
		l.Log.Warn("there is a mount already", "mountpoint", l.Mountpoint, "err", err)
	}
	defer context.AfterFunc(stopping, func() { on.Close() })()
	for {
		conn, err := on.AcceptUnix()
		switch {
		case stopping.Err() != nil:
			if err == nil {
				err = conn.Close()
			} else {
				err = nil
			}
			return errors.Join(err, l.clean())
		case err != nil:
			return fmt.Errorf("wait for borrowers: %w", err)
		}
		l.serve(stopping, leaving, conn)
	}
}

// serve is one borrower from its first word to its end.
func (l *Lender) serve(stopping, leaving context.Context, conn *net.UnixConn) {
	defer conn.Close()
	peer, err := peerOf(conn)
	if err != nil || !l.May(peer.Uid) {
		l.Log.Warn("refused", "peer", peer, "err", err)
		return
	}
	log := l.Log.With("uid", peer.Uid, "pid", peer.Pid) // 0: of another pid namespace
	want, err := l.wish(conn)
	if err != nil {
		if !errors.Is(err, io.EOF) { // one that only looked whether somebody listens
			log.Warn("no request", "err", err)
		}
		return
	}
	fd, err := l.mount(peer, want)
	if err != nil {
		log.Error("cannot mount", "mountpoint", l.Mountpoint, "err", err)
		if err := write(conn, failure(sayMounted, "mount "+l.Mountpoint, err), -1); err != nil {
			log.Warn("the borrower is gone", "err", err)
		}
		return
	}
	defer l.takeAway(log)
	err = write(conn, message{Say: sayMounted, Mountpoint: l.Mountpoint}, fd)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		log.Error("cannot hand the descriptor over", "err", err)
		return
	}
	log.Info("mounted", "mountpoint", l.Mountpoint, "read_only", want.ReadOnly)
	defer context.AfterFunc(stopping, func() { l.askToEnd(conn, log) })()
	defer context.AfterFunc(leaving, func() { conn.Close() })()
	for {
		m, _, err := read(conn, false)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				log.Warn("the connection is broken", "err", err)
			}
			log.Info("the borrower has ended")
			return
		}
		l.answer(conn, m, log)
	}
}

func (l *Lender) wish(conn *net.UnixConn) (message, error) {
	if err := conn.SetReadDeadline(time.Now().Add(askPatience)); err != nil {
		return message{}, err
	}
	m, _, err := read(conn, false)
	if err == nil && m.Say != sayMount {
		err = fmt.Errorf("the first word is %q", m.Say)
	}
	return m, errors.Join(err, conn.SetReadDeadline(time.Time{}))
}

func (l *Lender) askToEnd(conn *net.UnixConn, log *slog.Logger) {
	log.Info("asking the borrower to end: it stores what is left first")
	if err := write(conn, message{Say: sayStop}, -1); err != nil {
		log.Warn("the borrower cannot be told", "err", err)
	}
}

// answer carries one word of a borrower out.
func (l *Lender) answer(conn *net.UnixConn, m message, log *slog.Logger) {
	var reply message
	switch m.Say {
	case sayServing:
		if err := l.Serving(l.Mountpoint); err != nil {
			log.Debug("the kernel's readahead stays at its default", "err", err)
		}
		return
	case sayUnmount, sayDetach:
		flags := unix.UMOUNT_NOFOLLOW
		if m.Say == sayDetach {
			flags |= unix.MNT_DETACH
		}
		err := l.unmount(flags)
		if err == nil {
			log.Info("unmounted", "mountpoint", l.Mountpoint, "lazily", m.Say == sayDetach)
		} else {
			log.Info("not unmounted", "mountpoint", l.Mountpoint, "err", err)
		}
		reply = failure(sayDone, "unmount "+l.Mountpoint, err)
	default:
		reply = failure(sayDone, m.Say, errors.New("no word of this protocol"))
	}
	if err := write(conn, reply, -1); err != nil {
		log.Debug("the borrower is gone", "err", err)
	}
}
