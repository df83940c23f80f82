package main

import "sync"

// warmOutput is the answer to /warm while it grows.
type warmOutput struct {
	mu struct {
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
func (o *warmOutput) take() (line any, news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	line, news = o.mu.line, o.mu.news
	o.mu.line.Failed, o.mu.news = nil, false
	return line, news
}

// last is the line with the result and the failures that no line had yet.
func (o *warmOutput) last(result warmProgress, err error) warmLine {
	o.mu.Lock()
	defer o.mu.Unlock()
	return warmLine{Progress: result, Failed: o.mu.line.Failed, Done: true, Failure: controlFailureOf(err)}
}

// flushOutput is the answer to /flush while it grows.
type flushOutput struct {
	mu struct {
		sync.Mutex
		line flushLine
		news bool
	}
}

func (o *flushOutput) report(p flushProgress) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.line.Progress, o.mu.news = p, true
}

func (o *flushOutput) take() (line any, news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	line, news = o.mu.line, o.mu.news
	o.mu.news = false
	return line, news
}
