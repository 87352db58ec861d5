package wire_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/wire"
)

// writes is a writer that records the bytes of each Write.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

// An Encoder writes each frame with one Write, and a Decoder reads the same frames.
func TestEncoderWritesEachFrameAtOnce(t *testing.T) {
	var got writes
	e := wire.NewEncoder(&got)
	var want writes
	for _, f := range conversation {
		if err := e.Encode(f.Header, []byte(f.Payload)); err != nil {
			t.Fatal(err)
		}
		want = append(want, string(f.append(nil)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if e.Version() != wire.V2 {
		t.Errorf("Version = %v, want v2", e.Version())
	}
	frames, err := decodeAll(wire.NewDecoder(strings.NewReader(strings.Join(got, ""))))
	if diff := cmp.Diff(conversation, frames); diff != "" || err != io.EOF {
		t.Errorf("decoded again: error %v, frames (-want +got):\n%s", err, diff)
	}
}

// An Encoder writes no frame that a Decoder would refuse.
func TestEncoderRefusesWhatADecoderRefuses(t *testing.T) {
	var got writes
	e := wire.NewEncoder(&got)
	for _, tt := range badHeaders {
		checkHeaderError(t, e.Encode(tt.header, make([]byte, tt.header.Length)), tt.header, tt.want)
	}
	lengths := []struct{ header, payload int }{
		{0, 1}, {1, 0}, {5, 4}, {5, 6}, {65535, 65534},
		{65535, 65536}, {0, 65536}, {5, 65536 + 5}, // as a conversion to uint16 would cut them
	}
	for _, l := range lengths {
		h := wire.Header{Version: wire.V1, Command: wire.PSH, Length: uint16(l.header), StreamID: 1}
		err := e.Encode(h, make([]byte, l.payload))
		checkHeaderError(t, err, h, nil)
		if !errors.Is(err, wire.ErrPayloadLength) {
			t.Errorf("header %d, payload %d: %v, want ErrPayloadLength", l.header, l.payload, err)
		}
	}
	err := e.Encode(upd(1, 2, 3).Header, make([]byte, 7))
	if !errors.Is(err, wire.ErrPayloadLength) {
		t.Errorf("UPD of 7 bytes: %v, want ErrPayloadLength", err)
	}
	if len(got) != 0 || e.Version() != 0 {
		t.Errorf("%d writes, version %v", len(got), e.Version())
	}
	// The encoder can still be used.
	if err := e.Encode(control(wire.V1, wire.NOP, 0).Header, nil); err != nil || len(got) != 1 {
		t.Errorf("%v, %d writes; want one", err, len(got))
	}
}

// Encode does not change the payload.
func TestEncoderLeavesThePayloadAlone(t *testing.T) {
	payload := []byte("hello, world")
	if err := wire.NewEncoder(io.Discard).Encode(psh(wire.V1, 1, "hello").Header, payload[:5]); err != nil {
		t.Fatal(err)
	}
	if string(payload) != "hello, world" {
		t.Errorf("payload is %q", payload)
	}
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// After a frame was written in part every call returns the error.
func TestEncoderPartialWriteIsFinal(t *testing.T) {
	cause := errors.New("line cut")
	tests := []struct {
		name  string
		n     int
		err   error
		want  error // nil: one that says that the count is wrong
		final bool
	}{
		{"nothing, with an error", 0, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, false},
		{"nothing, without an error", 0, nil, io.ErrShortWrite, false},
		{"a part, with an error", 3, cause, cause, true},
		{"a part, without an error", 12, nil, io.ErrShortWrite, true},
		{"all, with an error", 13, cause, cause, true},
		{"an impossible count", 14, nil, nil, true},
		{"a negative count", -1, nil, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fail, calls := true, 0
			e := wire.NewEncoder(writerFunc(func(p []byte) (int, error) {
				calls++
				if fail {
					return tt.n, tt.err
				}
				return len(p), nil
			}))
			f := psh(wire.V1, 1, "hello")
			first := e.Encode(f.Header, []byte(f.Payload))
			if first == nil || tt.want != nil && first != tt.want || tt.want == nil && first == io.ErrShortWrite {
				t.Fatalf("error is %v, want %v", first, tt.want)
			}
			fail = false
			again := e.Encode(f.Header, []byte(f.Payload))
			switch {
			case tt.final && (again != first || calls != 1):
				t.Errorf("after it: %v with %d writes, want the same error and no write", again, calls)
			case !tt.final && (again != nil || calls != 2):
				t.Errorf("after it: %v with %d writes, want the frame written", again, calls)
			}
			var got writes
			e.Reset(&got)
			if err := e.Encode(upd(1, 2, 3).Header, make([]byte, 8)); err != nil || len(got) != 1 {
				t.Errorf("after Reset: %v, %d writes", err, len(got))
			}
		})
	}
}
