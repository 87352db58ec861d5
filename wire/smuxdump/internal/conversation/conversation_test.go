package conversation

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/wire"
)

// A tape records events in a line each.
type tape struct {
	lines []string
	set   *Set
	conn  *Conn
	now   time.Time
}

func newTape(opts Options) *tape {
	r := &tape{now: time.Unix(1e9, 0)}
	opts.Handle = r.note
	opts.Keep = 10
	r.set = NewSet(opts)
	r.conn = r.set.Open("a", "b", r.now)
	return r
}

func (r *tape) note(e *Event) {
	line := e.Dir.String() + " "
	switch e.Kind {
	case Frame:
		line += fmt.Sprintf("%v %d", e.Header.Command, e.Header.StreamID)
		if e.Violation != nil {
			line += " BREAKS " + e.Violation.Error()
		}
		if e.Meaning != "" {
			line += ": " + e.Meaning
		}
	case Begin, End:
		return
	default:
		line += e.Text
	}
	r.lines = append(r.lines, line)
}

// at sends frames after a time.
func (r *tape) at(after time.Duration, d Dir, frames ...[]byte) {
	r.now = r.now.Add(after)
	r.conn.Data(d, r.now, bytes.Join(frames, nil))
}

func (r *tape) send(d Dir, frames ...[]byte) { r.at(time.Millisecond, d, frames...) }

// expect compares the lines since the last call.
func (r *tape) expect(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.lines = nil
}

func frame(cmd wire.Command, id uint32, payload string) []byte {
	h := wire.Header{Version: wire.V2, Command: cmd, Length: uint16(len(payload)), StreamID: id}
	return append(h.Append(nil), payload...)
}

// upd returns an update of stream 1.
func upd(consumed, window uint32) []byte {
	return frame(wire.UPD, 1, string(wire.WindowUpdate{Consumed: consumed, Window: window}.Append(nil)))
}

func data(id uint32, n int) []byte { return frame(wire.PSH, id, strings.Repeat("x", n)) }

// Each signal of smuxkit, and each echo, is named, whichever side sends it. A ping is timed.
func TestSignalsAreNamed(t *testing.T) {
	r := newTape(Options{})
	r.send(Forward, frame(wire.SYN, 1, ""))
	for i, id := range []uint32{0xffffffff, 0xfffffffd, 0xfffffffb} {
		r.at(time.Second, Forward, frame(wire.FIN, id, ""))
		r.at(time.Duration(i)*time.Millisecond, Backward, frame(wire.FIN, id, ""))
		r.at(time.Second, Backward, frame(wire.FIN, id-1, ""))
		r.at(time.Duration(i)*time.Millisecond, Forward, frame(wire.FIN, id-1, ""))
	}
	r.send(Forward, frame(wire.FIN, 0xfffffff0, ""))
	r.expect(t, "> SYN 1",
		"> FIN 4294967295: signal drain: open no more streams here", "< FIN 4294967295: echo of drain",
		"< FIN 4294967294: signal drain: open no more streams here", "> FIN 4294967294: echo of drain",
		"> FIN 4294967293: signal ping", "< FIN 4294967293: echo of ping, round trip 1ms",
		"< FIN 4294967292: signal ping", "> FIN 4294967292: echo of ping, round trip 1ms",
		"> FIN 4294967291: signal close: the sender reads no more, and all of its data came before", "< FIN 4294967291: echo of close",
		"< FIN 4294967290: signal close: the sender reads no more, and all of its data came before", "> FIN 4294967290: echo of close",
		"> FIN 4294967280: signal without a meaning")
	for _, d := range []Dir{Forward, Backward} {
		if p := r.conn.Ping[d]; p.Count != 1 || p.Average() != time.Millisecond {
			t.Errorf("pings of %v: %+v", d, p)
		}
	}
}

// What the frames of a stream's end mean is said: half-close, close of both directions, a refusal.
func TestEndsOfStreamsAreTold(t *testing.T) {
	r := newTape(Options{})
	r.send(Forward, frame(wire.SYN, 1, ""), data(1, 3), frame(wire.FIN, 1, ""), upd(0, 262144))
	r.send(Backward, data(1, 2), frame(wire.FIN, 1, ""), frame(wire.FIN, 1, ""))
	r.send(Forward, frame(wire.SYN, 3, ""), frame(wire.FIN, 3, ""), frame(wire.FIN, 3, ""))
	r.send(Backward, data(3, 2), frame(wire.FIN, 3, ""))
	r.send(Forward, frame(wire.SYN, 5, ""), data(5, 1))
	r.send(Backward, data(5, 0), data(5, 0), frame(wire.FIN, 5, ""), frame(wire.FIN, 5, ""))
	r.send(Forward, frame(wire.SYN, 7, ""), frame(wire.FIN, 7, ""))
	r.send(Backward, data(7, 0), data(7, 0), frame(wire.FIN, 7, ""), frame(wire.FIN, 7, ""))
	r.send(Forward, data(9, 1), data(2, 1))
	r.expect(t, "> SYN 1", "> PSH 1", "> FIN 1", "> UPD 1: its sender still reads",
		"< PSH 1", "< FIN 1: closed after 1ms, > 3 bytes, < 2 bytes", "< FIN 1: closed both directions",
		"> SYN 3", "> FIN 3", "> FIN 3: closed both directions", "< PSH 3: nobody reads it: the stream is over", "< FIN 3: closed after 1ms, > 0 bytes, < 2 bytes",
		"> SYN 5", "> PSH 5", "< PSH 5", "< PSH 5", "< FIN 5", "< FIN 5: refused: no application has seen the stream",
		"> SYN 7", "> FIN 7", "< PSH 7", "< PSH 7", "< FIN 7: closed after 1ms, > 0 bytes, < 0 bytes", "< FIN 7: refused: no application has seen the stream",
		"> PSH 9: no such stream", "> PSH 2: no such stream")
	if c := r.conn; c.Opened != [2]int64{4, 0} || c.Closed != 2 || c.Refused != 2 || c.Open != 0 {
		t.Errorf("opened %v, closed %d, refused %d, open %d", c.Opened, c.Closed, c.Refused, c.Open)
	}
}

// Each frame that a peer must not send is a problem. Decoding goes on if the length of the frame is known.
func TestViolationsAreProblems(t *testing.T) {
	v1 := frame(wire.PSH, 1, "x")
	v1[0] = 1
	for _, test := range []struct {
		name  string
		frame []byte
		dir   Dir
		want  error
		on    bool // decoding goes on
	}{
		{"parity", frame(wire.SYN, 3, ""), Backward, ErrParity, true},
		{"in use", frame(wire.SYN, 1, ""), Forward, ErrInUse, true},
		{"consumed", upd(6, 262144), Backward, ErrConsumed, true},
		{"after FIN", join(frame(wire.FIN, 1, ""), data(1, 1)), Forward, ErrAfterFIN, true},
		{"control data", frame(wire.SYN, 3, "abc"), Forward, wire.ErrControlData, true},
		{"NOP with an id", frame(wire.NOP, 3, ""), Forward, wire.ErrNOPStreamID, true},
		{"id 0", data(0, 10), Forward, wire.ErrZeroStreamID, true},
		{"length of UPD", frame(wire.UPD, 1, "abc"), Forward, wire.ErrUpdateLength, true},
		{"version in a direction", v1, Forward, wire.ErrVersionMismatch, true},
		{"version of the other direction", v1, Backward, wire.ErrVersionMismatch, true},
		{"command", frame(9, 1, ""), Forward, wire.ErrCommand, false},
		{"version", []byte{7, 0, 0, 0, 1, 0, 0, 0}, Forward, wire.ErrVersion, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTape(Options{})
			r.send(Forward, frame(wire.SYN, 1, ""), data(1, 5))
			var violation error
			note := r.set.opts.Handle
			r.set.opts.Handle = func(e *Event) {
				note(e)
				if e.Violation != nil {
					violation = e.Violation
				}
			}
			r.lines = nil
			r.send(test.dir, test.frame)
			if test.on != errors.Is(violation, test.want) || r.set.Problems != 1 || r.conn.Problems != 1 {
				t.Errorf("%v, want %v; %d problems\n%s", violation, test.want, r.set.Problems, strings.Join(r.lines, "\n"))
			}
			if !strings.Contains(strings.Join(r.lines, "\n"), test.want.Error()) {
				t.Errorf("the text is %q, want %q in it", r.lines, test.want)
			}
			r.lines = nil
			r.send(test.dir, frame(wire.NOP, 0, ""))
			if on := len(r.lines) == 1; on != test.on {
				t.Errorf("decoding goes on: %v, want %v", on, test.on)
			}
		})
	}
}

// The time from the use of the last byte of a window to the update that gives more counts, if data follows.
func TestWindowStallIsTimed(t *testing.T) {
	r := newTape(Options{})
	r.send(Forward, frame(wire.SYN, 1, ""))
	for range 8 {
		r.send(Forward, data(1, 32768))
	}
	r.at(time.Second, Backward, upd(0, 262144)) // no room yet
	r.at(time.Second, Backward, upd(100, 262144))
	r.lines = nil
	r.send(Forward, data(1, 100))
	r.expect(t, "> blocked for 2s by its window", "> PSH 1")
	r.at(time.Second, Backward, upd(262244, 262144))
	r.at(time.Second, Forward, frame(wire.FIN, 1, ""))
	h := r.conn.streams[1].Half[Forward]
	if h.Window != (Stall{1, 2 * time.Second, 2 * time.Second}) {
		t.Errorf("blocked by the window: %+v; the time before FIN must not count", h.Window)
	}

	r.send(Forward, frame(wire.SYN, 3, ""))
	for range 8 {
		r.send(Forward, data(3, 32768))
	}
	r.send(Forward, data(3, 7))
	if got := r.lines[len(r.lines)-1]; got != "> PSH 3: 7 bytes beyond the window" {
		t.Error(got)
	}
	r.at(5*time.Second, Forward, frame(wire.NOP, 0, ""))
	r.conn.Close(r.now)
	s := r.conn.Streams()[1]
	if waits := s.End.Sub(s.Half[Forward].Waits); s.State != Cut || waits != 5*time.Second+time.Millisecond {
		t.Errorf("%v, the window was used up for %v at the end", s.State, waits)
	}
}

// A reader may have got a part of a frame that is not complete: an update says so, and no more.
func TestUpdateMayCountAPartOfAFrame(t *testing.T) {
	r := newTape(Options{})
	r.send(Forward, frame(wire.SYN, 1, ""), data(1, 100), data(1, 100)[:58])
	r.send(Backward, upd(150, 262144))
	r.send(Backward, upd(151, 262144))
	r.expect(t, "> SYN 1", "> PSH 1", "< UPD 1", "< UPD 1 BREAKS "+ErrConsumed.Error())
}

// A window wraps with the 32 bits of CONSUMED.
func TestWindowOfMoreThan4GBIsFollowed(t *testing.T) {
	r := newTape(Options{})
	r.send(Forward, frame(wire.SYN, 1, ""))
	s := r.conn.streams[1]
	h := &s.Half[Forward]
	const sent = 5 << 30
	h.Bytes, h.consumed, h.limit = sent, sent, sent+262144
	r.send(Forward, data(1, 1000))
	total := uint64(sent + 600)
	r.send(Backward, upd(uint32(total), 262144))
	if h.consumed != sent+600 || h.room() != 262144-400 || r.set.Problems != 0 {
		t.Errorf("consumed %d, room %d, %d problems", h.consumed, h.room(), r.set.Problems)
	}
}

// A pause within a frame is the transport's, and so is a window of TCP of 0; no time counts twice.
func TestTransportStallIsTimed(t *testing.T) {
	r := newTape(Options{})
	f := data(1, 100)
	r.send(Forward, frame(wire.SYN, 1, ""), f[:50])
	began := r.now
	r.at(2*time.Second, Forward, f[50:])
	r.conn.Blocked(Forward, began.Add(time.Second), r.now.Add(time.Second), "a window of 0")
	r.at(3*time.Second, Forward, data(1, 1)) // between two frames nobody knows
	r.expect(t, "> SYN 1", "> blocked for 2s by the transport: it stopped within a frame", "> PSH 1",
		"> blocked for 1s by the transport: a window of 0", "> PSH 1")
	want := Stall{2, 3 * time.Second, 2 * time.Second}
	if got := r.conn.streams[1].Half[Forward].Transport; got != want || r.conn.Direction(Forward).Transport != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Frames are shown the same, however the bytes are cut into pieces.
func TestPiecesOfAnySizeAreTheSame(t *testing.T) {
	stream := join(frame(wire.SYN, 1, ""), data(1, 300), frame(wire.NOP, 0, ""), upd(0, 1000), frame(wire.SYN, 3, "bad"), frame(wire.FIN, 1, ""))
	whole := newTape(Options{Payloads: true})
	whole.send(Forward, stream)
	for size := 1; size < len(stream); size++ {
		r := newTape(Options{Payloads: size%2 == 0})
		for rest := stream; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			r.at(0, Forward, rest[:min(size, len(rest))])
		}
		r.expect(t, whole.lines...)
	}
}

// Streams beyond the bound are shown and counted, and not followed. Ended ones make room.
func TestStreamsBeyondTheBoundAreNotFollowed(t *testing.T) {
	r := newTape(Options{})
	r.set.maxStreams = 10
	for n := range uint32(100) {
		r.send(Forward, frame(wire.SYN, 2*n+1, ""))
	}
	if len(r.conn.streams) != 10 || r.set.Unfollowed != 90 || r.set.Problems != 1 || len(r.lines) != 101 {
		t.Errorf("%d are followed, %d not; %d problems, %d lines", len(r.conn.streams), r.set.Unfollowed, r.set.Problems, len(r.lines))
	}
	for n := range uint32(100) {
		r.send(Forward, frame(wire.FIN, 2*n+1, ""))
		r.send(Backward, frame(wire.FIN, 2*n+1, ""))
	}
	for n := range uint32(1000) {
		r.send(Forward, frame(wire.SYN, 2*n+1001, ""), frame(wire.FIN, 2*n+1001, ""))
		r.send(Backward, frame(wire.FIN, 2*n+1001, ""))
	}
	if r.set.Unfollowed != 90 || r.set.streams != 0 || len(r.conn.streams) > maxOver+1 || len(r.conn.kept) > 100 {
		t.Errorf("%d are not followed, %d are, %d remembered, %d kept", r.set.Unfollowed, r.set.streams, len(r.conn.streams), len(r.conn.kept))
	}
	for n := range uint32(100) { // two FINs that are not answered end a stream, too
		r.send(Forward, frame(wire.SYN, 2*n+5001, ""), frame(wire.FIN, 2*n+5001, ""), frame(wire.FIN, 2*n+5001, ""))
	}
	if r.set.Unfollowed != 90 || r.set.streams != 0 {
		t.Errorf("after two FINs each, %d are not followed, %d are", r.set.Unfollowed, r.set.streams)
	}
	r.conn.Close(r.now)
	if got := len(r.conn.Streams()); got != 10 {
		t.Errorf("%d streams in the summary, want Options.Keep", got)
	}
}

// All connections together hold a bounded number of bytes, of payloads that are not complete and of bytes without frames.
func TestHeldBytesAreBounded(t *testing.T) {
	set := NewSet(Options{Payloads: true})
	set.maxHeld = 100 << 10
	junk := bytes.Repeat([]byte{1, 2, 255, 255, 1, 1, 1, 1}, 1<<10) // each header is one, and the next one is not
	for n := range 120 {                                            // ten times as much
		c := set.Open("a", "b", time.Time{})
		c.Middle(Forward)
		c.Data(Forward, time.Time{}, junk[1:])
		c.Data(Backward, time.Time{}, data(1, 60_000)[:100+n])
		if set.held > set.maxHeld {
			t.Fatalf("%d bytes are held", set.held)
		}
		defer c.Close(time.Time{})
	}
}

// A closed connection holds nothing.
func TestClosedConnectionHoldsNothing(t *testing.T) {
	set := NewSet(Options{Payloads: true})
	c := set.Open("a", "b", time.Time{})
	c.Middle(Forward)
	c.Data(Forward, time.Time{}, bytes.Repeat([]byte{3}, 5000))
	c.Data(Backward, time.Time{}, join(frame(wire.SYN, 1, ""), data(1, 60_000)[:100]))
	c.Close(time.Time{})
	if set.held != 0 || set.streams != 0 {
		t.Errorf("%d bytes and %d streams are held", set.held, set.streams)
	}
}

// Random bytes, cut and lost anywhere, never panic, and hold nothing at the end.
func FuzzConn(f *testing.F) {
	f.Add(join(frame(wire.SYN, 1, ""), data(1, 30), upd(0, 1000), frame(wire.FIN, 1, "")), []byte{1, 9, 250, 3, 4, 130, 7, 20})
	f.Fuzz(func(t *testing.T, stream, plan []byte) {
		var next [2]int64 // where the last frame ends
		set := NewSet(Options{Payloads: len(plan)%2 == 0, Keep: 1, Handle: func(e *Event) {
			if e.Kind != Frame {
				return
			}
			if e.Offset < next[e.Dir] {
				t.Errorf("a frame at byte %d, behind one that ends at %d", e.Offset, next[e.Dir])
			}
			next[e.Dir] = e.Offset + wire.HeaderSize + int64(e.Header.Length)
		}})
		c := set.Open("a", "b", time.Time{})
		if len(plan) > 0 && plan[0]%4 == 0 {
			c.Middle(Forward)
		}
		for _, p := range plan {
			n := min(int(p%64), len(stream))
			d := Dir(p >> 6 & 1)
			if p >= 128 {
				c.Gap(d, time.Time{}, int64(n))
			} else {
				c.Data(d, time.Time{}, stream[:n])
			}
			stream = stream[n:]
		}
		c.Data(Forward, time.Time{}, stream)
		c.Close(time.Time{})
		if set.held != 0 || set.streams != 0 {
			t.Errorf("%d bytes and %d streams are held", set.held, set.streams)
		}
	})
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
