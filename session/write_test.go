package session_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// writeEndings are the ways in which a blocked Write is ended by this side, and what it
// then returns.
var writeEndings = []struct {
	name string
	end  func(t testing.TB, c *session.Session, st *stream.Stream)
	err  error
}{
	{"by its deadline", func(t testing.TB, c *session.Session, st *stream.Stream) {
		if err := st.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Error(err)
		}
	}, os.ErrDeadlineExceeded},
	{"by a deadline in the past", func(t testing.TB, c *session.Session, st *stream.Stream) {
		if err := st.SetDeadline(time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
	}, os.ErrDeadlineExceeded},
	{"by Close", func(t testing.TB, c *session.Session, st *stream.Stream) {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}, net.ErrClosed},
	{"by CloseWrite", func(t testing.TB, c *session.Session, st *stream.Stream) {
		if err := st.CloseWrite(); err != nil {
			t.Error(err)
		}
	}, net.ErrClosed},
	{"by Close of the session", func(t testing.TB, c *session.Session, st *stream.Stream) {
		go c.Close()
	}, net.ErrClosed},
}

// The first sentence, in the case that others get wrong: Writes to a transport that takes
// nothing more are ended, their buffer is overwritten at once, and then the transport
// takes data again.
func TestWriteReturnsNOnlyWhenThoseBytesWillReachTheTransport(t *testing.T) {
	const pattern = testutil.Pattern(0xA)
	for _, ending := range writeEndings {
		t.Run(ending.name, func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				for _, size := range []int{1000, 40_000, 200_000} {
					c, peer := scripted(t, tr, &session.Config{Version: version})
					st := openWide(t, c, peer, version)
					src := newSource(pattern, size)
					src.fill(t, st)

					blocked := background(func() (int64, error) {
						for {
							if _, err := src.write(st); err != nil {
								return src.off, err
							}
						}
					})
					settle(tr)
					ending.end(t, c, st)
					r := <-blocked
					wantErr(t, "Write", r.err, ending.err)

					// The transport moves again. All is sent before the session ends.
					closed := background(func() (struct{}, error) { return struct{}{}, c.Close() })
					got := readFrames(t, peer)
					if ending.name != "by Close of the session" {
						wantErr(t, "Close", (<-closed).err, nil)
					}
					data := got.data[st.ID()]
					if err := pattern.Check(data, 0); err != nil {
						t.Errorf("%d bytes a Write: %v", size, err)
					}
					if int64(len(data)) != r.value {
						t.Errorf("%d bytes a Write: Write counted %d bytes, the peer got %d", size, r.value, len(data))
					}
				}
			})
		})
	}
}

// A Write that nothing holds up, too.
func TestTheCallerMayReuseItsBufferTheMomentWriteReturns(t *testing.T) {
	const pattern, total = testutil.Pattern(7), 256 << 10
	for _, size := range []int{1, 1025, 5000, 32760, 40_000, 200_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				n := int64(min(total, 1000*size))
				c, s := sessions(t, tr, session.Config{Version: version})
				out, in := openPair(t, c, s)
				go func() {
					if _, err := pattern.Send(out, n, size); err != nil {
						t.Error(err)
					}
					out.Close()
				}()
				if err := pattern.Receive(in, n); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What a Write can be blocked by, and what sets it free. All of it takes no time, or
// exactly as long as the deadline says.
func TestABlockedWriteEndsAtItsDeadlineAtCloseAndAtTheEndOfTheSessionWhateverTheTransportDoes(t *testing.T) {
	broken := errors.New("cable cut")
	type ends struct {
		c    *session.Session
		st   *stream.Stream
		link *simnet.Conn // the peer's end
		peer *testutil.Peer

		version wire.Version
	}
	blocks := []struct {
		name     string
		versions []int
		window   uint32
		stall    bool
	}{
		{"the transport is full", []int{1, 2}, 1 << 30, true},
		{"the window is full", []int{2}, 100_000, false},
		{"both are", []int{2}, 100_000, true},
	}
	endings := []struct {
		name string
		end  func(t *testing.T, e ends)
		err  error
		at   time.Duration
	}{
		{"a deadline", func(t *testing.T, e ends) { e.st.SetWriteDeadline(time.Now().Add(time.Hour)) }, os.ErrDeadlineExceeded, time.Hour},
		{"a deadline for both", func(t *testing.T, e ends) { e.st.SetDeadline(time.Now().Add(time.Minute)) }, os.ErrDeadlineExceeded, time.Minute},
		{"a deadline in the past", func(t *testing.T, e ends) { e.st.SetWriteDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, 0},
		{"a deadline moved forward", func(t *testing.T, e ends) {
			e.st.SetWriteDeadline(time.Now().Add(time.Hour))
			time.Sleep(time.Minute)
			e.st.SetWriteDeadline(time.Now().Add(time.Second))
		}, os.ErrDeadlineExceeded, time.Minute + time.Second},
		{"a deadline moved back", func(t *testing.T, e ends) {
			e.st.SetWriteDeadline(time.Now().Add(time.Minute))
			time.Sleep(time.Minute - 1)
			e.st.SetWriteDeadline(time.Now().Add(time.Hour))
		}, os.ErrDeadlineExceeded, time.Minute - 1 + time.Hour},
		{"Close", func(t *testing.T, e ends) { e.st.Close() }, net.ErrClosed, 0},
		{"CloseWrite", func(t *testing.T, e ends) { e.st.CloseWrite() }, net.ErrClosed, 0},
		{"Close of the session", func(t *testing.T, e ends) { go e.c.Close() }, net.ErrClosed, 0},
		{"the transport breaks", func(t *testing.T, e ends) { e.link.Break(broken) }, broken, 0},
		{"the peer closes the transport", func(t *testing.T, e ends) {
			e.link.Out().Unstall()
			e.peer.Close()
		}, syscall.EPIPE, 0},
		{"the peer closes the stream in both directions", func(t *testing.T, e ends) {
			fin := testutil.FIN(e.version, e.st.ID())
			e.peer.Send(t, fin, fin)
		}, stream.ErrPeerClosed, 0},
		{"the peer breaks the protocol", func(t *testing.T, e ends) {
			e.peer.SendBytes(t, []byte("GET / HTTP/1.1\r\n"))
		}, wire.ErrVersion, 0},
	}
	for _, b := range blocks {
		for _, v := range b.versions {
			for _, size := range []int{4000, 1 << 20} {
				for _, e := range endings {
					t.Run(fmt.Sprintf("%s/v%d/%d bytes/%s", b.name, v, size, e.name), func(t *testing.T) {
						bubble(t, func(t *testing.T) {
							local, remote := testutil.SimPair(t, simnet.Link{})
							c := client(t, local, &session.Config{Version: v, KeepAlive: off})
							peer := testutil.NewPeer(t, remote)
							st := open(t, c)
							if v == 2 {
								peer.Send(t, testutil.UPD(wire.V2, st.ID(), 0, b.window))
							}
							synctest.Wait()
							if b.stall {
								local.Out().Stall()
							}
							blocked := background(func() (int, error) {
								for {
									if n, err := st.Write(make([]byte, size)); err != nil {
										return n, err
									}
								}
							})
							synctest.Wait()
							e.end(t, ends{c, st, remote, peer, wire.Version(v)})
							r := <-blocked
							if e.err == syscall.EPIPE && errors.Is(r.err, io.ErrUnexpectedEOF) {
								r.err = e.err // whichever is seen first
							}
							wantErr(t, "Write", r.err, e.err)
							wantTime(t, "Write ended", r.at, e.at)
							var op *net.OpError
							if !errors.As(r.err, &op) && e.err != syscall.EPIPE || op != nil && (op.Op != "write" || op.Net != "smux") {
								t.Errorf("%#v is no *net.OpError of a write", r.err)
							}
						})
					})
				}
			}
		}
	}
}

func TestAWriteThatWaitsForAnotherEndsLikeAnyOther(t *testing.T) {
	for _, ending := range writeEndings {
		t.Run(ending.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				c, peer := scripted(t, transport("sim"), &session.Config{Version: version})
				st := openWide(t, c, peer, version)
				first := background(func() (int, error) { return st.Write(make([]byte, 1<<20)) })
				synctest.Wait()
				var others []<-chan result[int]
				for _, size := range []int{1, 8 << 10, 1 << 20} {
					others = append(others, background(func() (int, error) { return st.Write(make([]byte, size)) }))
				}
				synctest.Wait()
				ending.end(t, c, st)
				r := <-first
				wantErr(t, "the first Write", r.err, ending.err)
				total := r.value
				for _, o := range others {
					r := <-o
					wantErr(t, "a Write that waits", r.err, ending.err)
					if r.value != 0 {
						t.Errorf("a Write that waited for its turn wrote %d bytes", r.value)
					}
				}
				go c.Close()
				if n := len(readFrames(t, peer).data[st.ID()]); n != total {
					t.Errorf("the Writes counted %d bytes, the peer got %d", total, n)
				}
			})
		})
	}
}

func TestABlockedWriteGoesOnWhenTheTransportDoes(t *testing.T) {
	const pattern, size = testutil.Pattern(3), 1 << 20
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version})
		st := openWide(t, c, peer, version)
		blocked := background(func() (int, error) { return st.Write(pattern.Bytes(size)) })
		time.Sleep(9 * time.Second)
		select {
		case r := <-blocked:
			t.Fatalf("Write of %d bytes to a transport that nobody reads = %d, %v", size, r.value, r.err)
		default:
		}
		go func() {
			time.Sleep(time.Second)
			c.Close()
		}()
		if err := pattern.Check(readFrames(t, peer).data[st.ID()], 0); err != nil {
			t.Error(err)
		}
		r := <-blocked
		wantErr(t, "Write", r.err, nil)
		if r.value != size {
			t.Errorf("Write = %d, want %d", r.value, size)
		}
	})
}

// A transport that stops and goes while Writes time out everywhere in its frames.
func TestAFrameIsNeverCutInHalf(t *testing.T) {
	for _, tr := range testutil.Transports() {
		for v := 1; v <= 2; v++ {
			for seed := range uint64(3) {
				t.Run(fmt.Sprintf("%s/v%d/seed %d", tr.Name, v, seed), func(t *testing.T) {
					test := func(t *testing.T) { cutFrames(t, tr, v, seed) }
					if tr.Bubble {
						bubble(t, test)
					} else {
						testutil.LeakCheck(t)
						test(t)
					}
				})
			}
		}
	}
}

func cutFrames(t *testing.T, tr testutil.Transport, version int, seed uint64) {
	c, peer := scripted(t, tr, &session.Config{Version: version})
	const streams = 4
	var written [streams]int64
	var list [streams]*stream.Stream
	for i := range list {
		list[i] = openWide(t, c, peer, version)
	}

	var writers sync.WaitGroup
	for i, st := range list {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 40 {
				src := newSource(testutil.Pattern(i), 1+rng.IntN(1<<(1+rng.IntN(17))))
				src.off = written[i]
				st.SetWriteDeadline(time.Now().Add(time.Duration(rng.Int64N(int64(time.Millisecond)))))
				_, err := src.write(st)
				written[i] = src.off
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Write: %v", err)
					return
				}
			}
		})
	}
	// The peer reads now a little and now a lot, as raw bytes.
	bytes, done := io.Pipe()
	go func() {
		rng := rand.New(rand.NewPCG(seed, streams))
		buf := make([]byte, 64<<10)
		for {
			if tr.Bubble {
				time.Sleep(time.Duration(rng.Int64N(int64(time.Millisecond))))
			}
			n, err := peer.Conn.Read(buf[:1+rng.IntN(len(buf))])
			if _, werr := done.Write(buf[:n]); werr != nil {
				return
			}
			if err != nil {
				peer.Close()
				done.CloseWithError(err)
				return
			}
		}
	}()
	closed := background(func() (struct{}, error) {
		writers.Wait()
		return struct{}{}, c.Close()
	})

	defer bytes.Close()
	dec := wire.NewDecoder(bytes)
	var got [streams]int64
	for {
		h, err := dec.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("at byte %d: %v", dec.InputOffset(), err)
		}
		if h.Command != wire.PSH {
			continue
		}
		p, err := dec.AppendPayload(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, st := range list {
			if st.ID() == h.StreamID {
				if err := testutil.Pattern(i).Check(p, got[i]); err != nil {
					t.Fatal(err)
				}
				got[i] += int64(len(p))
			}
		}
	}
	wantErr(t, "Close", (<-closed).err, nil)
	if diff := cmp.Diff(written, got); diff != "" {
		t.Errorf("bytes of each stream (-counted by Write +received)\n%s", diff)
	}
}

// Each Write is a record with its length and writer in front; a reader that finds every record
// in one piece proves that no Writes were mixed.
func TestConcurrentWritesStayWhole(t *testing.T) {
	const writers, records = 6, 25
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		out, in := openPair(t, c, s)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(w), 0))
				for r := range records {
					size := 1 + rng.IntN(1<<(1+rng.IntN(17)))
					rec := binary.BigEndian.AppendUint32(nil, uint32(size))
					rec = append(rec, byte(w), byte(r))
					rec = append(rec, testutil.Pattern(w<<8|r).Bytes(size)...)
					if n, err := out.Write(rec); n != len(rec) || err != nil {
						t.Errorf("Write of %d bytes = %d, %v", len(rec), n, err)
						return
					}
				}
			})
		}
		go func() {
			all.Wait()
			out.CloseWrite()
		}()

		var next [writers]byte
		head := make([]byte, 6)
		for {
			if _, err := io.ReadFull(in, head); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			data := make([]byte, binary.BigEndian.Uint32(head))
			w, r := head[4], head[5]
			if len(data) > 1<<17 || w >= writers || r != next[w] {
				t.Fatalf("a record begins with %x", head)
			}
			next[w]++
			if _, err := io.ReadFull(in, data); err != nil {
				t.Fatal(err)
			}
			if err := testutil.Pattern(int(w)<<8|int(r)).Check(data, 0); err != nil {
				t.Fatal(err)
			}
		}
		for w, n := range next {
			if n != records {
				t.Errorf("%d of %d records of writer %d arrived", n, records, w)
			}
		}
	})
}

func TestAZeroLengthWriteSendsNothingAndNeverWaits(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off})
		st := openWide(t, c, peer, version)
		for _, p := range [][]byte{nil, {}} {
			if n, err := st.Write(p); n != 0 || err != nil {
				t.Errorf("Write(%#v) = %d, %v", p, n, err)
			}
		}
		peer.ExpectNothing(t, time.Minute)

		newSource(1, 64<<10).fill(t, st)
		elapsed := clock()
		if n, err := st.Write(nil); n != 0 || err != nil {
			t.Errorf("Write(nil) with a full transport = %d, %v", n, err)
		}
		wantTime(t, "Write(nil) returned", elapsed(), 0)

		st.SetWriteDeadline(time.Unix(1, 0))
		_, err := st.Write(nil)
		wantErr(t, "Write(nil) after its deadline", err, os.ErrDeadlineExceeded)
		st.Close()
		_, err = st.Write(nil)
		wantErr(t, "Write(nil) after Close", err, net.ErrClosed)
	})
}

func TestATransportWithoutDeadlinesWorksTheSameAtThePriceOfOneMoreGoroutine(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, peer := scripted(t, transport("bare"), &session.Config{Version: version, KeepAlive: off})
		st := openWide(t, c, peer, version)
		// All of this at once waits for a transport that nobody reads.
		const callers = 5
		done := make(chan error, callers)
		for range callers {
			go func() {
				_, err := st.Write(make([]byte, 1<<20))
				done <- err
			}()
		}
		synctest.Wait()
		if n := goroutines("smuxkit/session.("); n != 2 {
			t.Errorf("the session has %d goroutines, want 2: the reader and the writer", n)
		}
		st.SetWriteDeadline(time.Now().Add(time.Second))
		for range callers {
			wantErr(t, "Write", <-done, os.ErrDeadlineExceeded)
		}
		go c.Close()
		readFrames(t, peer)
		synctest.Wait()
		if n := goroutines("smuxkit/session.("); n != 0 {
			t.Errorf("the session has %d goroutines after its end", n)
		}
	})
}
