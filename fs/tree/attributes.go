package tree

import (
	"fmt"
	"maps"
	"mime"
	"reflect"
	"strconv"
	"strings"
	"time"

	"pailfs/s3client"
)

// The metadata names written, those of s3fs.
const (
	metaMode  = "mode"  // decimal st_mode with type bits
	metaUID   = "uid"   // decimal
	metaGID   = "gid"   // decimal
	metaMtime = "mtime" // seconds, or seconds.nnnnnnnnn
	metaCtime = "ctime"
	metaAtime = "atime"
	metaRdev  = "rdev" // decimal, as geesefs has it; s3fs keeps none
)

// dirContentType marks a directory for Swift's own tools and for s3fs.
const dirContentType = "application/directory"

// attributes are what an object's headers say of it as a file. Absent ones are nil, or zero times.
type attributes struct {
	mode                *uint32 // with type bits, or without any where a tool stores permissions alone
	uid, gid, rdev      *uint32
	mtime, ctime, atime time.Time
	link                *string // a symbolic link's target where it is in the metadata
	isLink, isDir       bool    // said outside of the mode
}

// readAttributes reads every tool's format: s3fs, rclone, geesefs, s3sync, gcsfuse (goog-reserved-), AWS DataSync and
// Storage Gateway (file-), blobfuse. What cannot be read counts as absent.
func readAttributes(key string, h *s3client.Headers) attributes {
	var a attributes
	if h == nil {
		return a
	}
	m := h.Meta
	a.mode = readMode(m, strings.HasSuffix(key, "/"))
	a.uid = firstNumber(m, 10, metaUID, "owner", "goog-reserved-posix-uid", "file-owner")
	a.gid = firstNumber(m, 10, metaGID, "group", "goog-reserved-posix-gid", "file-group")
	a.rdev = readRdev(m[metaRdev])
	a.mtime = firstTime(m, metaMtime, "goog-reserved-file-mtime", "gcsfuse_mtime", "file-mtime")
	a.ctime = firstTime(m, metaCtime, "file-ctime")
	a.atime = firstTime(m, metaAtime, "file-atime")
	for _, name := range []string{"--symlink-target", "gcsfuse_symlink_target"} {
		if v, ok := m[name]; ok && v != "" {
			v = unescape(v)
			a.link, a.isLink = &v, true
			break
		}
	}
	if m["goog-reserved-file-is-symlink"] == "true" || m["is_symlink"] == "true" {
		a.isLink = true
	}
	kind, _, _ := strings.Cut(h.ContentType, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case dirContentType, "application/x-directory", "httpd/unix-directory":
		a.isDir = true
	}
	if m["hdi_isfolder"] == "true" {
		a.isDir = true
	}
	return a
}

// fileType is the type bits of an object. An object with content is never a directory: its bytes would be unreachable.
func (a *attributes) fileType(key string, size int64) uint32 {
	if key == "" || strings.HasSuffix(key, "/") {
		return typeDir
	}
	var t uint32
	if a.mode != nil {
		t = *a.mode & typeMask
	}
	switch {
	case t == typeDir || t == 0 && a.isDir:
		if size == 0 {
			return typeDir
		}
		return typeRegular
	case a.isLink && (t == 0 || t == typeRegular):
		return typeLink
	case t == 0 || !validType(t): // the kernel would take no entry of another type
		return typeRegular
	}
	if a.isDir && size == 0 && t == typeRegular {
		return typeDir
	}
	return t
}

// readMode is the mode of the metadata, nil when there is none. 0 is none, as for s3fs.
func readMode(m map[string]string, slash bool) *uint32 {
	for _, name := range []string{metaMode, "permissions"} {
		if mode, ok := parseMode(m[name], slash); ok && mode != 0 {
			return &mode
		}
	}
	for _, name := range []string{"goog-reserved-posix-mode", "file-permissions"} {
		if n, err := strconv.ParseUint(strings.TrimPrefix(m[name], "0o"), 8, 32); err == nil && n != 0 && n <= 0o177777 {
			mode := uint32(n)
			return &mode
		}
	}
	return nil
}

// parseMode reads a mode that may be decimal (s3fs, geesefs) or octal (rclone, s3sync). The value is taken as decimal
// when it has no leading zero, is at most 65535 and has a valid file type; as octal when all digits are below 8, it is
// at most 0177777 and has a valid file type. Where both fit, a key with a slash at its end has
// the one that is a directory; else the reading without setuid, setgid and sticky is right, else the decimal. Of all
// modes without these three bits none is misread, and with them no file, link or marker that was written by us.
// Values without type bits ("644") are octal where they can be.
func parseMode(s string, slash bool) (uint32, bool) {
	if s == "" || len(s) > 10 {
		return 0, false
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		return uint32(n), err == nil && n <= 0o177777
	}
	dec, decErr := strconv.ParseUint(s, 10, 32)
	oct, octErr := strconv.ParseUint(s, 8, 32)
	if decErr != nil {
		return 0, false
	}
	decOK := s[0] != '0' && dec <= 65535 && validType(uint32(dec))
	octOK := octErr == nil && oct <= 0o177777 && validType(uint32(oct))
	switch {
	case decOK && octOK:
		return chooseMode(uint32(dec), uint32(oct), slash), true
	case decOK:
		return uint32(dec), true
	case octOK:
		return uint32(oct), true
	case octErr == nil && oct <= permMask:
		return uint32(oct), true
	case dec <= permMask:
		return uint32(dec), true
	}
	return 0, false
}

func chooseMode(dec, oct uint32, slash bool) uint32 {
	const special = 0o7000
	if decDir, octDir := dec&typeMask == typeDir, oct&typeMask == typeDir; slash && decDir != octDir {
		if octDir {
			return oct
		}
		return dec
	}
	if (dec&special == 0) != (oct&special == 0) {
		if oct&special == 0 {
			return oct
		}
		return dec
	}
	return dec
}

func validType(mode uint32) bool {
	switch mode & typeMask {
	case typeFifo, typeChar, typeDir, typeBlock, typeRegular, typeLink, typeSocket:
		return mode <= typeMask|permMask
	}
	return false
}

func firstNumber(m map[string]string, base int, names ...string) *uint32 {
	for _, name := range names {
		if n, err := strconv.ParseUint(m[name], base, 32); err == nil {
			v := uint32(n)
			return &v
		}
	}
	return nil
}

// readRdev reads geesefs's decimal or rclone's hexadecimal device number.
func readRdev(s string) *uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		n, err = strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0x"), 16, 32)
	}
	if err != nil {
		return nil
	}
	v := uint32(n)
	return &v
}

func firstTime(m map[string]string, names ...string) time.Time {
	for _, name := range names {
		if t, ok := parseTime(m[name]); ok {
			return t
		}
	}
	return time.Time{}
}

// parseTime reads seconds since 1970, with a decimal fraction of any length, or with a unit (ns, us, ms, s), or RFC 3339.
func parseTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, false
	}
	for _, u := range []struct {
		suffix string
		unit   time.Duration
	}{{"ns", time.Nanosecond}, {"us", time.Microsecond}, {"ms", time.Millisecond}} {
		if digits, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 64)
			per := int64(time.Second / u.unit)
			return time.Unix(n/per, n%per*int64(u.unit)), err == nil && inRange(n/per)
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, inRange(t.Unix())
	}
	whole, fraction, _ := strings.Cut(strings.TrimSuffix(s, "s"), ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || !inRange(sec) {
		return time.Time{}, false
	}
	if len(fraction) > 9 {
		if strings.Trim(fraction[9:], "0123456789") != "" {
			return time.Time{}, false
		}
		fraction = fraction[:9]
	}
	var nano int64
	if fraction != "" {
		n, err := strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
		if err != nil {
			return time.Time{}, false
		}
		nano = int64(n)
	}
	if strings.HasPrefix(whole, "-") {
		nano = -nano
	}
	return time.Unix(sec, nano), true
}

// inRange keeps seconds within what every file system interface can show (the years 0 to 9999).
func inRange(sec int64) bool { return sec > -62_135_596_800 && sec < 253_402_300_800 }

// formatTime writes s3fs's format. s3fs takes the fraction for a number of nanoseconds, others for a decimal, so it has
// nine digits; it is left out when zero. Before 1970 the two disagree about a fraction, so there is none.
func formatTime(t time.Time) string {
	if t.Nanosecond() == 0 || t.Unix() < 0 {
		return strconv.FormatInt(t.Unix(), 10)
	}
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// ourMeta are the names that buildHeaders writes and foreignHeaders leaves out.
var ourMeta = []string{metaMode, metaUID, metaGID, metaMtime, metaCtime, metaAtime, metaRdev}

// foreignHeaders are an object's headers without the attributes that are written anew with each change.
func foreignHeaders(h s3client.Headers) s3client.Headers {
	h.Meta = maps.Clone(h.Meta)
	for _, name := range ourMeta {
		delete(h.Meta, name)
	}
	return h
}

// buildHeaders are the headers an object with the entry's attributes is stored with, foreign ones kept.
func buildHeaders(e *Entry, foreign *s3client.Headers) s3client.Headers {
	var h s3client.Headers
	if foreign != nil {
		h = *foreign
	}
	h.Meta = maps.Clone(h.Meta)
	if h.Meta == nil {
		h.Meta = make(map[string]string, 6)
	}
	if h.ContentType == "" {
		h.ContentType = contentType(e)
	}
	h.Meta[metaMode] = strconv.FormatUint(uint64(e.Mode), 10)
	h.Meta[metaUID] = strconv.FormatUint(uint64(e.UID), 10)
	h.Meta[metaGID] = strconv.FormatUint(uint64(e.GID), 10)
	for name, t := range map[string]time.Time{metaMtime: e.Mtime, metaCtime: e.Ctime, metaAtime: e.Atime} {
		if !t.IsZero() {
			h.Meta[name] = formatTime(t)
		}
	}
	if e.Rdev != 0 {
		h.Meta[metaRdev] = strconv.FormatUint(uint64(e.Rdev), 10)
	}
	return h
}

// sameAttributes says whether headers carry the entry's attributes that a user can set.
func sameAttributes(e *Entry, h *s3client.Headers) bool {
	want := buildHeaders(e, nil)
	for _, name := range []string{metaMode, metaUID, metaGID, metaMtime, metaRdev} {
		if name == metaMtime && h.Meta[name] == "" {
			continue // streamed: the object's time is the store's
		}
		if h.Meta[name] != want.Meta[name] {
			return false
		}
	}
	return true
}

// sameForeign says whether headers carry these foreign ones, and nothing else that is not an attribute.
func sameForeign(e *Entry, foreign, h *s3client.Headers) bool {
	want, have := foreignHeaders(buildHeaders(e, foreign)), foreignHeaders(*h)
	meta := maps.Equal(want.Meta, have.Meta)
	want.Meta, have.Meta = nil, nil
	return meta && reflect.DeepEqual(want, have)
}

// contentType is a new object's type, by its name.
func contentType(e *Entry) string {
	switch e.Mode & typeMask {
	case typeDir:
		return dirContentType
	case typeRegular:
		if t := mime.TypeByExtension(extension(e.Key)); t != "" {
			return t
		}
	}
	return "application/octet-stream"
}

// unescape undoes %XX where every % is one; else the value stands as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return s
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return s
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String()
}
