package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A transport that ends after any byte.

// A conversation runs over a transport that may be cut after any byte. Each end opens streams and accepts the
// other's. They carry data of several sizes, and end with half-close or Close.
type conversation struct {
	mu   sync.Mutex
	read map[uint32]*readStream
	errs []error
}

type readStream struct {
	data []byte
	err  error // of the last Read; nil for io.EOF
}

// talk runs the conversation for the end s. It returns when all of its calls have returned.
func (c *conversation) talk(s *session.Session, first uint32) {
	var wg sync.WaitGroup
	defer wg.Wait()
	read := func(st *stream.Stream) {
		data, err := io.ReadAll(struct{ io.Reader }{st})
		c.mu.Lock()
		defer c.mu.Unlock()
		c.read[st.ID()] = &readStream{data, err}
	}
	wg.Go(func() { // answers
		for {
			st, err := s.AcceptStream(context.Background())
			if err != nil {
				c.mu.Lock()
				c.errs = append(c.errs, err)
				c.mu.Unlock()
				return
			}
			wg.Go(func() {
				_, _ = st.Write([]byte("re:"))
				read(st)
				_, _ = st.Write([]byte("bye"))
				_ = st.Close()
			})
		}
	})
	for n := range 2 { // asks
		st, err := s.OpenStream(context.Background())
		if err != nil {
			return
		}
		wg.Go(func() {
			_, _ = st.Write(fmt.Appendf(nil, "question %d of %d", n, first))
			if n == 1 {
				_ = st.CloseWrite()
			}
			if n == 0 {
				_, _ = st.Write([]byte("!"))
				_ = st.CloseWrite()
			}
			read(st)
			_ = st.Close()
		})
	}
}

// tap is a transport that records the bytes read from it.
type tap struct {
	net.Conn
	mu   sync.Mutex
	seen []byte
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, p[:n]...)
	return n, err
}

// heard is what a session must know after it has read some bytes.
type heard struct {
	data  map[uint32][]byte // of each stream that was opened
	ended map[uint32]bool   // FIN came
	clean bool              // they end between two frames
}

// hears decodes b.
func hears(b []byte) heard {
	h := heard{data: map[uint32][]byte{}, ended: map[uint32]bool{}}
	d := wire.NewDecoder(bytes.NewReader(b))
	for {
		f, err := d.Next()
		if err != nil {
			h.clean = err == io.EOF
			return h
		}
		body, err := d.AppendPayload(nil)
		if f.Command == wire.SYN {
			h.data[f.StreamID] = nil
		}
		if f.Command == wire.PSH && !h.ended[f.StreamID] {
			h.data[f.StreamID] = append(h.data[f.StreamID], body...)
		}
		if err != nil {
			return h
		}
		if f.Command == wire.FIN {
			h.ended[f.StreamID] = true
		}
	}
}

// A transport that is cut after any byte of a conversation ends both sides with an error. Each side has read
// exactly what arrived.
func TestCutAfterAnyByteEndsBothSides(t *testing.T) {
	for _, way := range []string{"client to server", "server to client"} {
		for _, err := range []error{nil, syscall.ECONNRESET} {
			kind := "ended"
			if err != nil {
				kind = "reset"
			}
			for version := 1; version <= 2; version++ {
				t.Run(fmt.Sprintf("%s/%s/v%d", way, kind, version), func(t *testing.T) {
					testutil.LeakCheck(t)
					after := int64(0)
					for ; ; after++ {
						if cutConversation(t, version, way, err, after) < after {
							break // the conversation is shorter
						}
						if t.Failed() {
							t.Fatalf("with the cut after byte %d", after)
						}
					}
					if after < 100 {
						t.Errorf("the conversation had %d bytes", after)
					}
				})
			}
		}
	}
}

// cutConversation runs the conversation with a cut after this number of bytes in one direction. It returns how
// many bytes arrived there.
func cutConversation(t *testing.T, version int, way string, cause error, after int64) (arrived int64) {
	synctest.Test(t, func(t *testing.T) {
		ca, cb := testutil.SimPair(t, simnet.Link{Delay: time.Millisecond, Segment: 64})
		cut := ca.Out()
		if way != "client to server" {
			cut = cb.Out()
		}
		cut.Cut(simnet.Cut{After: after, Err: cause})
		ends := [2]*tap{{Conn: ca}, {Conn: cb}}
		// A budget this small causes window updates.
		cfg := &session.Config{Version: version, MaxReceiveBuffer: 64 << 10}
		sides := [2]*session.Session{client(t, ends[0], cfg), server(t, ends[1], cfg)}
		var talks [2]conversation
		var wg sync.WaitGroup
		for i, s := range sides {
			talks[i].read = map[uint32]*readStream{}
			wg.Go(func() { talks[i].talk(s, uint32(i)) })
		}
		// If nothing was cut, the transport ends now.
		time.Sleep(time.Second)
		arrived = cut.Counters().Delivered
		if arrived < after {
			ca.Break(cause)
		}
		wg.Wait()
		synctest.Wait()
		for i, s := range sides {
			side := []string{"client", "server"}[i]
			select {
			case <-s.Done():
			default:
				t.Fatalf("the %s goes on", side)
			}
			h := hears(ends[i].seen)
			checkEnd(t, side, s.Err(), cause, h.clean)
			if n := len(talks[i].errs); n != 1 {
				t.Errorf("%s: Accept ended %d times", side, n)
			} else {
				checkEnd(t, side+"'s Accept", talks[i].errs[0], cause, h.clean)
			}
			for id, got := range talks[i].read {
				want := h.data[id]
				if !bytes.Equal(got.data, want) {
					t.Errorf("%s read %q of stream %d, want what had arrived: %q", side, got.data, id, want)
				}
				if h.ended[id] != (got.err == nil) {
					t.Errorf("%s: stream %d ended with %v, FIN had come: %v", side, id, got.err, h.ended[id])
				}
				if got.err != nil {
					checkStreamEnd(t, fmt.Sprintf("%s's stream %d", side, id), got.err, cause)
				}
			}
			for id := range h.data {
				if _, ok := talks[i].read[id]; !ok {
					t.Errorf("%s: stream %d had arrived and was not read", side, id)
				}
			}
		}
	})
	return arrived
}

// checkEnd checks the error of a session whose transport was cut. A side that writes at the cut may learn of it by
// that Write.
func checkEnd(t *testing.T, what string, err, cause error, clean bool) {
	t.Helper()
	switch {
	case cause != nil:
		testutil.WantErr(t, what, err, cause)
	case clean && errors.Is(err, io.EOF), !clean && errors.Is(err, io.ErrUnexpectedEOF):
	default:
		t.Errorf("%s: %v, clean %v", what, err, clean)
	}
}

func checkStreamEnd(t *testing.T, what string, err, cause error) {
	t.Helper()
	switch {
	case cause != nil:
		testutil.WantErr(t, what, err, cause)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
	default:
		t.Errorf("%s: %v", what, err)
	}
}

// A session whose transport ends after any byte has read what came before. Over some transports it gets more at a
// time than over others.
func TestCutAfterAnyByteKeepsWhatCameBefore(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		a, b := r.theirs(0), r.theirs(1)
		var script []byte
		for _, f := range []testutil.Frame{
			r.nop(), r.syn(a), r.psh(a, []byte("hello")), r.syn(b), r.psh(b, nil), r.psh(a, []byte(", world")),
			r.fin(a), r.psh(b, []byte("more")), r.nop(), r.fin(b), r.fin(b),
		} {
			script = f.Append(script)
		}
		for n := range len(script) + 1 {
			ours, theirs := r.transport.Pair(t)
			s, p := r.startOn(t, ours, theirs, session.Config{})
			r.hear(t, p)
			p.SendBytes(t, script[:n])
			_ = p.Close()
			h := hears(script[:n])
			accepted := 0
			for {
				st, err := s.AcceptStream(context.Background())
				if err != nil {
					if err == io.EOF != h.clean {
						t.Errorf("after %d bytes Accept: %v", n, err)
					}
					break
				}
				accepted++
				got, err := io.ReadAll(st)
				if !bytes.Equal(got, h.data[st.ID()]) || h.ended[st.ID()] != (err == nil) {
					t.Errorf("after %d bytes: read %q, %v of stream %d, want %q", n, got, err, st.ID(), h.data[st.ID()])
				}
				_ = st.Close()
			}
			if accepted != len(h.data) {
				t.Errorf("after %d bytes: accepted %d streams, want %d", n, accepted, len(h.data))
			}
			checkEnd(t, fmt.Sprintf("after %d bytes Err", n), s.Err(), nil, h.clean)
			_ = s.Close()
		}
	}, "sim", "tcp", "unix", "pipe", "bare")
}
