package main

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"pailfs/s3client"
)

// settings are all options, parsed and checked.
type settings struct {
	Region, Endpoint, Provider, Profile string
	CredentialsFile, CAFile             string
	VirtualHosted, Anonymous            bool

	ReadOnly, AllowOther bool
	UID, GID             uint32
	FileMode, DirMode    uint32
	FullAttributes       bool
	BucketPattern        []string
	XAttr                bool

	Memory       int64 // bytes of all caches and buffers
	MetadataTTL  time.Duration
	CacheDir     string // "": the default place
	CacheSize    int64  // bytes; 0: no disk cache, -1: not given
	CacheMinFree int64  // bytes
	Passthrough  string // auto or off

	Durability string        // store or journal
	MaxLag     time.Duration // how far the store may lag behind in journal durability
	Verify     string        // auto, full or off
	PartSize   int64         // bytes
	StateDir   string

	Timeout     time.Duration
	MaxRequests int
	WriteRate   float64 // writes a second, 0 = the store profile's
	Bandwidth   bandwidth

	Foreground bool
	LogLevel   slog.Level     // that it was begun with
	level      *slog.LevelVar // that of the log, which may be changed; nil before there is one
	LogFormat  string
	LogFile    string // "" in the foreground: standard error

	MetricsAddr, DebugAddr string // HOST:PORT or unix:PATH, "" for none

	FD       int    // of /dev/fuse, mounted by somebody else; 0: none
	FDSocket string // of the mount-helper that has one; "": none

	MountWords []string // words of -o for the kernel: nosuid, nodev, ...

	Config  string // the configuration file to use in place of the usual ones
	Keys    accessKeys
	Origins []origin // where the values are from, in the order of the table
}

// The values of --durability.
const (
	durabilityStore   = "store"
	durabilityJournal = "journal"
)

// option is one line of the table: a flag, an -o option, an environment variable and a line of every document.
type option struct {
	name  string // --name; -o name or its form with underscores; PAILFS_NAME
	short string // -s, "" for none
	group string
	value string // what the help calls the value; "" makes it a switch
	def   string // the default; for documents alone when dynamic is set
	help  string
	store bool   // also an option of the commands that talk to the store and mount nothing
	alone string // help for these commands, where it is another
	// dynamic is a default that depends on the host.
	dynamic func() (string, error)
	set     func(*settings, string) error
}

const (
	groupStore   = "Store"
	groupAccess  = "Access"
	groupCache   = "Cache"
	groupWrite   = "Write"
	groupLimits  = "Limits"
	groupRunning = "Running"
)

var groups = []string{groupStore, groupAccess, groupCache, groupWrite, groupLimits, groupRunning}

// options is the one table of options.
var options = []option{
	{name: "region", group: groupStore, value: "NAME", store: true,
		help: "region of the storage: KR1, KR2, KR3, JP1 or US1; with --endpoint the region that requests are signed for (us-east-1 if not given)",
		set:  text(func(s *settings) *string { return &s.Region })},
	{name: "endpoint", group: groupStore, value: "URL", store: true, def: "the region's",
		help: "address of the store, https://HOST[:PORT]", dynamic: fixed(""),
		set: parseEndpoint},
	{name: "provider", group: groupStore, value: "NAME", store: true, def: "auto",
		help: "what kind of store it is: " + either(s3client.Providers),
		set:  oneOf(func(s *settings) *string { return &s.Provider }, s3client.Providers...)},
	{name: "profile", group: groupStore, value: "NAME", store: true, def: "default",
		help: "profile of the credentials file", dynamic: fixed(""),
		set: text(func(s *settings) *string { return &s.Profile })},
	{name: "credentials-file", group: groupStore, value: "FILE", store: true, def: "~/.aws/credentials",
		help: "file with access and secret key, in the form of ~/.aws/credentials", dynamic: fixed(""),
		set: path(func(s *settings) *string { return &s.CredentialsFile })},
	{name: "ca-file", group: groupStore, value: "FILE", store: true, def: "the system's",
		help: "certificates (PEM) of authorities to trust besides the system's", dynamic: fixed(""),
		set: path(func(s *settings) *string { return &s.CAFile })},
	{name: "virtual-hosted", group: groupStore, store: true,
		help: "bucket names in the host name (BUCKET.HOST) instead of the path",
		set:  boolean(func(s *settings) *bool { return &s.VirtualHosted })},
	{name: "anonymous", group: groupStore, store: true,
		help: "sign nothing: for public buckets",
		set:  boolean(func(s *settings) *bool { return &s.Anonymous })},

	{name: "read-only", group: groupAccess,
		help: "mount read-only; the same as -o ro",
		set:  boolean(func(s *settings) *bool { return &s.ReadOnly })},
	{name: "allow-other", group: groupAccess,
		help: "let other users than the mounting one in (not root: needs user_allow_other in /etc/fuse.conf)",
		set:  boolean(func(s *settings) *bool { return &s.AllowOther })},
	{name: "uid", group: groupAccess, value: "USER", def: "who mounts", dynamic: ownUID,
		help: "owner of files and directories that have none stored (number or name)",
		set:  userID(func(s *settings) *uint32 { return &s.UID })},
	{name: "gid", group: groupAccess, value: "GROUP", def: "who mounts", dynamic: ownGID,
		help: "group of files and directories that have none stored (number or name)",
		set:  groupID(func(s *settings) *uint32 { return &s.GID })},
	{name: "file-mode", group: groupAccess, value: "MODE", def: "0644",
		help: "permissions of files that have none stored (octal)",
		set:  octal(func(s *settings) *uint32 { return &s.FileMode })},
	{name: "dir-mode", group: groupAccess, value: "MODE", def: "0755",
		help: "permissions of directories that have none stored (octal)",
		set:  octal(func(s *settings) *uint32 { return &s.DirMode })},
	{name: "attributes", group: groupAccess, value: "full|basic", def: "full",
		help: "full: mode, owner, times and links as stored with each object; basic: what listings say, with no request for each file",
		set:  parseAttributes},
	{name: "xattr", group: groupAccess,
		help: "extended attributes: user.* are the object's metadata, user.pailfs.* what pailfs knows of it; ls -l takes longer",
		set:  boolean(func(s *settings) *bool { return &s.XAttr })},

	{name: "bucket-pattern", group: groupAccess, value: "PATTERN[:PATTERN...]",
		help: "without BUCKET: show the buckets whose names match (* and ?) and no others",
		set:  parseBucketPattern},

	{name: "memory", group: groupCache, value: "SIZE", def: "a quarter of the memory, at most 256MiB", dynamic: defaultMemory,
		help: "memory for cached data and names, and for data on its way",
		set:  size(func(s *settings) *int64 { return &s.Memory }, 8<<20, 1<<50)},
	{name: "metadata-ttl", group: groupCache, value: "TIME", def: "5s",
		help: "how long names and attributes are used without asking the store again; 0 asks every time, forever is for data that never changes",
		set:  orForever(duration(func(s *settings) *time.Duration { return &s.MetadataTTL }, 0, forever))},
	{name: "cache-dir", group: groupCache, value: "DIR", def: "/var/cache/pailfs; not root: $XDG_CACHE_HOME/pailfs", dynamic: fixed(""),
		help: "where the disk cache lies; given, it turns the disk cache on",
		set:  path(func(s *settings) *string { return &s.CacheDir })},
	{name: "cache-size", group: groupCache, value: "SIZE", def: "0, no disk cache; with --cache-dir 10GiB", dynamic: fixed("-1"),
		help: "how much of the store's data the disk cache keeps, for this mount",
		set:  cacheSize},
	{name: "cache-min-free", group: groupCache, value: "SIZE", def: "1GiB",
		help: "free space of its disk that the disk cache leaves alone",
		set:  size(func(s *settings) *int64 { return &s.CacheMinFree }, 0, 1<<60)},
	{name: "passthrough", group: groupCache, value: "auto|off", def: "auto",
		help: "auto: the kernel itself reads files that lie wholly in the disk cache (root, Linux 6.9 and later)",
		set:  oneOf(func(s *settings) *string { return &s.Passthrough }, "auto", "off")},

	{name: "durability", group: groupWrite, value: "store|journal", def: "store",
		help: "what a close that succeeded means: store: the store has the file; journal (experimental): it is on this host's disk, and is stored in the background",
		set:  oneOf(func(s *settings) *string { return &s.Durability }, durabilityStore, durabilityJournal)},
	{name: "max-lag", group: groupWrite, value: "TIME", def: "30s",
		help: "with --durability=journal: how old the oldest unstored file may get before close waits for the store as well",
		set:  duration(func(s *settings) *time.Duration { return &s.MaxLag }, time.Second, 24*time.Hour)},
	{name: "verify", group: groupWrite, value: "auto|full|off", def: "auto",
		help: "what the store says it has received is compared with what was sent: auto: files of at most 1 MiB, full: every part and every file, off: none",
		set:  oneOf(func(s *settings) *string { return &s.Verify }, "auto", "full", "off")},
	{name: "part-size", group: groupWrite, value: "SIZE", def: "8MiB",
		help: "size of the first parts of multipart uploads; parts grow with the file",
		set:  size(func(s *settings) *int64 { return &s.PartSize }, 5<<20, 5<<30)},
	{name: "state-dir", group: groupWrite, value: "DIR", def: "/var/lib/pailfs; not root: $XDG_STATE_HOME/pailfs",
		dynamic: defaultStateDir,
		help:    "where data lies that the store does not have yet, and the logs; it needs room for files while they are written",
		set:     path(func(s *settings) *string { return &s.StateDir })},

	{name: "timeout", group: groupLimits, value: "TIME", store: true, def: "2m",
		alone: "how long a request is tried before it fails",
		help:  "how long a request is tried before it fails, and how long the last upload may stand still at umount",
		set:   duration(func(s *settings) *time.Duration { return &s.Timeout }, time.Second, 24*time.Hour)},
	{name: "max-requests", group: groupLimits, value: "N", store: true, def: "64",
		help: "requests in flight at once",
		set:  count(func(s *settings) *int { return &s.MaxRequests }, 1, 4096)},
	{name: "write-rate", group: groupLimits, value: "N", store: true, def: "the provider's (nhn: 450, else none)", dynamic: fixed("0"),
		help: "writes a second (PUT, COPY, POST, DELETE) this mount sends at most; hosts that share an account share its limit",
		set:  rate(func(s *settings) *float64 { return &s.WriteRate })},
	{name: "bandwidth", group: groupLimits, value: "SIZE[:SIZE]", store: true, def: "none", dynamic: fixed("0"),
		help: "bytes a second, each way, or to the store:from the store (10MiB:0 limits uploads alone); 0 is no limit",
		set:  parseBandwidth},

	{name: "foreground", short: "f", group: groupRunning,
		help: "stay in the foreground and log to standard error",
		set:  boolean(func(s *settings) *bool { return &s.Foreground })},
	{name: "fd", group: groupRunning, value: "N", dynamic: fixed(""),
		help: "serve descriptor N of /dev/fuse, which somebody else has mounted; MOUNTPOINT only names it then; /dev/fd/N as MOUNTPOINT is the same",
		set:  parseFD},
	{name: "fd-socket", group: groupRunning, value: "PATH", dynamic: fixed(""),
		help: "serve the mount that `pailfs mount-helper` lends at this socket: no privilege is needed; MOUNTPOINT only names it then",
		set:  parseFDSocket},
	{name: "config", group: groupRunning, value: "FILE", store: true, dynamic: fixed(""),
		def:  "/etc/pailfs/config.yaml and ~/.config/pailfs/config.yaml",
		help: "configuration file to use in place of the usual ones",
		set:  path(func(s *settings) *string { return &s.Config })},
	{name: "log-level", group: groupRunning, value: "LEVEL", def: "info",
		help: "debug, info, warn or error",
		set:  parseLevel},
	{name: "log-format", group: groupRunning, value: "text|json", def: "text",
		help: "form of a log line",
		set:  oneOf(func(s *settings) *string { return &s.LogFormat }, "text", "json")},
	{name: "log-file", group: groupRunning, value: "FILE", def: "STATE_DIR/log/NAME.log; in the foreground standard error", dynamic: fixed(""),
		help: "where to log; SIGHUP opens it again after a rotation",
		set:  path(func(s *settings) *string { return &s.LogFile })},
	{name: "metrics-addr", group: groupRunning, value: "[HOST:]PORT|unix:PATH", dynamic: fixed(""),
		help: "answer /metrics (Prometheus), /livez and /readyz there, over plain HTTP; without HOST on the loopback alone, with 0.0.0.0 on every address",
		set:  parseAddress(func(s *settings) *string { return &s.MetricsAddr })},
	{name: "debug-addr", group: groupRunning, value: "[HOST:]PORT|unix:PATH", dynamic: fixed(""),
		help: "answer /debug/pprof and /debug/vars there; the loopback or a socket alone, for profiles may show what is in memory",
		set:  parseAddress(func(s *settings) *string { return &s.DebugAddr }, onLoopback)},
}

// env is the option's environment variable.
func (o option) env() string {
	return "PAILFS_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
}

// key is the option's usual form behind -o.
func (o option) key() string { return strings.ReplaceAll(o.name, "-", "_") }

func (o option) isSwitch() bool { return o.value == "" }

// initial is the value the option has when nobody sets it.
func (o option) initial() (string, error) {
	switch {
	case o.dynamic != nil:
		return o.dynamic()
	case o.isSwitch():
		return "false", nil
	}
	return o.def, nil
}

// storeOptions are the options of commands that talk to the store and mount nothing.
func storeOptions() []option {
	var out []option
	for _, o := range options {
		if o.store {
			out = append(out, o)
		}
	}
	return out
}

// optionNamed finds an option by its name, with dashes or underscores.
func optionNamed(opts []option, name string) (option, bool) {
	name = strings.ReplaceAll(name, "_", "-")
	for _, o := range opts {
		if o.name == name {
			return o, true
		}
	}
	return option{}, false
}

// The strength of what gives an option its value: the smallest wins.
const (
	fromFlag = iota
	fromWord // -o
	fromEnv
	fromMount // its own section in a configuration file
	fromFile  // the options section of one
	fromDefault
)

// origin says where the value of an option is from.
type origin struct {
	name, value string
	from        int
	shown       string // "--region", "-o region", "PAILFS_REGION", "/etc/pailfs/config.yaml:4"
}

// sources are where the values of options come from, strongest first: flags, -o, environment, files, the default.
type sources struct {
	flag   func(name string) (value string, set bool)
	words  map[string]string // -o by option name with dashes
	getenv func(string) string
	file   func(name string) (fileValue, bool) // nil: no files
}

// find is where an option's value is from: the strongest source that has one. An empty environment variable counts as not set.
func (src sources) find(o option) (origin, error) {
	if v, ok := src.flag(o.name); ok {
		return origin{o.name, v, fromFlag, "--" + o.name}, nil
	}
	if v, ok := src.words[o.name]; ok {
		return origin{o.name, v, fromWord, "-o " + o.key()}, nil
	}
	if v := src.getenv(o.env()); v != "" {
		return origin{o.name, v, fromEnv, o.env()}, nil
	}
	if src.file != nil {
		if v, ok := src.file(o.name); ok {
			return origin{o.name, v.value, v.from, v.where()}, nil
		}
	}
	v, err := o.initial()
	return origin{o.name, v, fromDefault, "--" + o.name}, err
}

// resolve gives every option its value.
func resolve(command string, opts []option, src sources) (*settings, error) {
	s := &settings{}
	for _, o := range opts {
		from, err := src.find(o)
		if err != nil {
			return nil, &failure{code: exitHost, command: command, message: fmt.Sprintf("no default for %s: %v", from.shown, err),
				hint: fmt.Sprintf("give %s", from.shown)}
		}
		if err := o.set(s, from.value); err != nil {
			shown := from.shown
			if from.from == fromMount || from.from == fromFile {
				shown += ": " + o.name
			}
			f := usagef(command, "%s: %v", shown, err)
			f.hint = fmt.Sprintf("--%s %s: %s", o.name, o.value, o.help)
			return nil, f
		}
		s.Origins = append(s.Origins, from)
	}
	return s, nil
}
