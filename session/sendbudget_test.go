package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// A peer that reads nothing. Data that waits for it is bounded, in size and in time.

// answer serves the streams of s: it reads a byte of each, answers with size bytes in Writes of 1,000 bytes, and
// closes the stream.
func answer(s *session.Session, size int) {
	for {
		st, err := s.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			defer st.Close()
			if _, err := io.ReadFull(st, make([]byte, 1)); err != nil {
				return
			}
			_ = st.SetWriteDeadline(time.Now().Add(10 * time.Second))
			for n := 0; n < size; n += 1000 {
				if _, err := st.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}()
	}
}

// Ten times more streams than the send budget holds are answered and closed toward a peer that never reads. Their
// data takes no more memory than MaxSendBuffer, or than a shared budget. After LingerTimeout it is gone, although
// NOPs of the peer keep the session.
func TestAnswersToAPeerThatNeverReadsAreBounded(t *testing.T) {
	const limit, size, streams = 1 << 20, 120_000, 100
	for _, shared := range []bool{false, true} {
		name := "MaxSendBuffer"
		if shared {
			name = "SendBudget"
		}
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				cfg := session.Config{}
				budget := flow.NewBudget(limit)
				if shared {
					cfg.SendBudget = budget
				} else {
					cfg.MaxSendBuffer = limit
				}
				s, p := r.startLink(t, simnet.Link{Buffer: 16 << 10, ReadBuffer: 16 << 10}, cfg)
				go answer(s, size)
				runtime.GC()
				before := heapInUse()
				for n := range streams {
					p.Send(t, r.syn(r.theirs(n)), r.psh(r.theirs(n), []byte("?")))
				}
				synctest.Wait()
				if got := s.Stats().Unsent; got < limit/2 || got > limit {
					t.Errorf("%d bytes wait to be sent, want at most %d", got, limit)
				}
				if got := heapInUse() - before; got > 2*limit {
					t.Errorf("%d bytes of memory are in use, want at most %d", got, 2*limit)
				}
				for range 3 { // Writes end, their streams are closed, and these are given up
					for range 6 {
						p.Send(t, r.nop())
						time.Sleep(session.DefaultLingerTimeout / 6)
					}
				}
				if got := s.Stats().Unsent; got > 0 {
					t.Errorf("%d bytes are kept for streams that were closed", got)
				}
				testutil.WantErr(t, "Err", s.Err(), nil)
				testutil.WantErr(t, "Close", s.Close(), session.ErrNotFlushed)
			})
		})
	}
}

// A peer may stop reading for any time: data of open streams is kept and arrives.
func TestPeerThatReadsAfterHoursGetsAllOfOpenStreams(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.startLink(t, simnet.Link{Buffer: 16 << 10, ReadBuffer: 16 << 10}, session.Config{KeepAlive: off})
		p.Ignore(wire.NOP, wire.UPD)
		st := open(t, s)
		done := testutil.Background(func() (struct{}, error) {
			_, err := writeN(st, 100_000, 5000)
			return struct{}{}, err
		})
		time.Sleep(5 * time.Hour)
		p.ExpectFrame(t, "SYN was kept for hours", r.syn(st.ID()))
		p.ExpectData(t, "data was kept for hours", st.ID(), make([]byte, 100_000))
		testutil.WantErr(t, "Write", (<-done).Err, nil)
	})
}

// WriteTimeout ends a session whose transport has taken nothing for that long. It does not end one whose transport
// takes a byte now and then.
func TestWriteTimeoutEndsASessionWhoseTransportStops(t *testing.T) {
	const timeout = 20 * time.Second
	eachRole(t, func(t *testing.T, r role) {
		link := simnet.Link{Buffer: 1000, ReadBuffer: 1000}
		s, p := r.startLink(t, link, session.Config{KeepAlive: off, WriteTimeout: timeout, MaxFrameSize: 1000})
		st := open(t, s)
		time.Sleep(time.Hour) // nothing waits
		testutil.WantErr(t, "Err of an idle session", s.Err(), nil)
		written := testutil.Background(func() (int64, error) { return writeN(st, 1<<20, 1000) })
		for range 100 { // a slow peer is not stalled
			if _, err := io.ReadFull(p.Conn, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(timeout / 100)
		}
		testutil.WantErr(t, "Err beside a slow peer", s.Err(), nil)
		elapsed := testutil.Clock()
		<-s.Done()
		if d := elapsed(); d > timeout { // a Write of the transport was under way
			t.Errorf("it ended after %v, want at most %v", d, timeout)
		}
		testutil.WantErr(t, "Err", s.Err(), session.ErrWriteTimeout)
		if errors.Is(s.Err(), os.ErrDeadlineExceeded) {
			t.Error("it is taken for a deadline of the stream's")
		}
		if ne := net.Error(nil); !errors.As(s.Err(), &ne) || !ne.Timeout() {
			t.Errorf("%v is no time-out", s.Err())
		}
		testutil.WantErr(t, "Write", (<-written).Err, session.ErrWriteTimeout)
		_, err := st.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, session.ErrWriteTimeout)
	})
}

// A reader that pauses for longer than LingerTimeout gets everything that was written, or an error. A stream that
// was given up does not keep its reader waiting. A stream that was closed a moment before keeps its data.
func TestPauseOfTheReaderIsNoSilentLoss(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		for _, pause := range []time.Duration{session.DefaultLingerTimeout + time.Second, 3 * session.DefaultLingerTimeout} {
			c, s := sessions(t, tr, session.Config{Version: version, MaxReceiveBuffer: 64 << 10})
			out1, in1 := openPair(t, c, s)
			out2, in2 := openPair(t, c, s)
			go func() { _, _ = in1.Write(make([]byte, 1<<20)); _ = in1.Close() }()
			time.Sleep(time.Second)
			if _, err := in2.Write(make([]byte, 3000)); err != nil {
				t.Fatal(err)
			}
			testutil.WantErr(t, "Close", in2.Close(), nil)
			time.Sleep(pause) // the client reads nothing
			go func() { _, _ = io.Copy(io.Discard, out1) }()
			got := testutil.Background(func() (int64, error) { return io.Copy(io.Discard, out2) })
			select {
			case r := <-got:
				if r.Err == nil && r.Value != 3000 {
					t.Errorf("read %d bytes of 3,000, and no error", r.Value)
				}
				if r.Err != nil && pause < 2*session.DefaultLingerTimeout {
					t.Errorf("after a pause of %v: %v", pause, r.Err)
				}
			case <-time.After(time.Hour):
				t.Errorf("after a pause of %v reading does not end", pause)
			}
			_, _ = c.Close(), s.Close()
		}
	})
}

// Toward a peer that does not read, each stream has at most MaxStreamSendBuffer bytes of copied data, and all streams
// together take at most MaxSendBuffer of memory. When the peer reads, everything that was written arrives.
func TestMaxStreamSendBufferBoundsEachStream(t *testing.T) {
	const streams, size = 10, 1000
	for _, tt := range []struct{ each, all int }{
		{4 << 10, 0},
		{100_000, 0},
		{1 << 20, 0},
		{1 << 20, 300_000}, // MaxSendBuffer is the smaller bound
		{1 << 29, 2 << 20},
	} {
		t.Run(fmt.Sprintf("%d of %d", tt.each, tt.all), func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				cfg := session.Config{KeepAlive: off, MaxStreamSendBuffer: tt.each, MaxSendBuffer: tt.all}
				s, p := r.startLink(t, simnet.Link{Buffer: 4 << 10, ReadBuffer: 4 << 10}, cfg)
				p.Ignore(wire.NOP, wire.UPD)
				total := min(10*tt.each, 4<<20) / size * size
				if tt.all > 0 {
					total = min(10*tt.all, 4<<20) / size * size
				}
				if total > 4<<17 && r.client {
					return // one role is enough for much data
				}
				var wrote []<-chan testutil.Result[int64]
				for range streams {
					st := open(t, s)
					if r.version == 2 {
						p.Send(t, testutil.UPD(wire.V2, st.ID(), 0, 1<<30))
					}
					wrote = append(wrote, testutil.Background(func() (int64, error) {
						n, err := writeN(st, int64(total), size)
						if err == nil {
							err = st.Close()
						}
						return n, err
					}))
				}
				synctest.Wait()
				least, most := streams*(min(tt.each, total)-size)-64<<10, streams*(2*min(tt.each, total)+512)
				if tt.all > 0 {
					least, most = tt.all/2, tt.all
				}
				if got := s.Stats().Unsent; got > most || got < least { // it counts the buffers
					t.Errorf("%d bytes of buffers wait to be sent, want %d to %d", got, least, most)
				}
				got := map[uint32]int{}
				for ended := 0; ended < streams; {
					switch f := p.Next(t, "everything is sent"); f.Command {
					case wire.PSH:
						got[f.StreamID] += len(f.Data)
					case wire.FIN:
						p.ExpectFrame(t, "Close sends FIN twice", f)
						ended++
					}
				}
				for i, w := range wrote {
					if r := <-w; r.Err != nil || r.Value != int64(total) {
						t.Errorf("stream %d: %d bytes, %v", i, r.Value, r.Err)
					}
				}
				for id, n := range got {
					if n != total {
						t.Errorf("%d bytes arrived on stream %d, want %d", n, id, total)
					}
				}
			})
		})
	}
}
