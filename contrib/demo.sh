#!/bin/bash
# The demo: an S3 store with sample buckets in a temporary directory, mounted at ./demo. Ctrl-C ends it and removes
# everything. `make demo` calls it.
#
#   contrib/demo.sh [--check] [MOUNTPOINT]
#
# With --check it mounts, reads and writes a little, and leaves: a test of the demo itself.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
check=0 mountpoint=''
for arg in "$@"; do
	case $arg in
	--check) check=1 ;;
	-h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
	-*) echo "demo: unknown option $arg" >&2; exit 2 ;;
	*) mountpoint=$arg ;;
	esac
done
mountpoint=$(realpath -m -- "${mountpoint:-$root/demo}")

say() { printf '%s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || die "mounts need Linux"

# --- FUSE -------------------------------------------------------------------------------------------------------------
need_fuse() {
	if ! command -v fusermount3 >/dev/null; then
		[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
			die "fuse3 is not installed: sudo apt-get install fuse3 (or your system's package of that name)"
		say "installing fuse3 ..."
		local log
		log=$(mktemp)
		export DEBIAN_FRONTEND=noninteractive
		apt-get install -q -y --no-install-recommends fuse3 >"$log" 2>&1 </dev/null ||
			{ apt-get update -q && apt-get install -q -y --no-install-recommends fuse3; } >>"$log" 2>&1 </dev/null ||
			{ tail -n 20 "$log" >&2; rm -f "$log"; die "apt-get could not install fuse3"; }
		rm -f "$log"
	fi
	[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
	[ -e /dev/fuse ] || die "there is no /dev/fuse; in a container: docker run --device /dev/fuse --cap-add SYS_ADMIN"
	[ -r /dev/fuse ] && [ -w /dev/fuse ] || die "/dev/fuse cannot be opened by $(id -un); as root: chmod 0666 /dev/fuse"
}

# --- what is started here, and ended in the end -------------------------------------------------------------------------
tmp='' store='' mount='' made_mountpoint=0 ending=0
finish() {
	local status=$?
	[ $ending = 0 ] || return
	ending=1
	trap '' INT TERM HUP
	if [ -n "$mount" ] && kill -0 "$mount" 2>/dev/null; then
		say "unmounting ..."
		kill -TERM "$mount" 2>/dev/null || true
		wait "$mount" || { status=$?; tail -n 20 "$tmp/mount.log" >&2 || true; }
	fi
	if is_mounted; then
		umount -l "$mountpoint" 2>/dev/null || fusermount3 -u -z "$mountpoint" 2>/dev/null || true
		status=1
	fi
	if [ -n "$store" ]; then
		kill -TERM "$store" 2>/dev/null || true
		wait "$store" 2>/dev/null || true
	fi
	[ $made_mountpoint = 0 ] || rmdir "$mountpoint" 2>/dev/null || true
	[ -z "$tmp" ] || rm -rf -- "$tmp"
	exit $status
}
is_mounted() { grep -qF " $mountpoint " /proc/self/mountinfo; }

await() { # await PID LOG COMMAND...: until the command succeeds, as long as the process lives
	local pid=$1 log=$2 until=$((SECONDS + 120))
	shift 2
	until "$@"; do
		if ! kill -0 "$pid" 2>/dev/null; then
			tail -n 20 "$log" >&2
			die "it has ended instead"
		fi
		if [ $SECONDS -ge $until ]; then
			tail -n 20 "$log" >&2 # it goes with the demo
			die "no answer after 120 s; above is the end of its log"
		fi
		sleep 0.1
	done
}

# The store keeps its metadata in extended attributes; not every temporary directory has them.
start_store() {
	local dir
	for dir in "${TMPDIR:-/tmp}" /var/tmp /dev/shm "$HOME"; do
		tmp=$(mktemp -d "$dir/pailfs-demo.XXXXXX" 2>/dev/null) || continue
		mkdir "$tmp/store" "$tmp/state" "$tmp/run"
		# A session of its own: Ctrl-C must reach the mount's end before the store's.
		DEMOSTORE_SECRET=demosecret setsid "$root/bin/demostore" --dir "$tmp/store" --access demo --region KR1 --samples \
			--print env >"$tmp/store.env" 2>"$tmp/store.log" </dev/null &
		store=$!
		while kill -0 "$store" 2>/dev/null && ! [ -s "$tmp/store.env" ]; do sleep 0.1; done
		[ ! -s "$tmp/store.env" ] || return 0
		wait "$store" || true
		store=''
		if ! grep -q 'no user extended attributes' "$tmp/store.log"; then
			cat "$tmp/store.log" >&2
			die "the store did not start"
		fi
		rm -rf -- "$tmp"
		tmp=''
	done
	die "no temporary directory with extended attributes: TMPDIR can name one"
}

start_mount() {
	if is_mounted && ! stat "$mountpoint" >/dev/null 2>&1; then
		say "taking away the dead mount of an earlier run"
		umount -l "$mountpoint" 2>/dev/null || fusermount3 -u -z "$mountpoint"
	fi
	! is_mounted || die "something is mounted at $mountpoint already"
	if [ ! -d "$mountpoint" ]; then
		mkdir -p "$mountpoint"
		made_mountpoint=1
	fi
	[ -z "$(ls -A "$mountpoint")" ] || die "$mountpoint is not empty"
	(
		set -a
		. "$tmp/store.env"
		PAILFS_RUN_DIR=$tmp/run
		exec setsid "$root/bin/pailfs" mount "$mountpoint" --endpoint "$PAILFS_ENDPOINT" --region "$PAILFS_REGION" \
			--foreground --state-dir "$tmp/state"
	) >"$tmp/mount.log" 2>&1 </dev/null &
	mount=$!
	await "$mount" "$tmp/mount.log" is_mounted
	await "$mount" "$tmp/mount.log" ls "$mountpoint/documents" >/dev/null
}

check_mount() {
	local file=$mountpoint/documents/written-by-the-check.txt
	[ "$(ls "$mountpoint" | wc -l)" = 4 ] || die "not four buckets"
	grep -q 'object of an S3 bucket' "$mountpoint/documents/README.txt" || die "README.txt has other content"
	[ "$(find "$mountpoint/events" -type f | wc -l)" = 3000 ] || die "not 3000 files in events"
	[ "$(stat -c %s "$mountpoint/backups/disk-image.bin")" = $((200 << 20)) ] || die "disk-image.bin has another size"
	echo text >"$file" && [ "$(cat "$file")" = text ] && rm "$file" || die "a file could not be written, read and removed"
	say "check passed"
}

if [ "${DEMO_BUILD:-1}" = 1 ]; then
	command -v "${GO:-go}" >/dev/null ||
		die "there is no Go to build it with: https://go.dev/dl/, 1.26 or later (any since 1.21 fetches that by itself); GO=PATH names one"
fi
need_fuse
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ "${DEMO_BUILD:-1}" = 1 ]; then
	say "building pailfs and the demo store ..."
	make -s -C "$root" build store
fi
say "starting the store and filling its buckets (200 MB and 3000 small files) ..."
start_store
start_mount
if [ $check = 1 ]; then
	check_mount
	exit 0
fi

shown=$(realpath --relative-base="$PWD" "$mountpoint")
cat <<TEXT

The whole account is mounted at $shown, a directory for each bucket. In another terminal:

  ls -l $shown $shown/documents
  cat $shown/documents/README.txt
  find $shown/events | wc -l                           3000 objects in 60 directories
  dd if=$shown/backups/disk-image.bin of=/dev/null bs=1M
  cp -r /usr/share/doc/bash $shown/documents/
  vim $shown/documents/letters/to\\ the\\ office.txt
  mkdir $shown/my-bucket                               a bucket
  tar c $shown/documents | tar t

The same buckets for any other S3 tool:

$(sed -n 's/^PAILFS_ENDPOINT=/  endpoint    /p; s/^PAILFS_REGION=/  region      /p; s/^AWS_ACCESS_KEY_ID=/  access key  /p; s/^AWS_SECRET_ACCESS_KEY=/  secret key  /p' "$tmp/store.env")

What the mount says of itself:

  PAILFS_RUN_DIR=$tmp/run $(realpath --relative-base="$PWD" "$root/bin/pailfs") status $shown

The log: $tmp/mount.log
Ctrl-C unmounts, stops the store and removes everything.
TEXT
# An unmount from outside ends the demo as well. `wait` returns at once when a signal comes.
wait "$mount" && mount='' || { status=$?; mount=''; tail -n 20 "$tmp/mount.log" >&2; exit $status; }
