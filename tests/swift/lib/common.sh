# Sourced by up and down: where the state is, and which processes are ours. Sets `dir` and the functions below.

die() { echo "swift: $*" >&2; exit 1; }
say() { echo "swift: $*" >&2; }

# The names of all processes, the first ones to be stopped first.
processes=(proxy object-updater object container account keystone memcached)

# default_dir [-trixie]: memory where it has extended attributes and room (ext4 holds 3 KB of them, Swift's metadata
# takes 4 KB and more), else the temporary directory.
default_dir() {
	local probe free
	if probe=$(mktemp /dev/shm/.pailfs-swift.XXXXXX 2>/dev/null); then
		free=$(df --output=avail -k /dev/shm | tail -n 1)
		if /usr/bin/python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.swift", b"1")' "$probe" 2>/dev/null &&
			[ "$free" -gt 4194304 ]; then
			rm -f "$probe"
			echo "/dev/shm/pailfs-swift$1"
			return
		fi
		rm -f "$probe"
	fi
	echo "${TMPDIR:-/tmp}/pailfs-swift$1"
}

# born PID: when that process started, in clock ticks since the boot; with the PID it names one process for good, from
# its fork on (its command line does not: until it has called exec it is that of the shell that starts it).
born() {
	local stat
	read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
	set -- ${stat##*) }
	[ "$1" != Z ] && echo "${20}"
}

# pid_of NAME: the process that up has started under that name, as long as it runs.
pid_of() {
	local pid start
	read -r pid start 2>/dev/null <"$dir/run/$1.pid" && [ -n "$start" ] && [ "$(born "$pid")" = "$start" ] && echo "$pid"
}
running() { pid_of "$1" >/dev/null; }

lock() {
	exec 9>"$dir/lock"
	flock -w 300 9 || die "another up or down holds $dir/lock"
}
