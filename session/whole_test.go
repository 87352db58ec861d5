package session_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Frames and Writes stay whole.

// A frame is never cut in half, although the transport stops and goes and Writes time out anywhere in their
// frames.
func TestFrameIsNeverCutInHalf(t *testing.T) {
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
	// The peer reads raw bytes, sometimes few and sometimes many.
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
	closed := testutil.Background(func() (struct{}, error) {
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
	testutil.WantErr(t, "Close", (<-closed).Err, unproven(tr))
	if diff := cmp.Diff(written, got); diff != "" {
		t.Errorf("bytes of each stream (-counted by Write +received)\n%s", diff)
	}
}

// Concurrent Writes are not mixed. Each Write is a record that begins with its length and writer, and the reader
// finds every record in one piece.
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
