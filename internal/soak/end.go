package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
)

// A behaviour is what one end of a stream does. Both ends of a stream, and the checks, draw the same behaviours
// from the round's seed and the stream's id.
type behaviour struct {
	Size    int64 // bytes that it writes
	Pattern testutil.Pattern

	Chunk         int // most bytes of a Write
	Vary          bool
	ReadFrom      bool          // instead of Write
	WriteNap      time.Duration // between two Writes, a few times
	WriteDeadline time.Duration // time for each Write, which is repeated for the rest
	Weight        int
	Rate          float64

	ReadChunk    int
	WriteTo      bool // instead of Read
	ReadNap      time.Duration
	ReadDeadline time.Duration

	How  how
	Stop int64         // stops, closesRead: after this number of bytes
	Wait time.Duration // aborts: after this time

	Flush bool // after the last byte, and the end of the direction
}

// how is the order in which an end closes its directions.
type how string

const (
	halves     how = "halves"     // CloseWrite after the last byte; Close after the peer's end was read
	closes     how = "closes"     // Close after the last byte
	stops      how = "stops"      // Close after reading Stop bytes, also during a Write
	closesRead how = "closesRead" // CloseRead after reading Stop bytes; Close after the last byte
	aborts     how = "aborts"     // Close after Wait, during anything
	answers    how = "answers"    // writes after the peer's end was read
	waits      how = "waits"      // Close after the last byte, and after the peer's end was read
)

// behaviours returns the behaviours of the end that opens a stream and of the other one.
func (p *plan) behaviours(session int, id uint32) [2]*behaviour {
	d := draw{rand.New(rand.NewPCG(p.Seed^uint64(session)<<48, p.Round<<32|uint64(id)))}
	var both [2]*behaviour
	for i := range both {
		both[i] = p.behaviour(d)
	}
	if both[0].How == answers {
		both[0].How = halves // one of them must begin
	}
	if p.NoHalfClose {
		both[0].How = pick(d, closes, closes, aborts) // again, one of them
		both[1].How = pick(d, waits, waits, closes, aborts)
	}
	return both
}

func (p *plan) behaviour(d draw) *behaviour {
	b := &behaviour{Pattern: testutil.Pattern(d.Uint64())}
	if d.chance(0.85) {
		b.Size = d.upTo(p.MaxSize)
	}
	b.Chunk = 1 + int(d.upTo(int64(p.MaxChunk-1)))
	b.Chunk = max(b.Chunk, int(b.Size/2000)) // a very large number of Writes finds nothing more
	b.Vary = d.chance(0.5)
	b.ReadFrom = d.chance(0.1)
	b.ReadChunk = max(1+int(d.upTo(int64(p.MaxChunk-1))), int(p.MaxSize/2000))
	b.WriteTo = d.chance(0.1)
	b.Weight = 1
	if d.chance(0.1) {
		b.Weight = 1 + d.IntN(256)
	}
	if d.chance(0.05) {
		b.Rate = 1000 + 2*float64(b.Size)
	}
	nap := func() time.Duration { return time.Duration(d.upTo(40_000)) * time.Microsecond }
	if d.chance(0.2) {
		b.WriteNap = nap()
	}
	if d.chance(0.2) {
		b.ReadNap = nap()
	}
	if d.chance(0.1) {
		b.WriteDeadline = time.Duration(d.upTo(20_000)-1) * time.Microsecond
	}
	if d.chance(0.1) {
		b.ReadDeadline = time.Duration(d.upTo(20_000)-1) * time.Microsecond
	}
	b.How = pick(d, halves, halves, halves, halves, closes, closes, stops, closesRead, aborts, answers)
	b.Stop = d.upTo(p.MaxSize)
	b.Wait = time.Duration(d.upTo(50_000)) * time.Microsecond
	b.Flush = d.chance(0.2)
	return b
}

// readsToTheEnd reports whether the end reads everything that its peer writes.
func (b *behaviour) readsToTheEnd() bool {
	return b.How == halves || b.How == answers || b.How == waits
}

// maxNaps is how often an end pauses in each direction.
const maxNaps = 5

// An end is one end of a stream. It follows its behaviour and records what happens.
type end struct {
	r  *round
	st *stream.Stream
	b  *behaviour

	// The bytes written. offered includes the Write in progress.
	offered, written atomic.Int64
	finCalled        atomic.Bool // CloseWrite or Close is about to be called,
	finDone          atomic.Bool // and has been called, after everything was written
	closed           atomic.Bool // Close is about to be called

	read     atomic.Int64
	readAll  bool // io.EOF came
	writeErr error
	readErr  error
	wrong    error // wrong bytes were read
	closeErr error
	flushed  flushed
	answered *atomic.Bool  // the peer's session has answered a ping
	flushing *atomic.Int64 // see pair.flushing
	over     chan struct{} // closed when all of these are final
	reading  chan struct{} // closed when reading has ended
}

func newEnd(r *round, st *stream.Stream, b *behaviour) *end {
	return &end{r: r, st: st, b: b, over: make(chan struct{}), reading: make(chan struct{})}
}

// run follows the behaviour. peer is the other end's.
func (e *end) run(peer *behaviour) {
	defer close(e.over)
	if e.b.Weight != 1 {
		e.st.SetWeight(e.b.Weight)
	}
	if e.b.Rate > 0 {
		e.st.SetSendRate(flow.Rate{BytesPerSecond: e.b.Rate})
	}
	var both sync.WaitGroup
	both.Go(e.write)
	both.Go(func() {
		defer close(e.reading)
		e.receive(peer.Pattern)
	})
	if e.b.How == aborts {
		both.Go(func() {
			time.Sleep(e.b.Wait)
			e.close()
		})
	}
	both.Wait()
	e.close()
	select {
	case <-e.st.Done():
	default:
		e.r.fail("stream %d was closed, and its Done is open", e.st.ID())
	}
	totals.bytes.Add(e.read.Load())
	totals.streams.Add(1)
}

func (e *end) close() {
	e.finCalled.Store(true)
	if !e.closed.Swap(true) {
		e.closeErr = e.st.Close()
		e.finDone.Store(e.closeErr == nil)
	}
}

// write writes, and closes the direction.
func (e *end) write() {
	if e.b.How == answers {
		<-e.reading
	}
	if e.b.Size > 0 {
		e.writeErr = e.send()
	}
	switch e.b.How {
	case closes:
		e.close()
	case stops, aborts, waits:
		// Ended by the other goroutine, or by the end of the stream.
	default:
		e.finCalled.Store(true)
		if err := e.st.CloseWrite(); err != nil && e.writeErr == nil {
			e.writeErr = fmt.Errorf("CloseWrite: %w", err)
		}
		e.finDone.Store(true)
	}
	if e.b.How == stops {
		// The peer may wait for this end to begin.
		e.finCalled.Store(true)
		_ = e.st.CloseWrite()
	}
	if e.b.Flush {
		e.flush()
	}
}

// send writes all bytes. Its error says why it ended early.
func (e *end) send() error {
	defer e.r.holds(min(int64(e.b.Chunk), e.b.Size))()
	buf := make([]byte, min(int64(e.b.Chunk), e.b.Size))
	if e.b.ReadFrom {
		n, err := e.st.ReadFrom(&source{e: e, buf: buf})
		e.written.Store(n)
		if err == nil && n < e.b.Size {
			err = errors.New("ReadFrom returned before its reader ended")
		}
		return err
	}
	naps, failed := 0, 0
	for e.written.Load() < e.b.Size {
		p := e.fill(buf)
		if e.b.WriteDeadline != 0 && failed < 20 {
			e.st.SetWriteDeadline(time.Now().Add(e.b.WriteDeadline))
		} else if failed > 0 {
			e.st.SetWriteDeadline(time.Time{})
			failed = 0
		}
		n, err := e.st.Write(p)
		if n < 0 || n > len(p) || n < len(p) && err == nil {
			return fmt.Errorf("Write of %d bytes returned %d, %v", len(p), n, err)
		}
		clear(p) // the buffer belongs to this side again
		e.written.Add(int64(n))
		e.offered.Store(e.written.Load())
		if e.b.WriteDeadline != 0 && deadlinePassed(err) {
			failed++
			if n > 0 {
				failed = 1
			}
			continue
		}
		if err != nil {
			return err
		}
		if e.b.WriteNap > 0 && naps < maxNaps {
			naps++
			time.Sleep(e.b.WriteNap)
		}
	}
	return nil
}

// fill puts the next bytes into buf and returns them.
func (e *end) fill(buf []byte) []byte {
	off := e.written.Load()
	n := min(int64(len(buf)), e.b.Size-off)
	if e.b.Vary && n > 1 {
		n = 1 + rand.Int64N(n)
	}
	p := buf[:n]
	e.b.Pattern.Fill(p, off)
	e.offered.Store(off + n)
	return p
}

// A source is what ReadFrom reads. Its bytes count as written when it is asked for more: the stream reports
// nothing else.
type source struct {
	e   *end
	buf []byte
}

func (s *source) Read(p []byte) (int, error) {
	e := s.e
	e.written.Store(e.offered.Load())
	if e.written.Load() == e.b.Size {
		return 0, io.EOF
	}
	return len(e.fill(p[:min(len(p), len(s.buf))])), nil
}

// receive reads to the end, or as far as the behaviour wants.
func (e *end) receive(want testutil.Pattern) {
	stop := int64(-1)
	if e.b.How == stops || e.b.How == closesRead {
		stop = e.b.Stop
	}
	sink := &sink{e: e, want: want, stop: stop}
	var err error
	if e.b.WriteTo {
		_, err = e.st.WriteTo(sink)
		if err == nil {
			err = io.EOF
		}
	} else {
		err = e.readInto(sink)
	}
	switch {
	case errors.Is(err, errStop):
		if e.b.How == stops {
			e.close()
		} else if cerr := e.st.CloseRead(); cerr != nil {
			e.readErr = fmt.Errorf("CloseRead: %w", cerr)
		}
	case err == io.EOF:
		e.readAll = true
		if e.b.How == stops {
			e.close()
		}
	default:
		e.readErr = err
	}
}

func (e *end) readInto(s *sink) error {
	defer e.r.holds(int64(e.b.ReadChunk))()
	buf := make([]byte, e.b.ReadChunk)
	failed := 0
	for {
		e.r.readers.wait()
		if s.stop >= 0 && e.read.Load() >= s.stop {
			return errStop
		}
		if e.b.ReadDeadline != 0 && failed < 20 {
			e.st.SetReadDeadline(time.Now().Add(e.b.ReadDeadline))
		} else if failed > 0 {
			e.st.SetReadDeadline(time.Time{})
			failed = 0
		}
		n, err := e.st.Read(buf)
		if n < 0 || n > len(buf) || n == 0 && err == nil {
			return fmt.Errorf("Read of %d bytes returned %d, %v", len(buf), n, err)
		}
		if n > 0 {
			failed = 0
			if _, werr := s.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if e.b.ReadDeadline != 0 && deadlinePassed(err) {
			failed++
			continue
		}
		if err != nil {
			return err
		}
	}
}

// errStop is the error of a sink that takes no more.
var errStop = errors.New("stop")

// A sink takes the bytes that were read.
type sink struct {
	e    *end
	want testutil.Pattern
	stop int64
	naps int
}

func (s *sink) Write(p []byte) (int, error) {
	e := s.e
	if err := s.want.Check(p, e.read.Load()); err != nil && e.wrong == nil {
		e.wrong = err
	}
	e.read.Add(int64(len(p)))
	if e.b.ReadNap > 0 && s.naps < maxNaps {
		s.naps++
		time.Sleep(e.b.ReadNap)
	}
	e.r.readers.wait()
	if s.stop >= 0 && e.read.Load() >= s.stop {
		return len(p), errStop
	}
	return len(p), nil
}

// deadlinePassed reports whether err is from a deadline of the stream. Some errors that end a session are
// time-outs, too.
func deadlinePassed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Err == os.ErrDeadlineExceeded
}

// smuxError reports whether a call of a stream or session may return err.
func smuxError(err error) bool {
	var op *net.OpError
	return err == io.EOF || errors.As(err, &op) && op.Net == "smux" && op.Err != nil
}
