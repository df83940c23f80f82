package faults

import (
	"slices"
	"time"

	"pailfs/tests/lagproxy"
)

// fault is something that goes wrong.
type fault struct {
	name  string
	class string // the column of EXPECTED.md: those of a class have the same results
	harm  lagproxy.Fault
	away  bool             // nobody listens, in place of harm
	many  []lagproxy.Fault // in place of harm: all of these at once
}

// The classes, in the order of the table's columns.
var classes = []string{"slow", "lost", "silence", "cut", "answer lost", "500", "slow down", "timeout", "403", "keys", "404", "412", "416",
	"200", "bit", "twice", "late list", "date", "away"}

// classNotes say what they are.
var classNotes = map[string]string{
	"slow":        "the answer comes 300 ms later",
	"lost":        "the connection is closed or reset when it has carried the request, or half of it: the store has done nothing",
	"silence":     "nothing comes; nothing comes behind half of the answer; nothing is taken behind half of the request",
	"cut":         "the connection is closed behind half of the answer",
	"answer lost": "the store has done it; the connection is closed, or the answer is a 500",
	"500":         "500, 502 and 503, with the store's document and without",
	"slow down":   "503 SlowDown, 429",
	"timeout":     "400 RequestTimeout",
	"403":         "403 AccessDenied, with document and without; RequestTimeTooSkewed",
	"keys":        "403 ExpiredToken, InvalidAccessKeyId, SignatureDoesNotMatch",
	"404":         "404 NoSuchKey, NoSuchBucket, without a document, and with a page of HTML's kind",
	"412":         "412, with document and without",
	"416":         "416, with document and without",
	"200":         "a 200 with an error inside, to copies, completions and deletions of many; the store has done it, or not",
	"bit":         "one bit of the request's or the answer's body is another, over http",
	"twice":       "the store is asked twice",
	"late list":   "a listing is what it was before",
	"date":        "the answer's Date is 20 minutes off",
	"away":        "nobody listens any more",
}

// every is the kinds of requests that a mount makes.
var every = lagproxy.Kinds()

var faultsOf = []fault{
	{name: "delay", class: "slow", harm: lagproxy.Fault{Harm: lagproxy.Delay, For: 300 * time.Millisecond}},

	{name: "drop", class: "lost", harm: lagproxy.Fault{Harm: lagproxy.Drop}},
	{name: "reset", class: "lost", harm: lagproxy.Fault{Harm: lagproxy.Reset}},
	{name: "cut-up", class: "lost", harm: lagproxy.Fault{Harm: lagproxy.CutUp, At: -1}},

	{name: "silence", class: "silence", harm: lagproxy.Fault{Harm: lagproxy.Silence}},
	{name: "stall", class: "silence", harm: lagproxy.Fault{Harm: lagproxy.Stall, At: -1}},
	{name: "stall-up", class: "silence", harm: lagproxy.Fault{Harm: lagproxy.StallUp, At: -1}},

	{name: "cut", class: "cut", harm: lagproxy.Fault{Harm: lagproxy.Cut, At: -1}},

	{name: "lose", class: "answer lost", harm: lagproxy.Fault{Harm: lagproxy.Lose}},
	{name: "done-500", class: "answer lost", harm: lagproxy.Fault{Harm: lagproxy.Replace, Status: 500, Code: "InternalError"}},

	refused("500", 500, "InternalError"),
	refused("500", 500, ""),
	refused("500", 502, ""),
	refused("500", 503, "ServiceUnavailable"),
	refused("500", 503, ""),

	refused("slow down", 503, "SlowDown"),
	refused("slow down", 429, "TooManyRequests"),
	refused("slow down", 429, ""),

	refused("timeout", 400, "RequestTimeout"),

	refused("403", 403, "AccessDenied"),
	refused("403", 403, "RequestTimeTooSkewed"),
	refused("403", 403, ""),

	refused("keys", 403, "ExpiredToken"),
	refused("keys", 403, "InvalidAccessKeyId"),
	refused("keys", 403, "SignatureDoesNotMatch"),

	refused("404", 404, "NoSuchKey"),
	refused("404", 404, "NoSuchBucket"),
	refused("404", 404, ""),

	refused("412", 412, "PreconditionFailed"),
	refused("412", 412, ""),

	refused("416", 416, "InvalidRange"),
	refused("416", 416, ""),

	{name: "200", class: "200", harm: lagproxy.Fault{Harm: lagproxy.Refuse, Status: 200, Code: "InternalError", Kinds: slowAnswers}},
	{name: "done-200", class: "200", harm: lagproxy.Fault{Harm: lagproxy.Replace, Status: 200, Code: "InternalError", Kinds: slowAnswers}},

	{name: "flip", class: "bit", harm: lagproxy.Fault{Harm: lagproxy.Flip, At: -1}},
	{name: "flip-up", class: "bit", harm: lagproxy.Fault{Harm: lagproxy.FlipUp, At: -1}},

	{name: "twice", class: "twice", harm: lagproxy.Fault{Harm: lagproxy.Twice}},

	{name: "past", class: "late list", harm: lagproxy.Fault{Harm: lagproxy.Past}},

	{name: "date+", class: "date", harm: lagproxy.Fault{Harm: lagproxy.Skew, For: 20 * time.Minute}},
	{name: "date-", class: "date", harm: lagproxy.Fault{Harm: lagproxy.Skew, For: -20 * time.Minute}},

	{name: "away", class: "away", away: true},
}

// slowAnswers are the requests whose answer a store begins before it knows how it ends.
var slowAnswers = []lagproxy.Kind{lagproxy.Copy, lagproxy.CopyPart, lagproxy.CompleteUpload, lagproxy.DeleteMany}

func refused(class string, status int, code string) fault {
	name := code
	if name == "" {
		name = "bare"
	}
	return fault{name: itoa(status) + "-" + name, class: class, harm: lagproxy.Fault{Harm: lagproxy.Refuse, Status: status, Code: code}}
}

// of is the fault as the proxy takes it.
func (f fault) of(skip, times int) []lagproxy.Fault {
	if f.many != nil {
		return f.many
	}
	h := f.harm
	if h.Kinds == nil {
		h.Kinds = every
	}
	h.Skip, h.Times = skip, times
	return []lagproxy.Fault{h}
}

// speaksOfClocks says that the mount hears that its clock is wrong.
func (f fault) speaksOfClocks() bool {
	return slices.ContainsFunc(f.of(0, 0), func(h lagproxy.Fault) bool { return h.Code == "RequestTimeTooSkewed" })
}

// late says that listings are late.
func (f fault) late() bool { return f.class == "late list" }
