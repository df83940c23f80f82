package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pailfs/s3client/keystone"
)

// identityFailure says what an error of the identity service means to a user.
func (c *credentialCall) identityFailure(err error) *failure {
	fail := func(code int, why, hint string) *failure {
		return &failure{code: code, command: doing(c.Context), message: fmt.Sprintf("cannot %s: %s", c.cannot, why), hint: hint}
	}
	var e *keystone.Error
	if !errors.As(err, &e) {
		return fail(exitGeneral, err.Error(), "")
	}
	if errors.Is(err, context.Canceled) || c.stopped.Err() != nil {
		f := &failure{code: exitInterrupted, command: doing(c.Context), message: "interrupted"}
		if e.Sent {
			f.hint = hintMaybe
		}
		return f
	}
	f := c.kindFailure(e, fail)
	if e.Sent && strings.HasPrefix(e.Op, "register") {
		f.hint = strings.TrimPrefix(f.hint+"; "+hintMaybe, "; ")
	}
	return f
}

const hintMaybe = "the key may have been made all the same: `pailfs credentials list` shows it, `pailfs credentials delete ACCESS` takes it away"

func (c *credentialCall) kindFailure(e *keystone.Error, fail func(code int, why, hint string) *failure) *failure {
	switch e.Kind {
	case keystone.Limit:
		var have []string
		for _, k := range e.Keys {
			have = append(have, shown(k.Access))
		}
		return fail(exitDenied, fmt.Sprintf("there are %d access keys already, and the service gives a user at most %d for a project%s",
			len(have), keystone.MostKeys, saying(e)), "`pailfs credentials list` shows them ("+strings.Join(have, ", ")+
			"), `pailfs credentials delete ACCESS` deletes one that nobody uses")
	case keystone.Refused:
		return fail(exitDenied, "the session is not valid any more"+saying(e), "a token ends after some hours: sign in again")
	case keystone.Forbidden:
		return fail(exitDenied, "the identity service does not permit it"+saying(e),
			"the user needs a role in the project; an application credential has to be an unrestricted one")
	case keystone.NotFound:
		return fail(exitNotFound, "there is no such access key"+saying(e), "`pailfs credentials list` shows those there are")
	case keystone.NoAPI:
		return fail(exitUsage, fmt.Sprintf("%s does not answer as an identity service%s", shown(e.URL), saying(e)), c.addressHint(e))
	case keystone.Unavailable:
		return c.unavailable(e, fail)
	case keystone.Invalid:
		return fail(exitUsage, "the request is not accepted"+saying(e)+causeText(e), "")
	}
	return fail(exitGeneral, "unexpected answer"+saying(e)+causeText(e), "is this the identity service? "+e.URL)
}

// loginFailure is identityFailure for signing in, where what was given can be named.
func (c *credentialCall) loginFailure(err error, l keystone.Login) *failure {
	f := c.identityFailure(err)
	var e *keystone.Error
	if !errors.As(err, &e) {
		return f
	}
	in := fmt.Sprintf("cannot %s: ", c.cannot)
	switch e.Kind {
	case keystone.Refused:
		f.message, f.hint = in+refusedText(l)+saying(e), refusedHint(l, e)
	case keystone.SecondFactor:
		f.code = exitDenied
		f.message = in + "the password is right, but the user needs a second factor to sign in"
		f.hint = "sign in with it elsewhere and give the token, OS_TOKEN=$(openstack token issue -f value -c id); or use an application credential"
	case keystone.NoProject:
		f.code, f.message = exitUsage, in+"the user has no project"
		if len(e.Projects) > 0 {
			var all []string
			for _, p := range e.Projects {
				all = append(all, projectText(p))
			}
			f.message = in + fmt.Sprintf("the user has %d projects, and none is named", len(all))
			f.hint = "--project, OS_PROJECT_ID or OS_TENANT_ID: one of " + strings.Join(firstOf(all, 10), ", ")
		}
	}
	return f
}

// refusedText names what was not accepted, without the secret.
func refusedText(l keystone.Login) string {
	switch {
	case l.Token != "":
		return "the identity service does not take the token"
	case l.ApplicationID != "" || l.ApplicationName != "":
		return "the identity service does not take the application credential"
	}
	return fmt.Sprintf("the identity service does not take user %s with this password", shown(l.User+l.UserID))
}

// refusedHint: the service tells nobody which of them is wrong.
func refusedHint(l keystone.Login, e *keystone.Error) string {
	version3 := strings.Contains(e.URL, "/v3/")
	switch {
	case l.Token != "":
		return "it may have ended (they last some hours), or be for another project"
	case l.ApplicationID != "" || l.ApplicationName != "":
		return "check id and secret; it may have expired"
	}
	hint := "check user and password"
	if hostOf(l.URL) == hostOf(serviceIdentity) {
		hint += " (it is the API password of the console's API endpoint settings, not that of the console)"
	}
	if l.Project+l.ProjectID != "" {
		hint += fmt.Sprintf(", and project %s", shown(cmp.Or(l.ProjectID, l.Project)))
	}
	if version3 && l.UserID == "" && l.UserDomain+l.UserDomainID == "" {
		hint += "; no domain is given: OS_USER_DOMAIN_NAME, where it is another than \"default\""
	}
	return hint + "; they are from " + cmp.Or(l.From, "the command line")
}

func (c *credentialCall) addressHint(e *keystone.Error) string {
	if len(e.Versions) > 0 {
		base := strings.TrimSuffix(strings.TrimSuffix(e.URL, "/v2.0/tokens"), "/v3/auth/tokens")
		path := "/v3"
		if e.Versions[0] == 2 {
			path = "/v2.0"
		}
		return fmt.Sprintf("the service has another version: OS_AUTH_URL or --auth-url %s%s", base, path)
	}
	return "OS_AUTH_URL or --auth-url is the address with its version, https://HOST/v2.0 or https://HOST:5000/v3"
}

// unavailable is for no answer and for 5xx.
func (c *credentialCall) unavailable(e *keystone.Error, fail func(code int, why, hint string) *failure) *failure {
	if e.Status != 0 {
		return fail(exitUnreachable, fmt.Sprintf("the identity service is in trouble%s", saying(e)), "try again later")
	}
	about := subject{command: doing(c.Context), cannot: c.cannot, endpoint: e.URL, now: time.Now}
	if f := about.networkFailure(e.Err); f != nil {
		f.hint = strings.NewReplacer("--endpoint or --region", "--auth-url or OS_AUTH_URL", "--endpoint", "--auth-url", "the store runs", "the service runs").Replace(f.hint)
		return f
	}
	return fail(exitUnreachable, fmt.Sprintf("no answer from %s%s", hostOf(e.URL), causeText(e)), hintNetwork)
}

// saying are the service's own words.
func saying(e *keystone.Error) string {
	switch {
	case e.Status != 0 && e.Message != "":
		return fmt.Sprintf(" (%d %s)", e.Status, e.Message)
	case e.Status != 0:
		return fmt.Sprintf(" (%d)", e.Status)
	case e.Message != "":
		return " (" + e.Message + ")"
	}
	return ""
}

func causeText(e *keystone.Error) string {
	if e.Err == nil {
		return ""
	}
	return ": " + e.Err.Error()
}
