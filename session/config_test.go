package session_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/wire"
)

// starts are Client and Server.
var starts = map[string]func(io.ReadWriteCloser, *session.Config) (*session.Session, error){
	"Client": session.Client,
	"Server": session.Server,
}

// The error for a bad Config names each bad field with its value and limits, and the transport is untouched.
func TestConfigErrorNamesTheFieldAndItsLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  session.Config
		want []string // what the error says
	}{
		{"Version", session.Config{Version: 3}, []string{"Version", "3", "0", "2"}},
		{"Version below 0", session.Config{Version: -1}, []string{"Version", "-1", "0", "2"}},
		{"MaxFrameSize", session.Config{MaxFrameSize: 65536}, []string{"MaxFrameSize", "65536", "1", "65535"}},
		{"MaxFrameSize below 0", session.Config{MaxFrameSize: -1}, []string{"MaxFrameSize", "-1", "1", "65535"}},
		{"MaxWriteSize", session.Config{MaxWriteSize: 63}, []string{"MaxWriteSize", "63", "64", "1073741824"}},
		{"MaxWriteSize below 0", session.Config{MaxWriteSize: -1}, []string{"MaxWriteSize", "-1", "64"}},
		{"MaxWriteSize beyond", session.Config{MaxWriteSize: 1<<30 + 1}, []string{"MaxWriteSize", "1073741825", "1073741824"}},
		{"a frame that does not fit", session.Config{MaxWriteSize: 1000, MaxFrameSize: 993}, []string{"MaxWriteSize", "1000", "MaxFrameSize", "993"}},
		{"MaxReceiveBuffer", session.Config{MaxReceiveBuffer: 65535}, []string{"MaxReceiveBuffer", "65535", "65536"}},
		{"MaxReceiveBuffer below 0", session.Config{MaxReceiveBuffer: -1}, []string{"MaxReceiveBuffer", "-1", "65536"}},
		{"MaxStreamWindow", session.Config{MaxStreamWindow: 16383}, []string{"MaxStreamWindow", "16383", "16384", "1073741824"}},
		{"MaxStreamWindow beyond", session.Config{MaxStreamWindow: 1<<30 + 1}, []string{"MaxStreamWindow", "1073741825", "16384", "1073741824"}},
		{"AcceptBacklog", session.Config{AcceptBacklog: -1}, []string{"AcceptBacklog", "-1", "0"}},
		{"AcceptBacklog beyond", session.Config{AcceptBacklog: math.MaxInt32}, []string{"AcceptBacklog", "2147483647", "0", "1073741824"}},
		{"MaxStreams", session.Config{MaxStreams: -7}, []string{"MaxStreams", "-7", "1"}},
		{"CloseTimeout", session.Config{CloseTimeout: -time.Second}, []string{"CloseTimeout", "-1s", "negative"}},
		{"LingerTimeout", session.Config{LingerTimeout: -time.Second}, []string{"LingerTimeout", "-1s", "negative"}},
		{"WriteTimeout", session.Config{WriteTimeout: -time.Second}, []string{"WriteTimeout", "-1s", "negative"}},
		{"MaxSendBuffer", session.Config{MaxSendBuffer: 1023}, []string{"MaxSendBuffer", "1023", "1024"}},
		{"MaxStreamSendBuffer", session.Config{MaxStreamSendBuffer: 1023}, []string{"MaxStreamSendBuffer", "1023", "1024", "536870912"}},
		{"MaxStreamSendBuffer beyond", session.Config{MaxStreamSendBuffer: 1<<29 + 1}, []string{"MaxStreamSendBuffer", "536870913", "1024", "536870912"}},
		{"two send budgets", session.Config{SendBudget: flow.NewBudget(1 << 20), MaxSendBuffer: 1 << 20}, []string{"SendBudget", "MaxSendBuffer"}},
		{"one budget for two", session.Config{SendBudget: oneBudget, Budget: oneBudget}, []string{"SendBudget", "Budget", "same"}},
		{"StallTimeout", session.Config{StallTimeout: -time.Second}, []string{"StallTimeout", "-1s", "negative"}},
		{"KeepAlive's Interval", session.Config{KeepAlive: keepalive.Periodic{Interval: -time.Second}}, []string{"KeepAlive", "Interval", "-1s", "1ms"}},
		{"KeepAlive's Timeout", session.Config{KeepAlive: keepalive.Periodic{Interval: time.Minute, Timeout: time.Second}}, []string{"KeepAlive", "Timeout", "1s", "1m0s"}},
		{"a KeepAlive that is a nil pointer", session.Config{KeepAlive: (*keepalive.Periodic)(nil)}, []string{"KeepAlive", "nil"}},
		{"a LocalAddr that is a nil pointer", session.Config{LocalAddr: (*net.TCPAddr)(nil)}, []string{"LocalAddr", "nil"}},
		{"a RemoteAddr that is a nil pointer", session.Config{RemoteAddr: (*net.UnixAddr)(nil)}, []string{"RemoteAddr", "nil"}},
		{"a NewScheduler that returns nil", session.Config{NewScheduler: func() shaper.Scheduler { return nil }}, []string{"NewScheduler", "nil"}},
		{"two budgets", session.Config{Budget: flow.NewBudget(1 << 20), MaxReceiveBuffer: 1 << 20}, []string{"Budget", "MaxReceiveBuffer"}},
		{"SendRate", session.Config{SendRate: flow.Rate{BytesPerSecond: -1}}, []string{"SendRate", "-1"}},
		{"SendRate that is no number", session.Config{SendRate: flow.Rate{BytesPerSecond: math.NaN()}}, []string{"SendRate", "NaN"}},
		{"ReceiveRate's Burst", session.Config{ReceiveRate: flow.Rate{BytesPerSecond: 1000, Burst: -5}}, []string{"ReceiveRate", "Burst", "-5"}},
		{
			"everything at once",
			session.Config{
				Version: 9, MaxFrameSize: 70000, MaxReceiveBuffer: 1, MaxStreamWindow: 2, AcceptBacklog: -3, MaxStreams: -4,
				CloseTimeout: -5, KeepAlive: keepalive.Periodic{Timeout: -6},
			},
			[]string{"Version", "MaxFrameSize", "MaxReceiveBuffer", "MaxStreamWindow", "AcceptBacklog", "MaxStreams", "CloseTimeout", "KeepAlive"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for end, start := range starts {
				testutil.LeakCheck(t)
				defer func() {
					if e := recover(); e != nil {
						t.Errorf("%s panics: %v", end, e)
					}
				}()
				ours, theirs := testutil.PipePair(t)
				s, err := start(ours, &c.cfg)
				if err == nil {
					_ = s.Close()
					t.Fatalf("%s takes it", end)
				}
				if s != nil {
					t.Errorf("%s returns a session and an error", end)
				}
				for _, w := range c.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%s: %q does not say %q", end, err, w)
					}
				}
				// The transport is untouched and belongs to the caller.
				go ours.Write([]byte("x"))
				if _, err := io.ReadFull(theirs, make([]byte, 1)); err != nil {
					t.Errorf("%s has touched the transport: %v", end, err)
				}
			}
		})
	}
}

var oneBudget = flow.NewBudget(1 << 20)

// The limits themselves are valid.
func TestConfigLimitsAreAllowed(t *testing.T) {
	for _, cfg := range []*session.Config{
		nil,
		{},
		{Version: 1, MaxFrameSize: 1, MaxReceiveBuffer: 65536, MaxStreamWindow: 16384, AcceptBacklog: 1, MaxStreams: 1, CloseTimeout: 1, LingerTimeout: 1, WriteTimeout: 1, MaxSendBuffer: 1024, MaxStreamSendBuffer: 1024},
		{Version: 2, MaxFrameSize: 65535, MaxStreamWindow: 1 << 30, AcceptBacklog: 1 << 30, MaxStreams: 1 << 30, CloseTimeout: math.MaxInt64, LingerTimeout: math.MaxInt64, WriteTimeout: math.MaxInt64, MaxStreamSendBuffer: 1 << 29},
		{KeepAlive: keepalive.Off{}},
		{MaxWriteSize: 64},
		{MaxWriteSize: 64, MaxFrameSize: 56},
		{MaxWriteSize: 1 << 30, MaxFrameSize: 65535},
		{KeepAlive: keepalive.Periodic{Interval: time.Millisecond, Timeout: 2 * time.Millisecond}},
		{Budget: flow.NewBudget(1)},
	} {
		if err := cfg.Validate(); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// Sessions work with each field at its limit.
func TestSessionsWorkAtTheConfigsLimits(t *testing.T) {
	for _, cfg := range []session.Config{
		{MaxFrameSize: 1, MaxReceiveBuffer: 65536, MaxStreamWindow: 16384, AcceptBacklog: 1, MaxStreams: 1},
		{MaxFrameSize: 65535, MaxStreamWindow: 1 << 30, AcceptBacklog: 1 << 30, MaxStreams: 1 << 30, CloseTimeout: math.MaxInt64},
		{Budget: flow.NewBudget(1)},
		{MaxStreamSendBuffer: 1 << 10},
		{MaxWriteSize: 64, MaxFrameSize: 1},
		{MaxWriteSize: 64, MaxFrameSize: 56},
		{MaxWriteSize: 1 << 30},
		{MaxStreamSendBuffer: 1 << 29},
		{SendBudget: flow.NewBudget(1), LingerTimeout: math.MaxInt64, WriteTimeout: math.MaxInt64},
	} {
		t.Run(fmt.Sprint(cfg.MaxFrameSize), func(t *testing.T) {
			const size = 20_000
			eachVersion(t, func(t *testing.T, version int) {
				cfg := cfg
				cfg.Version = version
				c, s := sessions(t, transport("sim"), cfg)
				a, b := openPair(t, c, s)
				go func() {
					_, _ = testutil.Pattern(1).Send(a, size, 3000)
					_ = a.Close()
				}()
				if err := testutil.Pattern(1).Receive(b, size); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

type nowhere struct{ io.ReadWriteCloser }

// Client and Server return an error for a nil conn, and for a nil pointer in it.
func TestNilConnIsAnError(t *testing.T) {
	var pipe net.Conn
	var tcp *net.TCPConn
	var own *nowhere
	for name, conn := range map[string]io.ReadWriteCloser{
		"nil": nil, "a nil net.Conn": pipe, "a nil *net.TCPConn": tcp, "a nil pointer to another type": own,
	} {
		for end, start := range starts {
			t.Run(end+"/"+name, func(t *testing.T) {
				testutil.LeakCheck(t)
				s, err := start(conn, nil)
				if s != nil || err == nil || !strings.Contains(err.Error(), "nil") {
					t.Errorf("%v, %v", s, err)
				}
			})
		}
	}
}

// A Config may be used by many sessions at once, which do not change it.
func TestConfigServesManySessionsUnchanged(t *testing.T) {
	cfg := &session.Config{AcceptBacklog: 7, KeepAlive: keepAlive}
	before := *cfg
	bubble(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for range 20 {
			ours, theirs := testutil.SimPair(t, simnet.Link{})
			wg.Go(func() {
				c, err1 := session.Client(ours, cfg)
				s, err2 := session.Server(theirs, cfg)
				if err1 != nil || err2 != nil {
					t.Error(err1, err2)
					return
				}
				go func() {
					st, err := c.OpenStream(context.Background())
					if err == nil {
						_, _ = st.Write([]byte("x"))
					}
				}()
				if _, err := s.AcceptStream(context.Background()); err != nil {
					t.Error(err)
				}
				_ = c.Close()
				_ = s.Close()
			})
		}
		wg.Wait()
	})
	if diff := cmp.Diff(before, *cfg, cmpopts.IgnoreFields(session.Config{}, "NewScheduler", "Trace", "Budget")); diff != "" {
		t.Errorf("it was changed (-before +after)\n%s", diff)
	}
}

// A frame holds at most MaxFrameSize bytes of data.
func TestFrameHoldsAtMostMaxFrameSize(t *testing.T) {
	data := testutil.Pattern(2).Bytes(200_000)
	for _, c := range []struct{ set, want int }{
		{0, 32760}, // with its header the most that the Rust crate smux accepts
		{1000, 1000},
		{32761, 32761},
		{65535, 65535},
	} {
		t.Run(fmt.Sprint(c.set), func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{MaxFrameSize: c.set})
				p.Ignore(wire.NOP, wire.UPD, wire.SYN)
				for _, chunk := range []int{len(data), 5000, 70} {
					st := open(t, s)
					wrote := testutil.Background(func() (any, error) {
						for b := data; len(b) > 0; b = b[min(chunk, len(b)):] {
							if _, err := st.Write(b[:min(chunk, len(b))]); err != nil {
								return nil, err
							}
						}
						return nil, st.Close()
					})
					var got []byte
					largest := 0
					for {
						f := p.Next(t, "the data of the stream is sent")
						if f.Command == wire.FIN {
							p.ExpectFrame(t, "Close sends FIN twice", f)
							break
						}
						got = append(got, f.Data...)
						largest = max(largest, len(f.Data))
					}
					if !bytes.Equal(got, data) {
						t.Errorf("got %d bytes, want %d", len(got), len(data))
					}
					if largest > c.want {
						t.Errorf("a frame of %d bytes, want at most %d", largest, c.want)
					}
					if res := <-wrote; res.Err != nil {
						t.Error(res.Err)
					}
				}
			}, "sim", "tcp")
		})
	}
}

// The defaults are those of the documentation.
func TestDefaultsAreThoseOfTheDocs(t *testing.T) {
	got := []any{
		session.DefaultMaxFrameSize, session.DefaultMaxReceiveBuffer, session.DefaultMaxStreamWindow,
		session.DefaultMaxStreams, session.DefaultMaxStreamSendBuffer, session.DefaultCloseTimeout,
		keepalive.DefaultInterval, keepalive.DefaultTimeout,
	}
	want := []any{32760, 32 << 20, 16 << 20, 65536, 130736, 5 * time.Second, 10 * time.Second, 30 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Ignore(wire.NOP, wire.UPD)
		sendFlood(t, r, p, func(r role, n int) testutil.Frame { return r.syn(r.theirs(n)) }, 65536)
		p.ExpectNothing(t, "MaxStreams streams wait for Accept", time.Second)
		p.Send(t, r.syn(r.theirs(65536)))
		p.ExpectRefused(t, "one stream more than MaxStreams is refused", r.fin(r.theirs(65536)))
		if n := s.NumStreams(); n != 65536 {
			t.Errorf("%d streams are open", n)
		}
	})
}
