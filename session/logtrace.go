package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// LogTrace returns a Trace that logs to l, one record for each event:
//
//	Debug  streams opened, accepted and closed; pauses in reading; probes of the keep-alive
//	Info   sessions that begin, and that end because one side has closed them; drains; the keep-alive gives up
//	Warn   streams refused or aborted, data thrown away, sessions that end for another reason
//
// All records have the attribute session, which is a group: see [Session.LogValue]. Those about one stream have its id as
// the attribute stream.
//
// A peer can cause many refusals, and StallTimeout can abort many streams at once. So for each session, l gets at most
// one record a second about refusals of the same cause, and one about streams that were aborted. The attribute more of
// the next such record, or of the record of the session's end, says how many there were in addition.
//
// Frames are not logged. To log them, or to do something else as well, set fields of the result.
func LogTrace(l *slog.Logger) *Trace {
	g := &logTrace{l: l, bursts: make(map[burstKey]burst)}
	return &Trace{
		SessionBegin:    func(s *Session) { g.log(s, slog.LevelInfo, "session begins") },
		SessionEnd:      g.sessionEnd,
		StreamOpened:    func(s *Session, st *stream.Stream) { g.logStream(s, "stream opened", st) },
		StreamAccepted:  func(s *Session, st *stream.Stream) { g.logStream(s, "stream accepted", st) },
		StreamRefused:   g.streamRefused,
		StreamClosed:    g.streamClosed,
		StreamStalled:   g.streamStalled,
		DataDropped:     g.dataDropped,
		ReadPaused:      func(s *Session, why Pause) { g.log(s, slog.LevelDebug, "reading pauses", slog.Any("why", why)) },
		ReadResumed:     g.readResumed,
		KeepAliveProbe:  g.keepAliveProbe,
		KeepAliveGiveUp: g.keepAliveGiveUp,
		DrainBegin:      func(s *Session) { g.log(s, slog.LevelInfo, "draining: this side takes no more streams") },
		PeerDraining:    func(s *Session) { g.log(s, slog.LevelInfo, "draining: the peer takes no more streams") },
	}
}

// A logTrace is what LogTrace's functions share.
type logTrace struct {
	l *slog.Logger

	mu     sync.Mutex // guards bursts
	bursts map[burstKey]burst
}

// A burstKey names a kind of events of a session of which many may come at once.
type burstKey struct {
	s     *Session
	cause RefusalCause // 0: streams that were aborted
}

// A burst is what was logged of the events of a kind.
type burst struct {
	last time.Duration // when a record was logged
	more int           // how many events were not logged since
}

// burstTime is the least time between two records about events of a kind.
const burstTime = time.Second

func (g *logTrace) log(s *Session, level slog.Level, msg string, attrs ...slog.Attr) {
	ctx := context.Background()
	if g.l.Enabled(ctx, level) {
		g.l.LogAttrs(ctx, level, msg, append([]slog.Attr{slog.Any("session", s)}, attrs...)...)
	}
}

func (g *logTrace) logStream(s *Session, msg string, st *stream.Stream) {
	g.log(s, slog.LevelDebug, msg, streamAttr(st.ID()))
}

func streamAttr(id uint32) slog.Attr { return slog.Any("stream", id) }

// logBurst logs an event of which many may come at once.
func (g *logTrace) logBurst(key burstKey, msg string, attrs ...slog.Attr) {
	more, ok := g.noteBurst(key)
	if !ok {
		return
	}
	if more > 0 {
		attrs = append(attrs, slog.Int("more", more))
	}
	g.log(key.s, slog.LevelWarn, msg, attrs...)
}

// noteBurst reports whether to log an event now, and how many were not logged before.
func (g *logTrace) noteBurst(key burstKey) (more int, ok bool) {
	now := key.s.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	b, found := g.bursts[key]
	if found && now-b.last < burstTime {
		b.more++
		g.bursts[key] = b
		return 0, false
	}
	g.bursts[key] = burst{last: now}
	return b.more, true
}

// takeBursts forgets the session, and returns how many events were not logged.
func (g *logTrace) takeBursts(s *Session) (refused, aborted int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for cause := RefusalCause(0); cause <= lastRefusalCause; cause++ {
		key := burstKey{s, cause}
		if cause == 0 {
			aborted = g.bursts[key].more
		} else {
			refused += g.bursts[key].more
		}
		delete(g.bursts, key)
	}
	return refused, aborted
}

func (g *logTrace) sessionEnd(s *Session, reason error) {
	attrs := []slog.Attr{slog.Any("reason", reason)}
	refused, aborted := g.takeBursts(s)
	if refused > 0 {
		attrs = append(attrs, slog.Int("more_refused", refused))
	}
	if aborted > 0 {
		attrs = append(attrs, slog.Int("more_aborted", aborted))
	}
	level := slog.LevelWarn
	if errors.Is(reason, net.ErrClosed) || reason == io.EOF || reason == ErrIdleTimeout {
		level = slog.LevelInfo
	}
	g.log(s, level, "session ends", attrs...)
}

func (g *logTrace) streamRefused(s *Session, r Refusal) {
	key := burstKey{s, r.Cause}
	if r.Cause == RefusedByPeer {
		g.logBurst(key, "stream refused by the peer", streamAttr(r.StreamID))
		return
	}
	g.logBurst(key, "stream refused", streamAttr(r.StreamID), slog.String("cause", r.Cause.String()))
}

func (g *logTrace) streamStalled(s *Session, st *stream.Stream, unread int) {
	g.logBurst(burstKey{s: s}, "stream aborted: its data was not read", streamAttr(st.ID()), slog.Int("unread", unread))
}

func (g *logTrace) streamClosed(s *Session, c StreamEnd) {
	attrs := []slog.Attr{
		streamAttr(c.Stream.ID()), slog.Duration("after", c.Duration),
		slog.Uint64("sent", c.BytesSent), slog.Uint64("received", c.BytesReceived),
	}
	if c.Reason != nil {
		attrs = append(attrs, slog.Any("reason", c.Reason))
	}
	g.log(s, slog.LevelDebug, "stream closed", attrs...)
}

func (g *logTrace) dataDropped(s *Session, streams int) {
	g.log(s, slog.LevelWarn, "the transport takes no data: data of closed streams was thrown away", slog.Int("streams", streams))
}

func (g *logTrace) readResumed(s *Session, why Pause, after time.Duration) {
	g.log(s, slog.LevelDebug, "reading goes on", slog.Any("why", why), slog.Duration("after", after))
}

func (g *logTrace) keepAliveProbe(s *Session, silent time.Duration) {
	g.log(s, slog.LevelDebug, "keep-alive probe", slog.Duration("silent", silent))
}

func (g *logTrace) keepAliveGiveUp(s *Session, silent time.Duration) {
	g.log(s, slog.LevelInfo, "keep-alive gives up", slog.Duration("silent", silent))
}
