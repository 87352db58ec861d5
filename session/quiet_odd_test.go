package session_test

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// An odd is a transport whose Read does all that an io.Reader may do: it returns any part of what there is, now and then
// nothing and no error, the last bytes together with io.EOF, and it uses all of its buffer as scratch space.
type odd struct {
	io.ReadWriteCloser
	rng  *rand.Rand
	held []byte // read, and not returned yet
	err  error
}

func (o *odd) Read(p []byte) (n int, err error) {
	if o.rng.IntN(8) == 0 {
		return 0, nil
	}
	if len(o.held) == 0 && o.err == nil {
		o.held = make([]byte, 1+o.rng.IntN(3<<o.rng.IntN(16)))
		n, o.err = o.ReadWriteCloser.Read(o.held)
		o.held = o.held[:n]
	}
	for i := range p {
		p[i] = 0xa5
	}
	most := len(p)
	if most > 1 {
		most = 1 + o.rng.IntN(most)
	}
	n = copy(p[:most], o.held)
	o.held = o.held[n:]
	if len(o.held) == 0 {
		err = o.err
	}
	return n, err
}

// Whatever an io.Reader may do, a session that goes from quiet to busy and back reads each byte once and in order, also while
// its ReceiveRate changes.
func TestOddReadsOfAQuietSessionLoseNothing(t *testing.T) {
	seeds := uint64(10)
	if testutil.Race {
		seeds = 2
	}
	eachVersion(t, func(t *testing.T, version int) {
		for seed := range seeds {
			rng := rand.New(rand.NewPCG(seed, 1))
			ca, cb := testutil.BarePair(t)
			c := client(t, ca, &session.Config{Version: version})
			conn := &odd{ReadWriteCloser: cb, rng: rand.New(rand.NewPCG(seed, 2))}
			s := server(t, conn, &session.Config{Version: version})
			a, b := openPair(t, c, s)
			verify := testutil.Pattern(1).Verifier()
			buf := make([]byte, 100_000)
			for range 60 {
				if rng.IntN(3) == 0 {
					rate := flow.Rate{BytesPerSecond: 1e6, Burst: 1 << rng.IntN(16)}
					testutil.WantErr(t, "SetReceiveRate", s.SetReceiveRate([]flow.Rate{{}, rate}[rng.IntN(2)]), nil)
				}
				n := 1 + rng.IntN(2<<rng.IntN(16))
				testutil.Pattern(1).Fill(buf[:n], verify.Offset())
				sent := testutil.Background(func() (int, error) { return a.Write(buf[:n]) })
				got := make([]byte, n)
				if _, err := io.ReadFull(b, got); err != nil {
					t.Fatal(seed, err)
				}
				testutil.WantErr(t, "Write", (<-sent).Err, nil)
				if _, err := verify.Write(got); err != nil {
					t.Fatal(seed, err)
				}
				if rng.IntN(4) == 0 {
					time.Sleep(time.Duration(rng.Int64N(int64(3 * keepalive.DefaultInterval))))
				}
			}
			sent := testutil.Background(func() (int, error) { return a.Write([]byte("the end")) })
			testutil.WantErr(t, "Write", (<-sent).Err, nil)
			testutil.WantErr(t, "CloseWrite", a.CloseWrite(), nil)
			testutil.WantErr(t, "Close", c.Close(), nil)
			if got, err := io.ReadAll(b); string(got) != "the end" || err != nil {
				t.Errorf("seed %d: %q, %v", seed, got, err)
			}
		}
	})
}
