package simnet_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// A Read returns bytes of one message, and a message that is too long is refused.
func TestMessagesKeepTheirBounds(t *testing.T) {
	a, b := simnet.Pair(simnet.Link{})
	defer a.Close()
	defer b.Close()
	var logged [][]byte
	x := simnet.Messages(a, 10, func(p []byte) { logged = append(logged, bytes.Clone(p)) })
	y := simnet.Messages(b, 10, nil)
	for _, p := range []string{"0123456789", "abc"} {
		if n, err := x.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := x.Write(make([]byte, 11)); n != 0 || !errors.Is(err, simnet.ErrMessageTooLong) {
		t.Errorf("11 bytes of 10: %d, %v", n, err)
	}
	for _, want := range []string{"0123", "456789", "abc"} {
		buf := make([]byte, 100)
		if want == "0123" {
			buf = buf[:4]
		}
		if n, err := y.Read(buf); string(buf[:n]) != want || err != nil {
			t.Errorf("Read: %q, %v, want %q", buf[:n], err, want)
		}
	}
	if len(logged) != 2 || string(logged[1]) != "abc" {
		t.Errorf("logged %q", logged)
	}
}
