//go:build !self

package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Rounds of random streams with each peer, in both roles and both versions, at the same time. Every byte is checked. A round
// is a link with random settings. Both sides draw what happens on a stream from the round's seed and the stream's number,
// which is the first thing that is sent on it.

const (
	soakRounds   = 2 // without -soak
	soakWorkers  = 4 // of each side, each with one stream at a time
	soakInARow   = 6 // streams of each worker in a round
	soakLargest  = 1 << 20
	soakAbandons = 256 << 10 // most bytes that are read of an endless stream
)

// Random streams toward each peer, in both roles and both versions: transfers, half-closes, closes with unread data,
// abandoned streams, and sessions that end meanwhile. -soak says for how long.
func TestSoak(t *testing.T) {
	checkGoroutines(t)
	all := tablePeers()
	if len(crates) > 0 && !haveCargo() {
		t.Log("no cargo here: the Rust crates smux and async_smux are not tested")
		all = peers
	}
	begin := time.Now()
	t.Cleanup(func() {
		t.Logf("%d rounds, %d streams, %d bytes sent and %d received by our sessions, in %v",
			soaked.rounds.Load(), soaked.streams.Load(), soaked.sent.Load(), soaked.received.Load(), time.Since(begin).Round(time.Second))
	})
	for _, p := range all {
		for version := 1; version <= p.lastVersion(); version++ {
			for _, ourClient := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/v%d/%s", p.name, version, role(ourClient)), func(t *testing.T) {
					t.Parallel()
					seed := newSeed(t)
					for n := uint64(0); n < soakRounds || time.Since(begin) < *soakFor; n++ {
						ok := t.Run(fmt.Sprint(n), func(t *testing.T) { newSoak(t, p, version, ourClient, seed+n).run() })
						if !ok {
							t.Fatalf("round %d: to run it again: go test -run '%s$' -seed %d", n, t.Name(), seed+n)
						}
					}
				})
			}
		}
	}
}

// soaked counts what the rounds have done.
var soaked struct {
	rounds, streams atomic.Int64
	sent, received  atomic.Uint64
}

// A soak is a round.
type soak struct {
	t    *testing.T
	seed uint64
	link *link
	cut  cut
	// mustEnd says that our endless Write must end by itself when they close the stream.
	mustEnd bool

	ended atomic.Bool   // the session was ended on purpose: calls may fail
	done  atomic.Int64  // streams that have ended
	cutAt int64         // the number of such streams at which the session ends
	cuts  chan struct{} // closed then
	once  sync.Once
}

// A cut is how the session ends in the middle of a round.
type cut string

const (
	noCut       cut = "no cut"
	ourClose    cut = "our Close"
	ourCloseNow cut = "our CloseNow"
	theirClose  cut = "their Close"
)

func newSoak(t *testing.T, p *peer, version int, ourClient bool, seed uint64) *soak {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &soak{t: t, seed: seed, cut: noCut, cuts: make(chan struct{})}
	if r.IntN(3) == 0 {
		s.cut = []cut{ourClose, ourCloseNow, theirClose}[r.IntN(3)]
		s.cutAt = r.Int64N(2 * soakWorkers * soakInARow)
	}
	set := setting{smallBuffers: r.IntN(3) == 0}
	set.ours.CloseTimeout = time.Second
	frames := []int{0, 512, 4096, 32_760}
	if p.largestFrame == 0 {
		frames = append(frames, 65_535)
	}
	set.ours.MaxFrameSize = frames[r.IntN(len(frames))]
	if r.IntN(3) == 0 {
		set.ours.MaxReceiveBuffer, set.ours.MaxStreamWindow = 1<<20, 64<<10
	}
	if r.IntN(3) == 0 {
		set.ours.Interval, set.ours.Timeout = 5*time.Millisecond, never
	}
	if r.IntN(3) == 0 && p.crate == "" {
		frame := 512 << r.IntN(7)
		set.theirs = func(c *theirSettings) { c.MaxReceiveBuffer, c.MaxStreamBuffer, c.MaxFrameSize = 1<<20, 64<<10, frame }
	}
	q := *p
	set.ours.LingerTimeout = 5 * time.Second // so long may our data for an abandoned stream wait
	switch r.IntN(3) {
	case 0:
		set.ours.NoHalfClose = true
		s.mustEnd, q.closeWrite = true, false
	case 1: // nobody half-closes, so that no slow reader is given up
		s.mustEnd, q.closeWrite = version == 2, false
	}
	s.link = newLink(t, p, version, ourClient, set)
	s.link.peer = &q
	t.Logf("seed %d: %s, NoHalfClose %v, LingerTimeout %v", seed, s.cut, set.ours.NoHalfClose, set.ours.LingerTimeout)
	return s
}

// run lets both sides open and accept streams. Then nothing is left.
func (s *soak) run() {
	l := s.link
	var all sync.WaitGroup
	number := uint32(0)
	for _, ends := range [][2]end{{l.our(), l.their()}, {l.their(), l.our()}} {
		s.accept(ends[1], &all)
		for range soakWorkers {
			first := number
			number += soakInARow
			all.Go(func() {
				for n := range uint32(soakInARow) {
					s.open(ends[0], first+n)
				}
			})
		}
	}
	if s.cut != noCut {
		all.Go(func() {
			<-s.cuts
			s.end()
		})
	}
	all.Wait()
	ours := l.ours.(ourSession)
	soaked.rounds.Add(1)
	soaked.streams.Add(s.done.Load())
	soaked.sent.Add(ours.Stats().BytesSent)
	soaked.received.Add(ours.Stats().BytesReceived)
	if s.cut != noCut || s.t.Failed() {
		return
	}
	wantNoStreams(s.t, l)
	for begin := time.Now(); ours.Stats().Unread+ours.Stats().Unsent > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > hung {
			s.t.Errorf("%d bytes unread, %d unsent, without a stream", ours.Stats().Unread, ours.Stats().Unsent)
			break
		}
	}
	echo(s.t, l)
}

// end ends the session. On a busy machine the transport's Close may take longer than our Close and CloseNow wait for it,
// which is 0.1 s if nothing is left of CloseTimeout.
func (s *soak) end() {
	s.ended.Store(true)
	var err error
	switch s.cut {
	case ourClose:
		if err = s.link.ours.Close(); errors.Is(err, errNotFlushed) || errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
	case ourCloseNow:
		if err = s.link.ours.(ourSession).CloseNow(); errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
	case theirClose:
		err = s.link.theirs.Close()
	case noCut:
	}
	if err != nil {
		s.t.Errorf("%s: %v", s.cut, err)
	}
}

// finished counts a stream that has ended, and looks whether the session is to end.
func (s *soak) finished() {
	if s.done.Add(1) > s.cutAt {
		s.once.Do(func() { close(s.cuts) })
	}
}

// accept serves the streams that e accepts. An application closes its session when it can accept no more.
func (s *soak) accept(e end, all *sync.WaitGroup) {
	all.Go(func() {
		for range soakWorkers * soakInARow {
			st, err := e.Accept()
			if err != nil {
				s.fail(e, 0, "accept", err)
				_ = e.Close()
				return
			}
			all.Go(func() {
				defer s.finished()
				var number [4]byte
				if _, err := io.ReadFull(st, number[:]); err != nil {
					s.fail(e, 0, "the first read", err)
					_ = st.Close()
					return
				}
				n := binary.LittleEndian.Uint32(number[:])
				s.talk(e, st, false, n)
			})
		}
	})
}

func (s *soak) open(e end, number uint32) {
	defer s.finished()
	st, err := e.Open()
	if err != nil {
		s.fail(e, number, "open", err)
		return
	}
	if _, err := st.Write(binary.LittleEndian.AppendUint32(nil, number)); err != nil {
		s.fail(e, number, "the first write", err)
		_ = st.Close()
		return
	}
	s.talk(e, st, true, number)
}

// fail reports an error that nothing explains. Wrong bytes have no excuse, nor has a clean end of ours before the last byte.
func (s *soak) fail(e end, number uint32, what string, err error) {
	if err == nil {
		return
	}
	if s.ended.Load() && !errors.Is(err, errWrongByte) && !(e.name == "ours" && errors.Is(err, errShort)) {
		return
	}
	s.t.Errorf("%s: stream %d: %s: %v", e.name, number, what, err)
}

// errShort is the end of a stream before its last byte.
var errShort = errors.New("the stream ended early")

// A kind is what happens on a stream.
type kind string

const (
	exchanges kind = "exchange" // both send; half-close where both can
	uploads   kind = "upload"   // the opener sends and closes
	downloads kind = "download" // the acceptor sends and closes
	requests  kind = "request"  // the opener sends and half-closes, the acceptor answers and closes
	abandons  kind = "abandon"  // one side sends without end, the other reads some and closes
	nothing   kind = "nothing"  // the opener closes
	unread    kind = "unread"   // the opener sends and closes, the acceptor reads some and closes
)

// talk is one side of a stream. It closes st.
func (s *soak) talk(e end, st muxStream, opened bool, number uint32) {
	r := rand.New(rand.NewPCG(s.seed, 2+uint64(number)))
	kinds := []kind{exchanges, exchanges, uploads, downloads, abandons, abandons, nothing, unread}
	openerIsOurs := opened == (e.name == "ours")
	if s.link.peer.halfCloses() && (openerIsOurs || s.link.peer.keepsUnread) {
		kinds = append(kinds, requests, requests)
	}
	k, writes := kinds[r.IntN(len(kinds))], opened == (r.IntN(2) == 0)
	up, down := newPayload(s.seed, number+4, true, soakLargest), newPayload(s.seed, number+4, false, soakLargest)
	some := r.IntN(soakAbandons)
	var err error
	switch k {
	case exchanges:
		send, receive := up, down
		if !opened {
			send, receive = down, up
		}
		err = converse(e, st, opened, send, receive)
	case uploads, downloads, requests:
		err = s.oneWay(e, st, k, opened, up, down)
	case abandons:
		if writes {
			up.size = math.MaxInt
			err = s.untilClosed(e, st, up)
		} else {
			up.size = some
			err = errors.Join(up.readFrom(st), s.close(e, st))
		}
	case nothing:
		if !opened {
			err = wantEOF(st)
		}
		err = errors.Join(err, s.close(e, st))
	case unread:
		up.size = 1 + some%60_000
		switch {
		case opened && e.name == "ours":
			if err = up.writeTo(st); errors.Is(err, peerClosed) {
				err = nil // the reader has closed
			}
		case opened: // its Write may wait for the window when the reader has closed
			_ = s.untilClosed(e, st, up)
			return
		default:
			up.size = some % up.size
			err = up.readFrom(st)
		}
		err = errors.Join(err, s.close(e, st))
	}
	s.fail(e, number, string(k), err)
}

// oneWay is one side of an upload, a download or a request.
func (s *soak) oneWay(e end, st muxStream, k kind, opened bool, up, down payload) error {
	send := func(p payload) error { return p.writeTo(st) }
	receive := func(p payload) error {
		if err := p.readFrom(st); err != nil {
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.Join(errShort, err)
			}
			return err
		}
		return wantEOF(st)
	}
	var err error
	switch {
	case k == uploads && opened:
		err = send(up)
	case k == uploads:
		err = receive(up)
	case k == downloads && opened:
		err = receive(down)
	case k == downloads:
		err = send(down)
	case opened:
		if err = send(up); err == nil {
			err = st.CloseWrite()
		}
		if err == nil {
			err = receive(down)
		}
	default:
		if err = receive(up); err == nil {
			err = send(down)
		}
	}
	return errors.Join(err, s.close(e, st))
}

// untilClosed writes p, and ends when the reader has closed. Where nothing tells its Write, the end of its own Read does.
func (s *soak) untilClosed(e end, st muxStream, p payload) error {
	written := make(chan error, 1)
	go func() { written <- p.writeTo(st) }()
	_, _ = io.Copy(io.Discard, st) // until the reader has closed
	if e.name != "ours" || !s.mustEnd || s.ended.Load() {
		_ = st.Close()
		<-written
		return nil
	}
	err := <-written
	if !errors.Is(err, peerClosed) && !s.ended.Load() {
		return fmt.Errorf("write: %w, want %w", err, peerClosed)
	}
	return s.close(e, st)
}

// close closes st. The rest of the data may have nobody who reads it.
func (s *soak) close(e end, st muxStream) error {
	if err := st.Close(); err != nil && !errors.Is(err, peerClosed) {
		return fmt.Errorf("close by %s: %w", e.name, err)
	}
	return nil
}
