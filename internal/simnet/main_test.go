package simnet_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// On js/wasm, the runtime has a goroutine of its own for events.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent"))
}

const ms = time.Millisecond

// pair returns a pair that is closed when the test ends.
func pair(t *testing.T, l simnet.Link) (a, b *simnet.Conn) {
	t.Helper()
	a, b = simnet.Pair(l)
	t.Cleanup(func() {
		_ = a.Close() // the test may have closed it
		_ = b.Close()
	})
	return a, b
}

// count returns n bytes that count from 0 to 250 and again.
func count(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func mustWrite(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if n, err := w.Write(b); n != len(b) || err != nil {
		t.Fatalf("Write of %d bytes = %d, %v", len(b), n, err)
	}
}

func mustRead(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read other bytes than were written")
	}
}
