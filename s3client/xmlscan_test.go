package s3client

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// flat writes down what walkXML visits.
func flat(doc string) (string, error) {
	var b strings.Builder
	_, err := walkXML([]byte(doc), func(path [][]byte, text []byte) {
		for _, p := range path {
			b.WriteByte('/')
			b.Write(p)
		}
		fmt.Fprintf(&b, "=%q;", text)
	})
	return b.String(), err
}

// flatStandard is the same by encoding/xml.
func flatStandard(doc string) (string, error) {
	var b strings.Builder
	d := xml.NewDecoder(strings.NewReader(doc))
	var path []string
	text, roots := "", 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			if roots == 0 {
				return b.String(), errors.New("no root")
			}
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if len(path) == 0 {
				if roots++; roots > 1 {
					return b.String(), errors.New("two roots")
				}
			}
			path, text = append(path, tok.Name.Local), ""
		case xml.CharData:
			if len(path) == 0 && strings.TrimSpace(string(tok)) != "" {
				return b.String(), errors.New("text outside")
			}
			text += string(tok)
		case xml.EndElement:
			fmt.Fprintf(&b, "/%s=%q;", strings.Join(path, "/"), text)
			path, text = path[:len(path)-1], ""
		case xml.Directive:
			return b.String(), errors.New("directive")
		}
	}
}

var documents = []string{
	"<a/>", "<a></a>", " \n<?xml version='1.0'?><a>x</a>\n", "<a><b>1</b><b>2</b></a>", "<a x='>' y=\"'\">t</a >", "<a y='<'/>",
	"<n:a xmlns:n='u'><n:b>t</n:b></n:a>", "<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;&#10;</a>", "<a><![CDATA[<x>&amp;]]>y</a>",
	"<a><!-- c --><b/><!-- d --></a>", "<a>한글 é</a>", "<a><b>1</b>tail</a>", "<a>one<!-- c -->two</a>",
	// broken
	"", "  ", "text", "<a>", "<a><b></a></b>", "<a></b>", "</a>", "<a/><b/>", "<a/>x", "<a>&nbsp;</a>", "<a>&</a>", "<a", "<a x='",
	"<!DOCTYPE html><html></html>", "<a><![CDATA[x</a>", "<a><!-- x</a>", "<a>&#xD800;</a>", "<a>&#99999999;</a>", "<>", "< a></a>",
}

func TestWalkXML(t *testing.T) {
	for _, doc := range documents {
		got, err := flat(doc)
		wanted, wantErr := flatStandard(doc)
		if (err == nil) != (wantErr == nil) && doc != "<a>&#xD800;</a>" || err == nil && got != wanted {
			t.Errorf("%q:\n got %s %v\nwant %s %v", doc, got, err, wanted, wantErr)
		}
	}
	if _, err := flat(strings.Repeat("<a>", maxXMLDepth+1) + strings.Repeat("</a>", maxXMLDepth+1)); err == nil {
		t.Error("a document without a bottom is taken")
	}
}

// What walkXML takes, encoding/xml reads the same way.
func FuzzWalkXML(f *testing.F) {
	for _, doc := range documents {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		got, err := flat(doc)
		if err != nil || strings.ContainsAny(doc, "\r\x00:") {
			return // line ends, and names in name spaces, are not its business
		}
		wanted, wantErr := flatStandard(doc)
		if wantErr == nil && got != wanted {
			t.Errorf("%q:\n got %s\nwant %s", doc, got, wanted)
		}
	})
}

func TestParseError(t *testing.T) {
	full := parseError([]byte("<?xml version='1.0'?>\n<Error><Code>C</Code><Message>a &amp; b</Message><RequestId>r</RequestId><Region> KR1\n</Region></Error>"))
	if *full != (answerError{code: "C", message: "a & b", requestID: "r", region: "KR1"}) {
		t.Errorf("%+v", full)
	}
	if parseError([]byte(" \n")) != nil {
		t.Error("an empty body has words")
	}
	for _, doc := range []string{"<html><body>x</body></html>", "oops", "<Error></Error>", "{}", "<Other><Code>NoSuchKey</Code></Other>"} {
		if a := parseError([]byte(doc)); !a.foreign || a.code != "" {
			t.Errorf("%s: %+v", doc, a)
		}
	}
	if a := parseError([]byte("<Error><Code>SlowDown</Code><Mess")); a.foreign || a.code != "SlowDown" {
		t.Errorf("broken off: %+v", a)
	}
}
