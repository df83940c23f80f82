package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// warmOutput is the answer to /warm while it grows. report only takes notes, so that a client that reads slowly delays
// nothing but itself; run and then last write.
type warmOutput struct {
	w       http.ResponseWriter
	control *http.ResponseController
	mu      struct {
		sync.Mutex
		line  warmLine // not written yet
		named int      // failures that were given a name
		news  bool
	}
}

func (o *warmOutput) report(p warmProgress) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.Failed > o.mu.line.Progress.Failed && o.mu.named < mostFailures {
		o.mu.line.Failed = append(o.mu.line.Failed, warmFailure{p.Path, p.Error})
		o.mu.named++
	}
	o.mu.line.Progress, o.mu.news = p, true
}

// take is what there is to write.
func (o *warmOutput) take() (line warmLine, news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	line, news = o.mu.line, o.mu.news
	o.mu.line.Failed, o.mu.news = nil, false
	return line, news
}

// run writes at every tick until stop, and ends the work when nobody reads.
func (o *warmOutput) run(stop <-chan struct{}, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(warmTick)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if line, news := o.take(); news {
			if err := o.write(line); err != nil {
				cancel(errClientGone(err))
				return
			}
		}
	}
}

// last writes the result, with the failures that no line had yet.
func (o *warmOutput) last(result warmProgress, err error) error {
	line, _ := o.take()
	line.Progress, line.Done, line.Failure = result, true, controlFailureOf(err)
	return o.write(line)
}

func (o *warmOutput) write(line warmLine) error {
	if err := o.control.SetWriteDeadline(time.Now().Add(clientPatience)); err != nil {
		return err
	}
	if err := json.NewEncoder(o.w).Encode(line); err != nil {
		return err
	}
	return o.control.Flush()
}
