package session_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A session closed right after Write delivers what was written.

// A session that is closed right after Write delivers what was written.
func TestCloseRightAfterWriteDelivers(t *testing.T) {
	for _, c := range []struct {
		streams, size int
		fin           bool // the streams are closed, too
	}{
		{1, 1, false},
		{1, 1, true},
		{1, 1000, false},
		{1, 100_000, true},
		{1, 1 << 20, false},
		{30, 5000, true},
		{30, 40_000, false},
	} {
		for _, side := range []string{"client", "server"} {
			t.Run(fmt.Sprintf("%d streams of %d bytes, FIN %v, by the %s", c.streams, c.size, c.fin, side), func(t *testing.T) {
				eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
					closes, stays := sessions(t, tr, session.Config{Version: version})
					if side == "server" {
						closes, stays = stays, closes
					}
					var out, in []*stream.Stream
					for range c.streams {
						o, i := openPair(t, closes, stays)
						out, in = append(out, o), append(in, i)
					}
					var readers sync.WaitGroup
					for k, st := range in {
						readers.Go(func() {
							v := testutil.Pattern(k).Verifier()
							_, err := io.Copy(v, st)
							if v.Offset() != int64(c.size) {
								t.Errorf("%d of %d bytes arrived: %v", v.Offset(), c.size, err)
							}
							// Without FIN the error is io.ErrUnexpectedEOF, or a reset of TCP.
							if c.fin != (err == nil) {
								t.Errorf("the reader: error %v", err)
							}
						})
					}
					for k, st := range out {
						if _, err := st.Write(testutil.Pattern(k).Bytes(c.size)); err != nil {
							t.Error(err)
						}
						if c.fin {
							st.Close()
						}
					}
					testutil.WantErr(t, "Close", closes.Close(), nil)
					readers.Wait()
				})
			})
		}
	}
}

// So does one with unread data in its transport. A TCP socket that is closed with unread data sends a reset, and
// data that the peer's host has not acknowledged is lost. On systems other than Linux, data that the peer has not
// read is lost, too.
func TestCloseWithUnreadDataInTheTransportDelivers(t *testing.T) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable %v", portable), func(t *testing.T) {
			deliverWithUnreadData(t, &session.Config{Portable: portable, CloseTimeout: time.Minute})
		})
	}
}

func deliverWithUnreadData(t *testing.T, common *session.Config) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		cfg := *common
		cfg.Version = version
		ca, cb := tr.Pair(t)
		if s, ok := ca.(*net.TCPConn); ok {
			// The kernel then holds much that the peer's host has not taken.
			if err := s.SetWriteBuffer(256 << 10); err != nil {
				t.Fatal(err)
			}
		}
		c, peer := scriptedOver(t, ca, cb, &cfg)
		st := openWide(t, c, peer, version)
		flood(t, tr, peer, version)
		// The peer reads nothing until Close is called.
		src := newSource(1, 20_000)
		src.fill(t, st)
		closed := testutil.BackgroundErr(c.Close)
		settle(tr)

		v := testutil.Pattern(1).Verifier()
		for v.Offset() < src.off {
			// Slow, so that the kernel holds much when the session has sent everything.
			time.Sleep(time.Millisecond)
			f, err := peer.TryNext(peer.Timeout)
			if err != nil {
				t.Fatalf("%d of %d bytes arrived: %v", v.Offset(), src.off, err)
			}
			if f.Command == wire.PSH {
				if _, err := v.Write(f.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		peer.ExpectEnd(t, "Close ends the transport")
		peer.Close()
		testutil.WantErr(t, "Close", (<-closed).Err, nil)
	})
}

// So does one whose peer is writing. The peer's Writes fail, but it reads everything, at any speed.
func TestCloseRightAfterWriteDeliversToAWriter(t *testing.T) {
	const size = 300_000
	for _, pause := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, time.Second} {
		t.Run(fmt.Sprintf("read at once every %v", pause), func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				c, s := sessions(t, tr, session.Config{Version: version, MaxReceiveBuffer: 64 << 10, CloseTimeout: time.Minute})
				out, in := openPair(t, c, s)
				var writer sync.WaitGroup
				writer.Go(func() {
					for {
						if _, err := in.Write([]byte("and another thing")); err != nil {
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
				})
				writer.Go(func() {
					if _, err := out.Write(testutil.Pattern(1).Bytes(size)); err != nil {
						t.Errorf("Write: %v", err)
					}
					testutil.WantErr(t, "CloseWrite", out.CloseWrite(), nil)
					testutil.WantErr(t, "Close", c.Close(), nil)
				})
				v := testutil.Pattern(1).Verifier()
				buf := make([]byte, 10_000)
				for {
					time.Sleep(pause)
					n, err := in.Read(buf)
					if _, err := v.Write(buf[:n]); err != nil {
						t.Fatal(err)
					}
					if err != nil {
						testutil.WantErr(t, "Read", err, io.EOF)
						break
					}
				}
				if v.Offset() != size {
					t.Errorf("%d of %d bytes arrived", v.Offset(), size)
				}
				in.Close()
				writer.Wait()
			})
		})
	}
}

// So does one over TLS, which hides the socket that is closed with unread data.
func TestCloseOverTLSDeliversToAWriter(t *testing.T) {
	testutil.LeakCheck(t)
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	const size = 300_000
	for i := range 10 {
		ca, cb := testutil.TCPPair(t)
		cfg := &session.Config{Version: 1 + i%2, CloseTimeout: time.Minute}
		c := client(t, tls.Client(ca, &tls.Config{RootCAs: roots, ServerName: "example.com"}), cfg)
		s := server(t, tls.Server(cb, &tls.Config{Certificates: certified.TLS.Certificates}), cfg)
		out, in := openPair(t, c, s)
		var writer sync.WaitGroup
		writer.Go(func() {
			for p := make([]byte, 10_000); ; {
				if _, err := in.Write(p); err != nil {
					return
				}
			}
		})
		writer.Go(func() {
			if _, err := out.Write(testutil.Pattern(1).Bytes(size)); err != nil {
				t.Errorf("Write: %v", err)
			}
			testutil.WantErr(t, "CloseWrite", out.CloseWrite(), nil)
			testutil.WantErr(t, "Close", c.Close(), nil)
		})
		if err := testutil.Pattern(1).Receive(in, size); err != nil {
			t.Error(err)
		}
		in.Close()
		writer.Wait()
	}
}
