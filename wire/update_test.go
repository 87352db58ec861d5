package wire_test

import (
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/wire"
)

// A window update has the bytes of the protocol, both ways.
func TestWindowUpdateHasTheBytesOfTheProtocol(t *testing.T) {
	tests := []struct {
		update wire.WindowUpdate
		bytes  string
	}{
		{wire.WindowUpdate{}, "0000000000000000"},
		{wire.WindowUpdate{Consumed: 0x01020304, Window: 0x05060708}, "0403020108070605"},
		{wire.WindowUpdate{Consumed: 0, Window: 262144}, "0000000000000400"},
		{wire.WindowUpdate{Consumed: 1<<32 - 1, Window: 1<<32 - 1}, "ffffffffffffffff"},
	}
	for _, tt := range tests {
		b := tt.update.Append(nil)
		if diff := cmp.Diff(tt.bytes, hex.EncodeToString(b)); diff != "" {
			t.Errorf("%+v: Append (-want +got):\n%s", tt.update, diff)
		}
		got, err := wire.ParseWindowUpdate(b)
		if err != nil {
			t.Errorf("ParseWindowUpdate: %v", err)
		}
		if diff := cmp.Diff(tt.update, got); diff != "" {
			t.Errorf("ParseWindowUpdate (-want +got):\n%s", diff)
		}
	}
}

// A window update of another length is refused.
func TestParseWindowUpdateOfAnotherLength(t *testing.T) {
	for n := range 20 {
		var want error
		switch {
		case n < wire.UpdateSize:
			want = io.ErrUnexpectedEOF
		case n > wire.UpdateSize:
			want = wire.ErrUpdateLength
		}
		if _, err := wire.ParseWindowUpdate(make([]byte, n)); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", n, err, want)
		}
	}
}
