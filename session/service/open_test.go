package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Streams of services pass golang.org/x/net/nettest, from both sides.
func TestStreamsOfServicesPassNettest(t *testing.T) {
	for _, opener := range []bool{true, false} {
		for version := 1; version <= 2; version++ {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				ca, cb := testutil.TCPPair(t)
				c, err := session.Client(ca, &session.Config{Version: version})
				if err != nil {
					return nil, nil, nil, err
				}
				s, err := session.Server(cb, nil)
				if err != nil {
					return nil, nil, nil, err
				}
				m := new(service.Mux)
				l := m.Listen("nettest")
				served := testutil.BackgroundErr(func() error { return m.Serve(context.Background(), s) })
				if c1, err = service.Open(context.Background(), c, "nettest", nil); err != nil {
					return nil, nil, nil, err
				}
				if c2, err = l.Accept(); err != nil {
					return nil, nil, nil, err
				}
				stop = func() {
					c1.Close()
					c2.Close()
					c.Close()
					s.Close()
					<-served
				}
				if !opener {
					c1, c2 = c2, c1
				}
				return c1, c2, stop, nil
			})
		}
	}
}

// Every method of stream.Stream is one of service.Stream: either its own, or one that has nothing to do with header and
// answer.
func TestStreamMethodsKnowHeaderAndAnswer(t *testing.T) {
	harmless := []string{
		"Close", "CloseRead", "CloseWrite", "Done", "Ended", "Flush", "ID", "LocalAddr", "LogValue", "RemoteAddr", "SetSendRate",
		"SetWeight", "SetWriteDeadline", "Stats", "String", "SetIdleTimeout",
	}
	own := []string{"Read", "Write", "ReadFrom", "WriteTo", "WriteLazily", "SetDeadline", "SetReadDeadline"}
	for i := range reflect.TypeFor[*stream.Stream]().NumMethod() {
		m := reflect.TypeFor[*stream.Stream]().Method(i)
		if !slices.Contains(harmless, m.Name) && !slices.Contains(own, m.Name) {
			t.Errorf("decide whether service.Stream needs a method %s of its own", m.Name)
		}
	}
}

// The header is in the same frame as the first data, behind SYN.
func TestOpenSendsTheHeaderWithTheFirstData(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		for _, size := range []int{10, 20_000} {
			ca, cb := testutil.SimPair(t, simnet.Link{})
			p := testutil.NewPeer(t, cb)
			p.Ignore(wire.NOP)
			c, err := session.Client(ca, &session.Config{Version: version})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the first NOP is sent
			st := open(t, c, "web", map[string]string{"host": "example.org"})
			data := testutil.Pattern(1).Bytes(size)
			if _, err := st.Write(data); err != nil {
				t.Fatal(err)
			}
			v := wire.Version(version)
			const header = "\xd1\x17\x00\x03web\x01\x04\x0b\x00hostexample.org"
			p.ExpectFrame(t, "SYN comes first", testutil.SYN(v, 1))
			p.ExpectFrame(t, "one frame has header and data", testutil.PSH(v, 1, append([]byte(header), data...)))
			ca.Close()
			c.Close()
		}
	})
}

// A header that no data follows is sent after a millisecond, or when a Read waits.
func TestOpenSendsTheHeaderWithinAMillisecond(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		for _, reads := range []bool{true, false} {
			c, s := sessions(t, session.Config{Version: version})
			synctest.Wait() // the first NOP is sent
			elapsed := testutil.Clock()
			st := open(t, c, "x", nil)
			if reads {
				go st.Read(make([]byte, 1)) // until the session ends
			}
			raw, err := s.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wantRead(t, raw, "\xd1\x03\x00\x01x\x00")
			want := time.Millisecond
			if reads {
				want = 0
			}
			testutil.WantTime(t, "the header arrived", elapsed(), want)
		}
	})
}

// The byte that accepts is in the same frame as the first data, whether Write or ReadFrom sends it.
func TestTheAnswerSharesAFrameWithTheFirstData(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		v := wire.Version(version)
		ca, cb := testutil.SimPair(t, simnet.Link{})
		p := testutil.NewPeer(t, ca)
		p.Ignore(wire.NOP)
		s, err := session.Server(cb, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		defer cb.Close()
		m := new(service.Mux)
		m.Handle("w", func(st *service.Stream) { st.Write([]byte("answer")) })
		m.Handle("r", func(st *service.Stream) { st.ReadFrom(strings.NewReader("answer")) })
		m.Handle("a", func(st *service.Stream) { st.Accept() })
		m.Handle("n", func(st *service.Stream) {})
		served := testutil.BackgroundErr(func() error { return m.Serve(t.Context(), s) })
		for i, c := range []struct{ name, want string }{{"w", "\x00answer"}, {"r", "\x00answer"}, {"a", "\x00"}, {"n", ""}} {
			id := uint32(2*i + 1)
			p.Send(t, testutil.SYN(v, id), testutil.PSH(v, id, []byte("\xd1\x03\x00\x01"+c.name+"\x00")))
			if c.want != "" {
				p.ExpectFrame(t, "one frame has all", testutil.PSH(v, id, []byte(c.want)))
			}
			p.ExpectClosed(t, "the handler has returned", testutil.FIN(v, id))
		}
		p.Close()
		<-served
	})
}

// Open fails, and opens no stream, if name or metadata are beyond a limit. It passes the error of OpenStream on.
func TestOpenFails(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, session.Config{Version: version})
		if _, err := service.Open(t.Context(), c, "", nil); err == nil {
			t.Error("a stream was opened without a name")
		}
		if n := c.NumStreams(); n > 0 {
			t.Errorf("%d streams are open", n)
		}
		s.Close()
		<-c.Done()
		_, err := service.Open(t.Context(), c, "x", nil)
		testutil.WantErr(t, "Open", err, io.EOF)
	})
}

// If there is no room for the header, Open waits until there is, or its context ends.
func TestOpenWaitsForRoomOrItsContext(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		ca, cb := testutil.SimPair(t, simnet.Link{})
		c, err := session.Client(ca, &session.Config{Version: version, MaxSendBuffer: 1024})
		if err != nil {
			t.Fatal(err)
		}
		s, err := session.Server(cb, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		defer c.Close()
		metadata := map[string]string{"k": strings.Repeat("v", 10_000)}
		ca.Out().Stall()
		go c.Ping(t.Context())
		blocked, err := c.OpenStream(t.Context()) // fills the transport
		if err != nil {
			t.Fatal(err)
		}
		go blocked.Write(make([]byte, 1_000_000))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		elapsed := testutil.Clock()
		_, err = service.Open(ctx, c, "x", metadata)
		testutil.WantErr(t, "Open", err, context.DeadlineExceeded)
		testutil.WantTime(t, "Open failed", elapsed(), time.Second)

		opened := testutil.BackgroundErr(func() error { return second(service.Open(t.Context(), c, "x", metadata)) })
		synctest.Wait()
		ca.Out().Unstall()
		testutil.WantErr(t, "Open", (<-opened).Err, nil)
		cb.Close()
	})
}

// Metadata and name arrive at the handler, which may read what the opener writes, and answer.
func TestServiceGetsNameAndMetadata(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		metadata := map[string]string{"a": "1", "b": strings.Repeat("v", 16_000)}
		m := new(service.Mux)
		m.Handle("upper", func(st *service.Stream) {
			if st.Name() != "upper" || !reflect.DeepEqual(st.Metadata(), metadata) {
				t.Errorf("the handler got %q and metadata of %d", st.Name(), len(st.Metadata()))
			}
			b, err := io.ReadAll(st)
			if err != nil {
				t.Error(err)
			}
			st.Write(bytes.ToUpper(b))
		})
		c, _ := serve(t, m, session.Config{Version: version})
		st := open(t, c, "upper", metadata)
		write(t, st, "hello")
		st.CloseWrite()
		if got, err := io.ReadAll(st); string(got) != "HELLO" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if st.Name() != "upper" || st.Metadata() != nil || st.NetConn() != net.Conn(st.Stream) {
			t.Errorf("the opener has %q, %v, %v", st.Name(), st.Metadata(), st.NetConn())
		}
		if got, want := m.Stats(), (service.Stats{Served: 1}); got != want {
			t.Errorf("Stats are %+v, want %+v", got, want)
		}
	})
}

// Bulk data goes through ReadFrom and WriteTo on both sides, and through Write and Read.
func TestServiceCarriesBulkData(t *testing.T) {
	const n = 3_000_000
	eachVersion(t, func(t *testing.T, version int) {
		opened, accepted := pair(t, session.Config{Version: version})
		for i, way := range [][2]*service.Stream{{opened, accepted}, {accepted, opened}} {
			from, to := way[0], way[1]
			p := testutil.Pattern(i)
			sent := testutil.Background(func() (int64, error) {
				defer from.CloseWrite()
				return from.ReadFrom(p.Reader(n))
			})
			v := p.Verifier()
			got, err := to.WriteTo(v)
			if got != n || err != nil || v.Offset() != n {
				t.Errorf("WriteTo = %d, %v, %d are right, want %d", got, err, v.Offset(), n)
			}
			testutil.WantErr(t, "ReadFrom", (<-sent).Err, nil)
		}
	})
}

// AwaitAnswer returns nil when the stream is accepted, and takes no data.
func TestAwaitAnswerTakesNoData(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		opened, accepted := pair(t, session.Config{Version: version})
		answered := testutil.BackgroundErr(func() error { return opened.AwaitAnswer(t.Context()) })
		time.Sleep(time.Second)
		if err := accepted.Accept(); err != nil {
			t.Fatal(err)
		}
		r := <-answered
		testutil.WantErr(t, "AwaitAnswer", r.Err, nil)
		testutil.WantTime(t, "AwaitAnswer returned", r.After, time.Second)
		write(t, accepted, "data")
		testutil.WantErr(t, "AwaitAnswer again", opened.AwaitAnswer(t.Context()), nil)
		testutil.WantErr(t, "AwaitAnswer of the side that answers", accepted.AwaitAnswer(t.Context()), nil)
		wantRead(t, opened, "data")
	})
}

// AwaitAnswer ends with its context, and disturbs neither a Read that waits nor the deadline.
func TestAwaitAnswerEndsWithItsContext(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		opened, accepted := pair(t, session.Config{Version: version})
		if err := opened.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		for _, readsFirst := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			answered := testutil.BackgroundErr(func() error {
				if readsFirst {
					time.Sleep(time.Second)
				}
				return opened.AwaitAnswer(ctx)
			})
			if !readsFirst {
				synctest.Wait()
			}
			read := testutil.Background(func() (int, error) { return opened.Read(make([]byte, 1)) })
			r := <-answered
			testutil.WantErr(t, "AwaitAnswer", r.Err, context.DeadlineExceeded)
			testutil.WantTime(t, "AwaitAnswer returned", r.After, time.Minute)
			cancel()
			if !readsFirst {
				opened.SetReadDeadline(time.Now())
				testutil.WantErr(t, "Read at its deadline", (<-read).Err, os.ErrDeadlineExceeded)
				opened.SetReadDeadline(time.Now().Add(time.Hour))
				continue
			}
			elapsed := testutil.Clock()
			write(t, accepted, "x")
			testutil.WantErr(t, "Read", (<-read).Err, nil)
			testutil.WantErr(t, "Read at the deadline", second(opened.Read(make([]byte, 1))), os.ErrDeadlineExceeded)
			if after := elapsed(); after > time.Hour || after < time.Hour-2*time.Minute {
				t.Errorf("the deadline came after %v", after)
			}
		}
	})
}

// AwaitAnswer ends at the read deadline, at Close, and when the other side closes without an answer.
func TestAwaitAnswerEndsAsReadDoes(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		opened, accepted := pair(t, session.Config{Version: version})
		opened.SetReadDeadline(time.Now().Add(time.Second))
		testutil.WantErr(t, "AwaitAnswer at the deadline", opened.AwaitAnswer(t.Context()), os.ErrDeadlineExceeded)
		opened.SetDeadline(time.Time{})
		accepted.CloseWrite()
		testutil.WantErr(t, "AwaitAnswer at the end", opened.AwaitAnswer(t.Context()), io.EOF)
		testutil.WantErr(t, "Read at the end", second(opened.Read(make([]byte, 1))), io.EOF)
		if n, err := opened.WriteTo(io.Discard); n != 0 || err != nil {
			t.Errorf("WriteTo at the end = %d, %v", n, err)
		}
		opened, _ = pair(t, session.Config{Version: version})
		answered := testutil.BackgroundErr(func() error { return opened.AwaitAnswer(context.Background()) })
		synctest.Wait()
		opened.Close()
		testutil.WantErr(t, "AwaitAnswer after Close", (<-answered).Err, net.ErrClosed)
	})
}

// An acceptor that closes without a word gives an empty answer, and no refusal.
func TestCloseWithoutAWordIsAnEmptyAnswer(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		m := new(service.Mux)
		m.Handle("x", func(st *service.Stream) { wantRead(t, st, "request") })
		c, _ := serve(t, m, session.Config{Version: version})
		st := open(t, c, "x", nil)
		write(t, st, "request")
		if got, err := io.ReadAll(st); len(got) > 0 || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		synctest.Wait()
		testutil.WantErr(t, "Write", second(st.Write([]byte("x"))), stream.ErrPeerClosed)
		st.Close()
	})
}

// What is no answer fails the stream with ErrAnswer, and so does an answer that is cut off.
func TestMalformedAnswersFail(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		for answer, want := range map[string]error{
			"HTTP/1.1 200 OK":       service.ErrAnswer,
			"\x01\x01\x00\x01\x04":  service.ErrAnswer,
			"\x01\x01\x00":          io.ErrUnexpectedEOF,
			"\x01\x01\x00\x05\x00a": io.ErrUnexpectedEOF,
		} {
			opened, raw := rawStream(t, session.Config{Version: version})
			write(t, raw, answer)
			raw.CloseWrite()
			_, err := opened.Read(make([]byte, 10))
			testutil.WantErr(t, "Read", err, want)
			testutil.WantErr(t, "Read again", second(opened.Read(make([]byte, 10))), want)
			if want == service.ErrAnswer {
				testutil.WantErr(t, "Write", second(opened.Write([]byte("x"))), want)
				<-opened.Done() // it was closed
			}
			opened.Close()
		}
	})
}

// The end of the session ends the opener's calls with the reason.
func TestSessionEndReachesTheOpener(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		opened, accepted := pair(t, session.Config{Version: version})
		read := testutil.Background(func() (int, error) { return opened.Read(make([]byte, 1)) })
		synctest.Wait()
		_ = accepted
		opened.Stream.Close()
		testutil.WantErr(t, "Read", (<-read).Err, net.ErrClosed)

		m := new(service.Mux)
		m.Listen("x")
		c, s := serve(t, m, session.Config{Version: version})
		opened = open(t, c, "x", nil)
		time.Sleep(time.Second)
		s.CloseNow()
		<-c.Done()
		testutil.WantErr(t, "Read", second(opened.Read(make([]byte, 1))), io.ErrUnexpectedEOF)
		if err := second(opened.Write([]byte("x"))); err == nil || errors.Is(err, stream.ErrPeerClosed) {
			t.Errorf("Write: %v", err)
		}
	})
}
