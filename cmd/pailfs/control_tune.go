package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"pailfs/s3client"
)

// The options that can be changed while a mount stands.
const (
	optionLogLevel    = "log-level"
	optionBandwidth   = "bandwidth"
	optionWriteRate   = "write-rate"
	optionMaxRequests = "max-requests"
)

var liveOptions = []string{optionLogLevel, optionBandwidth, optionWriteRate, optionMaxRequests}

// optionsRequest is the body of /options, and of its answer.
type optionsRequest struct {
	Options map[string]string `json:"options"`
}

// tuning lets one change come after the other.
type tuning struct{ sync.Mutex }

// Tune changes all that is asked for, or nothing.
func (r rooms) Tune(change map[string]string) (map[string]string, error) {
	r.tuning.Lock()
	defer r.tuning.Unlock()
	s, limits := &settings{}, r.client.Limits()
	for _, name := range slices.Sorted(maps.Keys(change)) {
		o, known := optionNamed(options, name)
		if !known || !slices.Contains(liveOptions, o.name) {
			return nil, usagef("", "%s cannot be changed while it is mounted: only %s can", shown(name), strings.Join(liveOptions, ", "))
		}
		if err := o.set(s, change[name]); err != nil {
			return nil, usagef("", "--%s: %v", o.name, err)
		}
		switch o.name {
		case optionBandwidth:
			limits.Up, limits.Down = s.Bandwidth.Up, s.Bandwidth.Down
		case optionWriteRate:
			limits.WriteRate = s.WriteRate
		case optionMaxRequests:
			limits.Requests = s.MaxRequests
		}
	}
	if err := r.client.SetLimits(limits); err != nil {
		return nil, usagef("", "%v", err)
	}
	if _, ok := change[optionLogLevel]; ok {
		r.plan.level.Set(s.LogLevel)
	}
	if len(change) > 0 {
		r.log.Info("options were changed", "options", fmt.Sprint(change))
		// What the mount was begun with is what a remount compares with.
		if err := r.runtime.write(func(state *runtimeState) {
			state.Options = maps.Clone(state.Options)
			maps.Copy(state.Options, change)
		}); err != nil {
			r.log.Warn("the changed options are not noted", "err", err)
		}
	}
	return r.liveOptions(), nil
}

// liveOptions are those in force, as they may be written.
func (r rooms) liveOptions() map[string]string {
	l := r.client.Limits()
	return map[string]string{
		optionLogLevel:    levelName(r.plan.level.Level()),
		optionBandwidth:   bandwidth{l.Up, l.Down}.String(),
		optionWriteRate:   strconv.FormatFloat(l.WriteRate, 'f', -1, 64),
		optionMaxRequests: strconv.Itoa(l.Requests),
	}
}

func levelName(level slog.Level) string { return strings.ToLower(level.String()) }

func limitsReportOf(l s3client.Limits) *limitsReport {
	return &limitsReport{Up: l.Up, Down: l.Down, WriteRate: l.WriteRate, Requests: l.Requests}
}

func (c *control) tune(w http.ResponseWriter, r *http.Request) {
	var req optionsRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostRequestBytes)).Decode(&req); err != nil {
		refuse(w, usagef("", "the request is no JSON: %v", err))
		return
	}
	now, err := c.mount.Tune(req.Options)
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, optionsRequest{now})
}

// Tune changes options of the mount; none only asks. It returns what all are then.
func (d daemon) Tune(ctx context.Context, change map[string]string) (map[string]string, error) {
	var now optionsRequest
	err := d.answered(ctx, http.MethodPost, "/options", optionsRequest{change}, &now)
	return now.Options, err
}

// Ready says why the mount should not be used, "" when it should.
func (d daemon) Ready(ctx context.Context) (string, error) {
	var a readyAnswer
	err := d.answered(ctx, http.MethodGet, "/ready", nil, &a)
	if err == nil && !a.Ready && a.Why == "" {
		a.Why = "its process does not say why"
	}
	return a.Why, err
}

// answered asks for one object.
func (d daemon) answered(ctx context.Context, method, path string, request, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	resp, err := d.ask(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostAnswer)).Decode(into); err != nil {
		return d.unreached(ctx, err)
	}
	return nil
}
