package stream_test

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/wire"
)

// where is a writer that records the addresses of the bytes it gets, and a reader that records the addresses it
// has to fill.
type where struct {
	mu sync.Mutex // guards at
	at []*byte
	n  int
}

func (w *where) Write(p []byte) (int, error) {
	w.at = append(w.at, &p[0])
	w.n += len(p)
	return len(p), nil
}

func (w *where) Read(p []byte) (int, error) {
	if w.n == 0 {
		return 0, io.EOF
	}
	p = p[:min(len(p), w.n)]
	w.n -= len(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = append(w.at, &p[0])
	return len(p), nil
}

// last returns the address of the last call.
func (w *where) last() *byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[len(w.at)-1]
}

// WriteTo passes on the memory that the transport was read into, without a copy.
func TestWriteToPassesOnTheTransportsMemory(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		var lent []*byte
		for range 5 {
			p := f.core.Reserve(30_000, false)
			if len(p) == 0 {
				t.Fatal("no memory")
			}
			lent = append(lent, &p[0])
			f.core.Commit(len(p))
		}
		f.core.HandleFIN()
		var w where
		if _, err := f.stream().WriteTo(&w); err != nil {
			t.Fatal(err)
		}
		if len(w.at) != len(lent) {
			t.Fatalf("%d writes for %d buffers", len(w.at), len(lent))
		}
		for i := range lent {
			if lent[i] != w.at[i] {
				t.Errorf("buffer %d was copied", i)
			}
		}
	})
}

// ReadFrom reads into the memory that the transport is written from, without a copy.
func TestReadFromReadsIntoTheTransportsMemory(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		r := &where{n: 200_000}
		done := testutil.Background(func() (int64, error) { return f.stream().ReadFrom(r) })
		sent := 0
		copied := 0
		for {
			synctest.Wait()
			b := wire.NewBatch(true)
			f.core.AppendData(b, 1<<20)
			if b.Len() == 0 {
				break
			}
			for _, part := range b.Parts() {
				if len(part) > wire.HeaderSize {
					sent += len(part)
					if part[0] = 0xEE; *r.last() != 0xEE {
						copied += len(part)
					}
				}
			}
			b.Release()
		}
		if res := <-done; res.Value != 200_000 || res.Err != nil {
			t.Errorf("ReadFrom = %d, %v", res.Value, res.Err)
		}
		// The end of a long copy may be short, and short pieces are copied.
		if copied > 40_000 {
			t.Errorf("%d of %d bytes were copied", copied, sent)
		}
	})
}

// A Read that waits lends its buffer to the transport for a moment, and gets its bytes without a copy.
func TestReadThatWaitsLendsItsBuffer(t *testing.T) {
	both(t, func(t *testing.T, v wire.Version) {
		f := newFake(t, v, false)
		p := make([]byte, 30_000)
		done := testutil.Background(func() (int64, error) {
			n, err := f.stream().Read(p)
			return int64(n), err
		})
		synctest.Wait()
		if q := f.core.Reserve(20_000, false); len(q) == 0 || &q[0] == &p[0] {
			t.Error("a Read's buffer is lent for longer than a moment")
		}
		f.core.Commit(0)
		synctest.Wait()
		q := f.core.Reserve(20_000, true)
		if len(q) != 20_000 || &q[0] != &p[0] {
			t.Fatal("the Read's own buffer was not lent")
		}
		testutil.Pattern(1).Fill(q, 0)
		f.core.Commit(len(q))
		f.core.Wake()
		if r := <-done; r.Value != 20_000 || r.Err != nil {
			t.Errorf("Read = %d, %v", r.Value, r.Err)
		}
		if err := testutil.Pattern(1).Check(p[:20_000], 0); err != nil {
			t.Error(err)
		}
	})
}
