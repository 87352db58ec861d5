package stream_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A fake is a session with one stream that does only what the test tells it to do. It records what the stream asks
// for, and sends and receives when the test calls take or deliver.
type fake struct {
	t      testing.TB
	core   stream.Core
	cfg    stream.Shared
	budget *flow.Budget
	start  time.Time

	control bool // Start has asked for control

	panics bool // SendData, SendControl and Flush panic

	mu       sync.Mutex
	calls    []string
	finished int
}

// newFake returns a fake with stream 1, opened by this side or by its peer.
func newFake(t testing.TB, version wire.Version, opened bool) *fake {
	f := &fake{t: t, start: time.Now(), budget: flow.NewBudget(64 << 20)}
	f.cfg = stream.Shared{Version: version, MaxFrameSize: 32760, Budget: f.budget.NewAccount(), LocalAddr: addr("here"), RemoteAddr: addr("there")}
	f.core.Init(&f.cfg, f, 1, opened)
	f.core.Start()
	f.control = len(f.called()) > 0
	return f
}

type addr string

func (addr) Network() string  { return "fake" }
func (a addr) String() string { return string(a) }

func (f *fake) SendControl(u stream.Urgency) {
	f.note([...]string{"", "control lazily", "control soon", "control now"}[u])
}
func (f *fake) SendData(u stream.Urgency) {
	f.note([...]string{"", "data lazily", "data soon", "data now"}[u])
}
func (f *fake) Flush()        { f.note("flush") }
func (f *fake) Opened()       { f.check() }
func (f *fake) SetWeight(int) { f.note("weight") }

func (f *fake) Now() time.Duration {
	f.check()
	return time.Since(f.start)
}

func (f *fake) Finished() {
	f.note("finished")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finished++
}

// ended returns the number of calls of Finished.
func (f *fake) ended() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.finished
}

// check checks that the stream holds no lock while it calls its session: the session can call its methods.
func (f *fake) check() {
	f.core.HasUnsent()
	f.core.Unread()
}

// note records a call.
func (f *fake) note(call string) {
	f.check()
	if f.panics {
		panic("boom")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

// called returns the calls since the last call of called.
func (f *fake) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fake) stream() *stream.Stream { return f.core.Stream() }

// take collects everything that the stream has to send, n bytes a turn, and returns the frames.
func (f *fake) take(n int) []testutil.Frame {
	f.t.Helper()
	b := wire.NewBatch(false)
	f.core.AppendControl(b)
	out := bytes.Clone(b.Bytes())
	b.Release()
	for more := true; more; {
		more = f.core.AppendData(b, n)
		out = append(out, b.Bytes()...)
		b.Release()
	}
	return frames(f.t, out)
}

// frames decodes p, which must hold whole frames.
func frames(t testing.TB, p []byte) (list []testutil.Frame) {
	t.Helper()
	dec := wire.NewDecoder(bytes.NewReader(p))
	for {
		h, err := dec.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("at byte %d: %v", dec.InputOffset(), err)
		}
		f := testutil.Frame{Header: h}
		if h.Length > 0 {
			if f.Data, err = dec.AppendPayload(nil); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, f)
	}
}

// payload returns the data of frames.
func payload(list []testutil.Frame) (p []byte) {
	for _, f := range list {
		if f.Command == wire.PSH {
			p = append(p, f.Data...)
		}
	}
	return p
}

// commands returns the commands of frames.
func commands(list []testutil.Frame) (c []wire.Command) {
	for _, f := range list {
		c = append(c, f.Command)
	}
	return c
}

// deliver delivers data to the stream.
func (f *fake) deliver(p []byte) {
	f.t.Helper()
	f.core.Deliver(p, false)
}

// both runs test in a bubble, for both versions.
func both(t *testing.T, test func(t *testing.T, v wire.Version)) {
	t.Helper()
	for _, v := range []wire.Version{wire.V1, wire.V2} {
		t.Run(v.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				testutil.LeakCheck(t)
				test(t, v)
			})
		})
	}
}

// wantOpErr checks that err is want, in a *net.OpError with the stream's addresses unless it is io.EOF.
func wantOpErr(t testing.TB, what string, err, want error) {
	t.Helper()
	testutil.WantErr(t, what, err, want)
	if op := new(net.OpError); err != nil && err != io.EOF && (!errors.As(err, &op) || op.Net != "smux" || op.Source != addr("here") || op.Addr.String() != "there stream 1") {
		t.Errorf("%s: %#v is no *net.OpError with the stream's addresses", what, err)
	}
}

// write calls Write in the background.
func write(s io.Writer, p []byte) <-chan testutil.Result[int64] {
	return testutil.Background(func() (int64, error) {
		n, err := s.Write(p)
		return int64(n), err
	})
}

// A cable joins two streams without a session. Each end has a goroutine that collects frames and delivers them to
// the other end.
type cable struct {
	stream.Core
	kick  chan struct{} // there is something to collect
	start time.Time
	gone  chan struct{} // closed by Finished
	other *cable
}

// join returns two joined streams and a function that ends both.
func join(v wire.Version, maxFrame int, gather bool) (a, b *stream.Stream, cut func()) {
	ends := [2]*cable{}
	for i := range ends {
		ends[i] = &cable{kick: make(chan struct{}, 1), start: time.Now(), gone: make(chan struct{})}
	}
	config := func() *stream.Shared {
		return &stream.Shared{
			Version: v, MaxFrameSize: maxFrame, Budget: flow.NewAccount(4 << 20),
			Linger: time.Minute, LocalAddr: addr("here"), RemoteAddr: addr("there"),
		}
	}
	ends[0].other, ends[1].other = ends[1], ends[0]
	ends[0].Init(config(), ends[0], 1, true)
	ends[1].Init(config(), ends[1], 1, false)
	ends[0].Start()
	ends[1].Start()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, c := range ends {
		running.Go(func() { c.run(gather, stop) })
	}
	return ends[0].Stream(), ends[1].Stream(), func() {
		for _, c := range ends {
			c.Abort(io.ErrUnexpectedEOF, stream.AbortBoth)
		}
		close(stop)
		running.Wait()
	}
}

func (c *cable) send() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (c *cable) SendControl(stream.Urgency) { c.send() }
func (c *cable) SendData(stream.Urgency)    { c.send() }
func (c *cable) Flush()                     { c.send() }
func (c *cable) Opened()                    {}
func (c *cable) SetWeight(int)              {}
func (c *cable) Now() time.Duration         { return time.Since(c.start) }
func (c *cable) Finished()                  { close(c.gone) }

func (c *cable) run(gather bool, stop <-chan struct{}) {
	b := wire.NewBatch(gather)
	dec := wire.NewDecoder(nil)
	var buf []byte
	for {
		select {
		case <-c.kick:
		case <-stop:
			return
		}
		c.AppendControl(b)
		for more := true; more; {
			more = c.AppendData(b, 20_000)
			buf = b.AppendRest(buf[:0], 0)
			b.Release()
			dec.Reset(bytes.NewReader(buf))
			if err := c.other.receive(dec); err != nil {
				c.Abort(err, stream.AbortBoth)
				c.other.Abort(err, stream.AbortBoth)
			}
		}
	}
}

// receive delivers frames to the stream, in each way in which a session can.
func (c *cable) receive(dec *wire.Decoder) error {
	for {
		h, err := dec.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Command {
		case wire.FIN:
			c.HandleFIN()
		case wire.UPD:
			p, _ := dec.AppendPayload(nil)
			u, err := wire.ParseWindowUpdate(p)
			if err == nil {
				err = c.HandleUpdate(u)
			}
			if err != nil {
				return err
			}
		case wire.PSH:
			for dec.Unread() > 0 {
				if p := c.Reserve(dec.Unread(), dec.Unread()%2 == 0); p != nil {
					n, _ := dec.Read(p)
					c.Commit(n)
					continue
				}
				p, _ := dec.AppendPayload(nil)
				c.Deliver(p, false)
			}
			c.Wake()
		}
	}
}
