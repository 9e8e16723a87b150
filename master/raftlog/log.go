package raftlog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// bridge gives the library a logger that ends in log. What it calls information is of use to us only when debugging.
func bridge(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off})
	l.RegisterSink(sink{log})
	return l
}

type sink struct{ log *slog.Logger }

// Accept takes one event of the library.
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelWarn
		if strings.HasPrefix(msg, "heartbeat timeout reached") {
			to = slog.LevelInfo // an election is no fault: every start begins with one
		}
	case hclog.Error:
		to = slog.LevelError
	}
	ctx := context.Background()
	if !s.log.Enabled(ctx, to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	s.log.Log(ctx, to, "raft: "+msg, args...)
}
