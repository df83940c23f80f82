package s3client

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// errXML is a document that walkXML does not take: broken, cut off, or not the kind that stores send.
var errXML = errors.New("not a complete XML document")

const maxXMLDepth = 32

// walkXML walks a document of the kind that stores answer with and calls visit at the end of each element, with the
// names from the root down to it and the text directly in it. Both are valid during the call only. It gives the root's
// name. It knows elements, attributes (skipped), character data, entities, CDATA and comments, and nothing of name
// spaces but that a prefix is no part of a name. It is 15 times cheaper than encoding/xml, which costs 25 ms a page of
// a listing.
func walkXML(doc []byte, visit func(path [][]byte, text []byte)) (root string, err error) {
	w := xmlWalk{doc: bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf")), visit: visit}
	for w.pos < len(w.doc) {
		if err := w.step(); err != nil {
			return w.root, err
		}
	}
	if len(w.path) > 0 || w.root == "" {
		return w.root, errXML
	}
	return w.root, nil
}

type xmlWalk struct {
	doc   []byte
	pos   int
	path  [][]byte // open elements, without prefixes
	full  [][]byte // the same as they are written, to match their ends
	text  []byte   // of the innermost element, since its start or its last child
	root  string
	visit func(path [][]byte, text []byte)
}

func (w *xmlWalk) step() error {
	rest := w.doc[w.pos:]
	if rest[0] != '<' {
		return w.chars(rest)
	}
	switch {
	case bytes.HasPrefix(rest, []byte("<?")):
		return w.skip(rest, "?>")
	case bytes.HasPrefix(rest, []byte("<!--")):
		return w.skip(rest, "-->")
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		end := bytes.Index(rest, []byte("]]>"))
		if end < 0 || len(w.path) == 0 {
			return errXML
		}
		w.addText(rest[len("<![CDATA["):end])
		w.pos += end + 3
		return nil
	case bytes.HasPrefix(rest, []byte("<!")):
		return errXML // a document type: no store sends one, and HTML is not for us
	case bytes.HasPrefix(rest, []byte("</")):
		return w.end(rest)
	}
	return w.start(rest)
}

func (w *xmlWalk) skip(rest []byte, until string) error {
	end := bytes.Index(rest, []byte(until))
	if end < 0 {
		return errXML
	}
	w.pos += end + len(until)
	return nil
}

func (w *xmlWalk) chars(rest []byte) error {
	n := bytes.IndexByte(rest, '<')
	if n < 0 {
		n = len(rest)
	}
	w.pos += n
	run := rest[:n]
	if len(w.path) == 0 {
		if len(bytes.TrimSpace(run)) > 0 {
			return errXML
		}
		return nil
	}
	if bytes.IndexByte(run, '&') >= 0 {
		var err error
		if run, err = unescapeXML(run); err != nil {
			return err
		}
	}
	w.addText(run)
	return nil
}

func (w *xmlWalk) addText(run []byte) {
	if len(w.text) == 0 {
		w.text = run[:len(run):len(run)] // most elements have one run: no copy
		return
	}
	w.text = append(w.text, run...)
}

func (w *xmlWalk) start(rest []byte) error {
	end := tagEnd(rest)
	if end < 0 {
		return errXML
	}
	tag := rest[1:end]
	w.pos += end + 1
	empty := len(tag) > 0 && tag[len(tag)-1] == '/'
	if empty {
		tag = tag[:len(tag)-1]
	}
	full := tag
	if i := bytes.IndexAny(tag, " \t\r\n"); i >= 0 {
		full = tag[:i]
	}
	name := full
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	if len(name) == 0 || len(w.path) >= maxXMLDepth || len(w.path) == 0 && w.root != "" {
		return errXML
	}
	if len(w.path) == 0 {
		w.root = string(name)
	}
	w.path, w.full, w.text = append(w.path, name), append(w.full, full), nil
	if empty {
		w.pop()
	}
	return nil
}

func (w *xmlWalk) end(rest []byte) error {
	n := bytes.IndexByte(rest, '>')
	if n < 0 || len(w.path) == 0 {
		return errXML
	}
	w.pos += n + 1
	if !bytes.Equal(bytes.TrimRight(rest[2:n], " \t\r\n"), w.full[len(w.full)-1]) {
		return errXML
	}
	w.pop()
	return nil
}

func (w *xmlWalk) pop() {
	w.visit(w.path, w.text)
	w.path, w.full, w.text = w.path[:len(w.path)-1], w.full[:len(w.full)-1], nil
}

// tagEnd finds the '>' of a start tag, past quoted attributes.
func tagEnd(tag []byte) int {
	quote := byte(0)
	for i, b := range tag {
		switch {
		case b == '<' && i > 0:
			return -1
		case quote != 0:
			if b == quote {
				quote = 0
			}
		case b == '"' || b == '\'':
			quote = b
		case b == '>':
			return i
		}
	}
	return -1
}

var xmlEntities = map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}

func unescapeXML(run []byte) ([]byte, error) {
	out := make([]byte, 0, len(run))
	for len(run) > 0 {
		amp := bytes.IndexByte(run, '&')
		if amp < 0 {
			return append(out, run...), nil
		}
		out = append(out, run[:amp]...)
		semi := bytes.IndexByte(run[amp:], ';')
		if semi < 2 {
			return nil, errXML
		}
		name := string(run[amp+1 : amp+semi])
		run = run[amp+semi+1:]
		if s, ok := xmlEntities[name]; ok {
			out = append(out, s...)
			continue
		}
		r, ok := charRef(name)
		if !ok {
			return nil, errXML
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}

// charRef reads "#13" and "#xD".
func charRef(name string) (rune, bool) {
	digits, found := strings.CutPrefix(name, "#")
	if !found {
		return 0, false
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return 0, false
	}
	return rune(n), true
}

// at reports whether path is root/names...
func at(path [][]byte, names ...string) bool {
	if len(path) != len(names)+1 {
		return false
	}
	for i, name := range names {
		if string(path[i+1]) != name {
			return false
		}
	}
	return true
}

// parseError reads an error document. Nil for an empty body, foreign for one that is something else.
func parseError(doc []byte) *answerError {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil
	}
	a := &answerError{}
	root, err := walkXML(doc, func(path [][]byte, text []byte) {
		switch {
		case at(path, "Code"):
			a.code = string(text)
		case at(path, "Message"):
			a.message = string(text)
		case at(path, "RequestId"):
			a.requestID = string(text)
		case at(path, "Region"):
			a.region = strings.TrimSpace(string(text))
		}
	})
	if err != nil && a.code != "" && root == "Error" {
		return a // the code came through before the document broke off
	}
	if err != nil || root != "Error" || a.code == "" {
		return &answerError{foreign: true, message: excerpt(doc)}
	}
	return a
}

// excerpt is the beginning of a body that nobody understands, for the error's text.
func excerpt(doc []byte) string {
	s := strings.ToValidUTF8(strings.Join(strings.Fields(string(doc[:min(len(doc), 200)])), " "), "?")
	return "not a store's answer: " + strconv.Quote(s)
}
