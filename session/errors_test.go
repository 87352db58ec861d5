package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// transportErrors are errors of transports, some of them not wrapped.
var transportErrors = []error{
	errors.New("boom"),
	syscall.ECONNRESET,
	syscall.ECONNABORTED,
	os.NewSyscallError("read", syscall.ETIMEDOUT),
	os.ErrDeadlineExceeded,
	net.ErrClosed,
	io.ErrClosedPipe,
	io.ErrUnexpectedEOF,
	&net.OpError{Op: "read", Net: "tcp", Err: syscall.EHOSTUNREACH},
	fmt.Errorf("wrapped: %w", io.EOF),
}

// An error of the transport is reported by all calls.
func TestTransportErrorReachesAllCalls(t *testing.T) {
	for _, cause := range transportErrors {
		t.Run(cause.Error(), func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				f := newFaulty(ours)
				s, p := r.startOn(t, f, theirs, session.Config{})
				p.Send(t, r.syn(r.theirs(0)))
				st := accept(t, s)
				synctest.Wait()
				f.fail(func(f *faulty) { f.readErr = cause })
				<-s.Done()
				for what, err := range map[string]error{
					"Err": s.Err(), "Read": second(st.Read(make([]byte, 1))), "Write": second(st.Write([]byte("x"))),
					"Accept": second(s.Accept()), "Open": second(s.Open()),
				} {
					testutil.WantErr(t, what, err, cause)
					if err == io.EOF {
						t.Errorf("%s: a bare io.EOF", what)
					}
				}
			})
		})
	}
}

// Errors are *net.OpError of the network "smux" with the transport's addresses. Those of streams name the id in addition.
func TestErrorsAreOpErrorsWithAddresses(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, e.cfg)
				p.Send(t, r.syn(r.theirs(0)))
				st := accept(t, s)
				mine := open(t, s)
				synctest.Wait()
				e.end(t, r, s, p)
				<-s.Done()
				for _, c := range []struct {
					op   string
					err  error
					addr string
				}{
					{"read", second(st.Read(make([]byte, 1))), fmt.Sprintf("b stream %d", st.ID())},
					{"read", second(mine.WriteTo(io.Discard)), fmt.Sprintf("b stream %d", mine.ID())},
					{"write", second(st.Write([]byte("x"))), fmt.Sprintf("b stream %d", st.ID())},
					{"accept", second(s.Accept()), "b"},
					{"accept", second(s.AcceptStream(t.Context())), "b"},
					{"open", second(s.Open()), "b"},
					{"open", second(s.OpenStream(t.Context())), "b"},
				} {
					if e.accept == io.EOF && (c.op == "accept" || c.op == "open") {
						continue // not wrapped
					}
					var op *net.OpError
					if !errors.As(c.err, &op) {
						t.Errorf("%s: %v is no *net.OpError", c.op, c.err)
						continue
					}
					got := []string{op.Op, op.Net, op.Source.String(), op.Addr.String()}
					if diff := cmp.Diff([]string{c.op, "smux", "a", c.addr}, got); diff != "" {
						t.Errorf("%v (-want +got)\n%s", c.err, diff)
					}
				}
			})
		})
	}
}

// Err is nil until the session ends. It then says why, and a later Close does not change it.
func TestErrSaysWhyTheSessionEnded(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, e.cfg)
				select {
				case <-s.Done():
					t.Fatal("Done is closed")
				default:
				}
				if err := s.Err(); err != nil {
					t.Errorf("Err = %v", err)
				}
				e.end(t, r, s, p)
				<-s.Done()
				want := e.want
				if e.accept != nil {
					want = e.accept
				}
				testutil.WantErr(t, "Err", s.Err(), want)
				// Err keeps the first reason.
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				testutil.WantErr(t, "Err after Close", s.Err(), want)
			})
		})
	}
}

// The text of a ProtocolError names the frame and what is wrong with it.
func TestProtocolErrorNamesTheFrame(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{
			&session.ProtocolError{Header: wire.Header{Version: 1, Command: wire.SYN, StreamID: 4}, Err: session.ErrStreamParity},
			"session: peer broke the protocol: v1 SYN stream=4 length=0: SYN with a stream id of the receiver's parity",
		},
		{
			&session.ProtocolError{Header: wire.Header{Version: 9}, Err: wire.Header{Version: 9}.Validate()},
			"session: peer broke the protocol: wire: version is neither 1 nor 2: Version(9) SYN stream=0 length=0 [0900000000000000]",
		},
	} {
		if diff := cmp.Diff(c.want, c.err.Error()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// A call that its context ends returns the context's error.
func TestContextErrorIsReported(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, _ := r.start(t, session.Config{})
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.AcceptStream(cancelled)
		testutil.WantErr(t, "AcceptStream", err, context.Canceled)
		_, err = s.AcceptStream(late)
		testutil.WantErr(t, "AcceptStream", err, context.DeadlineExceeded)
		if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		_, err = s.OpenStream(cancelled)
		testutil.WantErr(t, "OpenStream", err, context.Canceled)
		if n := s.NumStreams(); n != 0 {
			t.Errorf("%d streams are open", n)
		}
	})
}
