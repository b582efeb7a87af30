package runtime

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// clientLog passes the Kafka clients' log on. What they call info would be a dozen lines a commit, so it is debug here.
type clientLog struct{ log *slog.Logger }

// Level implements kgo.Logger.
func (l clientLog) Level() kgo.LogLevel {
	ctx := context.Background()
	switch {
	case l.log.Enabled(ctx, slog.LevelDebug):
		return kgo.LogLevelInfo
	case l.log.Enabled(ctx, slog.LevelWarn):
		return kgo.LogLevelWarn
	case l.log.Enabled(ctx, slog.LevelError):
		return kgo.LogLevelError
	default:
		return kgo.LogLevelNone
	}
}

// Log implements kgo.Logger.
func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		to = slog.LevelError
	case kgo.LogLevelWarn:
		to = slog.LevelWarn
	default:
	}
	l.log.Log(context.Background(), to, msg, keyvals...)
}

// endingLog is the log of a producer's client. The client does not tell by its error whether it was the commit of a transaction that
// failed or the abort of one whose offsets had been refused before. It says so in its log only.
type endingLog struct {
	clientLog
	aborting *atomic.Bool // set while the client aborts
}

// Level implements kgo.Logger.
func (l endingLog) Level() kgo.LogLevel { return max(l.clientLog.Level(), kgo.LogLevelInfo) }

// Log implements kgo.Logger.
func (l endingLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	switch msg {
	case "ending transaction":
		for i := 0; i+1 < len(keyvals); i += 2 {
			if keyvals[i] == "commit" {
				l.aborting.Store(keyvals[i+1] == kgo.TryAbort)
			}
		}
	case "end transaction response successfully received":
		l.aborting.Store(false)
	}
	if level <= l.clientLog.Level() {
		l.clientLog.Log(level, msg, keyvals...)
	}
}
