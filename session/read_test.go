package session_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// readings are the ways to read a stream to its end. At io.EOF they return no error.
var readings = []struct {
	name string
	read func(*stream.Stream) ([]byte, error)
}{
	{"Read", func(s *stream.Stream) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{s}) }},
	{"Read of few bytes", func(s *stream.Stream) ([]byte, error) { return readBy(s, 601) }},
	{"Read of many bytes", func(s *stream.Stream) ([]byte, error) { return readBy(s, 200<<10) }},
	{"WriteTo", func(s *stream.Stream) ([]byte, error) {
		var b bytes.Buffer
		_, err := s.WriteTo(&b)
		return b.Bytes(), err
	}},
}

func readBy(s *stream.Stream, n int) ([]byte, error) {
	var all []byte
	buf := make([]byte, n)
	for {
		n, err := s.Read(buf)
		all = append(all, buf[:n]...)
		if n > 0 && err != nil {
			return all, fmt.Errorf("%d bytes came with an error: %w", n, err)
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// cuts are sizes of frames that together take every path through the reader.
var cuts = []struct {
	name  string
	sizes []int
}{
	{"nothing", nil},
	{"an empty frame", []int{0}},
	{"a byte", []int{1}},
	{"small frames", []int{1, 2, 3, 500, 0, 512, 513, 8191}},
	{"a frame just large enough to be read directly", []int{8192}},
	{"the largest frame", []int{65535}},
	{"large and small frames in turns", []int{65535, 1, 8192, 8193, 0, 7, 40000, 8200, 100, 32760, 32760}},
	{"as much as a first window holds", []int{65535, 65535, 65535, 65535, 4}},
}

func sum(sizes []int) (n int) {
	for _, s := range sizes {
		n += s
	}
	return n
}

// A reader gets all data that came before FIN, and then io.EOF.
func TestReaderGetsAllDataBeforeFINAndThenEOF(t *testing.T) {
	for _, cut := range cuts {
		for _, how := range readings {
			t.Run(cut.name+"/"+how.name, func(t *testing.T) {
				eachRole(t, func(t *testing.T, r role) {
					s, p := r.start(t, session.Config{})
					p.Ignore(wire.NOP, wire.UPD)
					data := testutil.Pattern(1).Bytes(sum(cut.sizes))
					// The first stream is read as it arrives, the second when all is there.
					for n, late := range []bool{false, true} {
						id := r.theirs(n)
						p.Send(t, r.syn(id))
						st := accept(t, s)
						if late {
							p.Send(t, append(r.pshs(id, data, cut.sizes...), r.fin(id))...)
							p.Send(t, r.syn(r.theirs(n+1)))
							accept(t, s) // everything before has been handled
						}
						got := testutil.Background(func() ([]byte, error) { return how.read(st) })
						if !late {
							for _, f := range append(r.pshs(id, data, cut.sizes...), r.fin(id)) {
								p.Send(t, f)
							}
						}
						res := <-got
						if res.Err != nil {
							t.Errorf("late %v: %v", late, res.Err)
						}
						if !bytes.Equal(res.Value, data) {
							t.Errorf("late %v: read %d bytes, want %d (%v)", late, len(res.Value), len(data), testutil.Pattern(1).Check(res.Value, 0))
						}
						wantEOF(t, st)
					}
				}, "sim", "tcp")
			})
		}
	}
}

// So does a reader over every transport, while another session writes.
func TestReaderGetsAllDataBeforeFINOverEveryTransport(t *testing.T) {
	const size = 700_001
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		for n, end := range []func(*stream.Stream) error{(*stream.Stream).CloseWrite, (*stream.Stream).Close} {
			pattern := testutil.Pattern(n)
			a, b := openPair(t, c, s)
			sent := testutil.Background(func() (int64, error) {
				n, err := pattern.Send(a, size, 10_000)
				if err != nil {
					return n, err
				}
				return n, end(a)
			})
			if err := pattern.Receive(b, size); err != nil {
				t.Error(err)
			}
			if r := <-sent; r.Err != nil {
				t.Errorf("sent %d bytes: %v", r.Value, r.Err)
			}
			wantEOF(t, b)
			b.Close()
		}
	})
}

// Data that comes after FIN is dropped.
func TestReaderGetsNothingThatCameAfterFIN(t *testing.T) {
	late := testutil.Pattern(9).Bytes(40_000)
	for _, c := range []struct {
		name  string
		after func(r role, id uint32) []testutil.Frame
	}{
		{"a small PSH", func(r role, id uint32) []testutil.Frame { return r.pshs(id, late, 10)[:1] }},
		{"an empty PSH", func(r role, id uint32) []testutil.Frame { return []testutil.Frame{r.psh(id, nil)} }},
		{"a large PSH", func(r role, id uint32) []testutil.Frame { return r.pshs(id, late) }},
		{"a FIN and PSHs", func(r role, id uint32) []testutil.Frame {
			return append([]testutil.Frame{r.fin(id)}, r.pshs(id, late, 1, 9000)...)
		}},
		{"more than the window", func(r role, id uint32) (frames []testutil.Frame) {
			for range 10 {
				frames = append(frames, r.pshs(id, late)...)
			}
			return frames
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{})
				id := r.theirs(0)
				p.Send(t, r.syn(id), r.psh(id, []byte("before")), r.fin(id))
				p.Send(t, c.after(r, id)...)
				st := accept(t, s)
				got, err := io.ReadAll(st)
				if string(got) != "before" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				wantEOF(t, st)
				if n := s.Stats().Unread; n != 0 {
					t.Errorf("%d bytes are kept for nobody", n)
				}
				wantAlive(t, r, s, p, r.theirs(1))
			}, "sim", "tcp")
		})
	}
}

// Nothing that happens to the other direction drops unread data: not CloseWrite, a failed Write, a deadline or
// Shutdown.
func TestUnreadDataSurvivesTheOtherDirectionsEnd(t *testing.T) {
	// xtaci/smux loses 300,000 bytes and FIN that come after its own CloseWrite. (In version 2 a peer may send
	// 262,144 at once.)
	const size = 262_144
	data := testutil.Pattern(3).Bytes(size)
	for _, c := range []struct {
		name string
		// before is called before the data comes, after when it has arrived and is unread.
		before, after func(t *testing.T, r role, s *session.Session, st *stream.Stream, p *testutil.Peer)
	}{
		{"CloseWrite before the data comes", closeWrite, nil},
		{"CloseWrite when the data is there", nil, closeWrite},
		{"the peer closes both directions", nil, sendFIN}, // a second one
		{"both ends close both directions", closeWrite, sendFIN},
		{"a Write fails because the peer has closed", nil, writeToClosedPeer},
		{"a Write's deadline passes", nil, passWriteDeadline},
		{"a Read's deadline passes", nil, passReadDeadline},
		{"the session is shut down", nil, shutDown},
	} {
		for _, how := range []int{0, 3} {
			how := readings[how]
			t.Run(c.name+"/"+how.name, func(t *testing.T) {
				eachRole(t, func(t *testing.T, r role) {
					s, p := r.start(t, session.Config{})
					p.Ignore(wire.NOP, wire.UPD, wire.FIN, wire.PSH)
					id := r.theirs(0)
					p.Send(t, r.syn(id))
					st := accept(t, s)
					if c.before != nil {
						c.before(t, r, s, st, p)
					}
					p.Send(t, r.pshs(id, data)...)
					p.Send(t, r.fin(id))
					p.Send(t, r.syn(r.theirs(1)))
					accept(t, s) // everything before has been handled
					if c.after != nil {
						c.after(t, r, s, st, p)
					}
					got, err := how.read(st)
					if err != nil || !bytes.Equal(got, data) {
						t.Errorf("read %d bytes, %v, want %d", len(got), err, size)
					}
					wantEOF(t, st)
				}, "sim", "tcp")
			})
		}
	}
}

func closeWrite(t *testing.T, _ role, _ *session.Session, st *stream.Stream, _ *testutil.Peer) {
	if err := st.CloseWrite(); err != nil {
		t.Error(err)
	}
}

func sendFIN(t *testing.T, r role, _ *session.Session, st *stream.Stream, p *testutil.Peer) {
	p.Send(t, r.fin(st.ID()))
}

// writeToClosedPeer makes the peer send its second FIN, and writes until Write fails.
func writeToClosedPeer(t *testing.T, r role, _ *session.Session, st *stream.Stream, p *testutil.Peer) {
	p.Send(t, r.fin(st.ID()), r.nop())
	for {
		if _, err := st.Write([]byte("x")); err != nil {
			testutil.WantErr(t, "Write", err, stream.ErrPeerClosed)
			return
		}
	}
}

func passWriteDeadline(_ *testing.T, _ role, _ *session.Session, st *stream.Stream, _ *testutil.Peer) {
	_ = st.SetWriteDeadline(time.Unix(1, 0))
	_, _ = st.Write([]byte("x"))
}

func passReadDeadline(t *testing.T, _ role, _ *session.Session, st *stream.Stream, _ *testutil.Peer) {
	_ = st.SetReadDeadline(time.Unix(1, 0))
	if n, err := st.Read(make([]byte, 10)); n != 0 || err == nil {
		t.Errorf("Read = %d, %v", n, err)
	}
	_ = st.SetReadDeadline(time.Time{})
}

// shutDown calls Shutdown with a context that has ended.
func shutDown(t *testing.T, _ role, s *session.Session, _ *stream.Stream, _ *testutil.Peer) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	testutil.WantErr(t, "Shutdown", s.Shutdown(ctx), context.Canceled)
}

// Several goroutines that read a stream share its bytes: each byte goes to one of them.
func TestReadsOfSeveralGoroutinesShareTheBytes(t *testing.T) {
	const readers, size = 8, 256 << 10
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		id := r.theirs(0)
		p.Send(t, r.syn(id))
		st := accept(t, s)
		type piece struct {
			count map[byte]int
			total int
		}
		var results []<-chan testutil.Result[piece]
		for i := range readers {
			results = append(results, testutil.Background(func() (piece, error) {
				p := piece{count: map[byte]int{}}
				buf := make([]byte, 1+i*5000)
				for {
					n, err := st.Read(buf)
					p.total += n
					for _, b := range buf[:n] {
						p.count[b]++
					}
					if err != nil {
						return p, err
					}
				}
			}))
		}
		data := testutil.Pattern(8).Bytes(size)
		want := map[byte]int{}
		for _, b := range data {
			want[b]++
		}
		p.Send(t, append(r.pshs(id, data, 1, 10, 100, 1000, 10_000), r.fin(id))...)
		got, total := map[byte]int{}, 0
		for _, res := range results {
			done := <-res
			if done.Err != io.EOF {
				t.Error(done.Err)
			}
			total += done.Value.total
			for b, n := range done.Value.count {
				got[b] += n
			}
		}
		if total != size {
			t.Errorf("%d bytes were read, want %d", total, size)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error("the bytes are not those that were sent")
		}
	}, "sim", "tcp")
}

// Each stream gets its own bytes, however they are cut into frames, chunked by the transport, and read.
func TestStreamsGetTheirOwnBytesHoweverTheyAreCut(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				const streams = 4
				rng := rand.New(rand.NewPCG(seed, uint64(r.version)))
				s, p := r.start(t, session.Config{})
				go io.Copy(io.Discard, p.Conn) // its answers do not matter
				var script []byte
				var sizes [streams]int
				for n := range streams {
					script = r.syn(r.theirs(n)).Append(script)
				}
				for range 60 {
					n := rng.IntN(streams)
					if rng.IntN(3) == 0 {
						n = 0 // several frames of it in a row
					}
					size := [...]int{0, 1, 7, 600, 8191, 8192, 9000, 20_000, 32_760, 65_535}[rng.IntN(10)]
					if sizes[n]+size > 262_144 {
						continue
					}
					data := make([]byte, size)
					testutil.Pattern(n).Fill(data, int64(sizes[n]))
					sizes[n] += size
					script = r.psh(r.theirs(n), data).Append(script)
					if rng.IntN(5) == 0 {
						script = r.nop().Append(script)
					}
				}
				for n := range streams {
					script = r.fin(r.theirs(n)).Append(script)
				}
				sent := testutil.Background(func() (any, error) {
					for len(script) > 0 {
						n := min(len(script), [...]int{1, 5, 8, 100, 5000, 70_000, 300_000}[rng.IntN(7)])
						if _, err := p.Conn.Write(script[:n]); err != nil {
							return nil, err
						}
						script = script[n:]
					}
					return nil, nil
				})
				var done []<-chan testutil.Result[any]
				for n := range streams {
					st := accept(t, s)
					how := readings[(int(seed)+n)%len(readings)]
					done = append(done, testutil.Background(func() (any, error) {
						got, err := how.read(st)
						if err != nil {
							return nil, err
						}
						if len(got) != sizes[n] {
							return nil, fmt.Errorf("stream %d by %s: %d bytes, want %d", n, how.name, len(got), sizes[n])
						}
						return nil, testutil.Pattern(n).Check(got, 0)
					}))
				}
				if res := <-sent; res.Err != nil {
					t.Error(res.Err)
				}
				for _, d := range done {
					if res := <-d; res.Err != nil {
						t.Error(res.Err)
					}
				}
			}, "sim", "tcp", "unix")
		})
	}
}

// On a socket, a Read that waits may be given more data while it wakes up. Frames of other streams must not delay
// it without end.
func TestReadWithDataIsNotDelayedByOtherFrames(t *testing.T) {
	for _, c := range []struct {
		name  string
		only  wire.Version
		frame func(r role, n int) testutil.Frame
	}{
		{"NOP", 0, func(r role, n int) testutil.Frame { return r.nop() }},
		{"FIN of unknown streams", 0, func(r role, n int) testutil.Frame { return r.fin(r.theirs(9)) }},
		{"PSH of unknown streams", 0, func(r role, n int) testutil.Frame { return r.psh(r.theirs(9), []byte("x")) }},
		{"UPD of unknown streams", 2, func(r role, n int) testutil.Frame { return testutil.UPD(2, r.theirs(9), 0, 1) }},
		{"empty PSH", 0, func(r role, n int) testutil.Frame { return r.psh(r.theirs(0), nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				if c.only != 0 && c.only != r.version {
					return
				}
				s, p := r.start(t, session.Config{})
				p.Send(t, r.syn(r.theirs(0)))
				st := accept(t, s)
				read := testutil.Background(func() (uint64, error) {
					_, err := st.Read(make([]byte, 60_000))
					return s.Stats().FramesReceived, err
				})
				b := r.psh(r.theirs(0), make([]byte, 20_000)).Append(nil)
				for n := range 20_000 {
					b = c.frame(r, n).Append(b)
				}
				sent := testutil.Background(func() (any, error) {
					// 2,000,000 frames: many times more than pass in the 10 ms for which a goroutine may keep a
					// single processor from the Read that was woken.
					for range 100 {
						if _, err := p.Conn.Write(b); err != nil {
							return nil, err
						}
						b = b[len(b)-20_000*8:]
					}
					return nil, nil
				})
				res := <-read
				if res.Err != nil {
					t.Error(res.Err)
				}
				if res.Value > 1_500_000 {
					t.Errorf("it waited while %d frames came", res.Value)
				}
				_ = p.Conn.Close()
				<-sent
			}, "tcp")
		})
	}
}

// A Read gets the part of a frame that has arrived. It does not wait for the rest.
func TestReadGetsThePartOfAFrameThatArrived(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Send(t, r.syn(r.theirs(0)))
		st := accept(t, s)
		read := testutil.Background(func() (int, error) { return st.Read(make([]byte, 64<<10)) })
		synctest.Wait() // it waits
		frame := r.psh(r.theirs(0), make([]byte, 30_000)).Append(nil)
		p.SendBytes(t, frame[:10_000])
		select {
		case res := <-read:
			testutil.WantErr(t, "Read", res.Err, nil)
			if res.Value == 0 {
				t.Error("Read returned nothing")
			}
		case <-time.After(time.Second):
			t.Error("Read waits for the rest of the frame")
		}
	})
}
