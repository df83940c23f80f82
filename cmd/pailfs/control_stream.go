package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// stream answers with lines of JSON while work runs: at every tick what take has for it, and at the end last, which is
// given the error of work. Work only takes notes, so that a client that reads slowly delays nothing but itself; one that
// reads nothing any more ends the work. The error is that of writing: the client has left.
func stream(ctx context.Context, w http.ResponseWriter, take func() (line any, news bool), work func(context.Context) error, last func(error) any) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := lineWriter{w, http.NewResponseController(w)}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		out.run(stop, take, cancel)
	}()
	err := work(ctx)
	close(stop)
	<-stopped
	return out.write(last(err))
}

// lineWriter writes lines that the client sees at once.
type lineWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// run writes at every tick until stop, and ends the work when nobody reads.
func (o lineWriter) run(stop <-chan struct{}, take func() (line any, news bool), cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(streamTick)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if line, news := take(); news {
			if err := o.write(line); err != nil {
				cancel(errClientGone(err))
				return
			}
		}
	}
}

func (o lineWriter) write(line any) error {
	if err := o.control.SetWriteDeadline(time.Now().Add(clientPatience)); err != nil {
		return err
	}
	if err := json.NewEncoder(o.w).Encode(line); err != nil {
		return err
	}
	return o.control.Flush()
}
