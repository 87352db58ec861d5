package wire_test

import (
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/wire"
)

// sentinels are all errors of Header.Validate.
var sentinels = []error{
	wire.ErrVersion, wire.ErrCommand, wire.ErrControlData, wire.ErrUpdateLength,
	wire.ErrUpdateVersion, wire.ErrNOPStreamID, wire.ErrZeroStreamID,
}

// goodHeaders are headers that a conforming peer may send, with their bytes.
var goodHeaders = []struct {
	header wire.Header
	bytes  string
}{
	{wire.Header{Version: wire.V1, Command: wire.SYN, StreamID: 1}, "0100000001000000"},
	{wire.Header{Version: wire.V1, Command: wire.FIN, StreamID: 0x01020304}, "0101000004030201"},
	{wire.Header{Version: wire.V1, Command: wire.PSH, Length: 0, StreamID: 3}, "0102000003000000"},
	{wire.Header{Version: wire.V1, Command: wire.PSH, Length: 0x1234, StreamID: 3}, "0102341203000000"},
	{wire.Header{Version: wire.V1, Command: wire.PSH, Length: wire.MaxPayload, StreamID: 1<<32 - 1}, "0102ffffffffffff"},
	{wire.Header{Version: wire.V1, Command: wire.NOP}, "0103000000000000"},
	{wire.Header{Version: wire.V2, Command: wire.SYN, StreamID: 2}, "0200000002000000"},
	{wire.Header{Version: wire.V2, Command: wire.FIN, StreamID: 2}, "0201000002000000"},
	{wire.Header{Version: wire.V2, Command: wire.PSH, Length: 1, StreamID: 2}, "0202010002000000"},
	{wire.Header{Version: wire.V2, Command: wire.NOP}, "0203000000000000"},
	{wire.Header{Version: wire.V2, Command: wire.UPD, Length: 8, StreamID: 3}, "0204080003000000"},
}

// badHeaders are headers that no conforming peer sends. The last ones break several rules, and
// show which one is reported.
var badHeaders = []struct {
	name   string
	header wire.Header
	want   error
}{
	{"version 0", wire.Header{Version: 0, Command: wire.SYN, StreamID: 1}, wire.ErrVersion},
	{"version 3", wire.Header{Version: 3, Command: wire.PSH, Length: 1, StreamID: 1}, wire.ErrVersion},
	{"version 255", wire.Header{Version: 255, Command: wire.NOP}, wire.ErrVersion},
	{"command 5", wire.Header{Version: wire.V1, Command: 5, StreamID: 1}, wire.ErrCommand},
	{"command 255", wire.Header{Version: wire.V2, Command: 255, StreamID: 1}, wire.ErrCommand},
	{"SYN with data", wire.Header{Version: wire.V1, Command: wire.SYN, Length: 1, StreamID: 1}, wire.ErrControlData},
	{"FIN with data", wire.Header{Version: wire.V2, Command: wire.FIN, Length: 65535, StreamID: 1}, wire.ErrControlData},
	{"NOP with data", wire.Header{Version: wire.V1, Command: wire.NOP, Length: 8}, wire.ErrControlData},
	{"UPD of 0", wire.Header{Version: wire.V2, Command: wire.UPD, Length: 0, StreamID: 1}, wire.ErrUpdateLength},
	{"UPD of 7", wire.Header{Version: wire.V2, Command: wire.UPD, Length: 7, StreamID: 1}, wire.ErrUpdateLength},
	{"UPD of 9", wire.Header{Version: wire.V2, Command: wire.UPD, Length: 9, StreamID: 1}, wire.ErrUpdateLength},
	{"UPD of 8 in the high byte", wire.Header{Version: wire.V2, Command: wire.UPD, Length: 8 << 8, StreamID: 1}, wire.ErrUpdateLength},
	{"UPD in version 1", wire.Header{Version: wire.V1, Command: wire.UPD, Length: 8, StreamID: 1}, wire.ErrUpdateVersion},
	{"NOP with id", wire.Header{Version: wire.V1, Command: wire.NOP, StreamID: 1}, wire.ErrNOPStreamID},
	{"NOP with a high id", wire.Header{Version: wire.V2, Command: wire.NOP, StreamID: 1 << 31}, wire.ErrNOPStreamID},
	{"SYN with id 0", wire.Header{Version: wire.V1, Command: wire.SYN}, wire.ErrZeroStreamID},
	{"FIN with id 0", wire.Header{Version: wire.V1, Command: wire.FIN}, wire.ErrZeroStreamID},
	{"PSH with id 0", wire.Header{Version: wire.V2, Command: wire.PSH, Length: 5}, wire.ErrZeroStreamID},
	{"empty PSH with id 0", wire.Header{Version: wire.V1, Command: wire.PSH}, wire.ErrZeroStreamID},
	{"UPD with id 0", wire.Header{Version: wire.V2, Command: wire.UPD, Length: 8}, wire.ErrZeroStreamID},

	{"all zero", wire.Header{}, wire.ErrVersion},
	{"all ones", wire.Header{Version: 255, Command: 255, Length: 65535, StreamID: 1<<32 - 1}, wire.ErrVersion},
	{"command before data and id", wire.Header{Version: wire.V1, Command: 5, Length: 1}, wire.ErrCommand},
	{"update version before its id and length", wire.Header{Version: wire.V1, Command: wire.UPD}, wire.ErrUpdateVersion},
	{"id before data", wire.Header{Version: wire.V1, Command: wire.SYN, Length: 1}, wire.ErrZeroStreamID},
	{"id before update length", wire.Header{Version: wire.V2, Command: wire.UPD, Length: 1}, wire.ErrZeroStreamID},
	{"NOP id before data", wire.Header{Version: wire.V1, Command: wire.NOP, Length: 1, StreamID: 1}, wire.ErrNOPStreamID},
}

// Every valid header has the bytes of the protocol, both ways.
func TestHeaderHasTheBytesOfTheProtocol(t *testing.T) {
	for _, tt := range goodHeaders {
		t.Run(tt.header.String(), func(t *testing.T) {
			b := tt.header.Append(nil)
			if diff := cmp.Diff(tt.bytes, hex.EncodeToString(b)); diff != "" {
				t.Errorf("Append (-want +got):\n%s", diff)
			}
			got, err := wire.ParseHeader(b)
			if err != nil {
				t.Fatalf("ParseHeader: %v", err)
			}
			if diff := cmp.Diff(tt.header, got); diff != "" {
				t.Errorf("ParseHeader (-want +got):\n%s", diff)
			}
			if err := tt.header.Validate(); err != nil {
				t.Errorf("Validate: %v", err)
			}
		})
	}
}

// Append keeps the bytes that are in the slice.
func TestHeaderAppendKeepsTheSlice(t *testing.T) {
	h := wire.Header{Version: wire.V1, Command: wire.SYN, StreamID: 1}
	u := wire.WindowUpdate{Consumed: 1, Window: 2}
	got := string(u.Append(h.Append([]byte("before:"))))
	want := "before:\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// ParseHeader ignores the bytes after the header.
func TestParseHeaderReadsEightBytesOnly(t *testing.T) {
	b := []byte("\x01\x02\x05\x00\x03\x00\x00\x00hello and more")
	got, err := wire.ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	want := wire.Header{Version: wire.V1, Command: wire.PSH, Length: 5, StreamID: 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each rule of the protocol has its own error, which carries the header.
func TestHeaderErrorNamesTheBrokenRule(t *testing.T) {
	for _, tt := range badHeaders {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.ParseHeader(tt.header.Append(nil))
			checkHeaderError(t, err, tt.header, tt.want)
			if diff := cmp.Diff(tt.header, got); diff != "" {
				t.Errorf("header beside the error (-want +got):\n%s", diff)
			}
			checkHeaderError(t, tt.header.Validate(), tt.header, tt.want)
		})
	}
}

// checkHeaderError fails unless err is a *HeaderError of h around want and no
// other sentinel.
func checkHeaderError(t *testing.T, err error, h wire.Header, want error) {
	t.Helper()
	var he *wire.HeaderError
	if !errors.As(err, &he) {
		t.Fatalf("error is %v (%T), want a *HeaderError", err, err)
	}
	if diff := cmp.Diff(h, he.Header); diff != "" {
		t.Errorf("header in the error (-want +got):\n%s", diff)
	}
	for _, s := range sentinels {
		if got := errors.Is(err, s); got != (s == want) {
			t.Errorf("errors.Is(%q, %q) = %v", err, s, got)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q looks like an end of input", err)
	}
}

// A header that is cut short is an end of input.
func TestParseHeaderOfAShortInput(t *testing.T) {
	full := wire.Header{Version: wire.V1, Command: wire.PSH, Length: 5, StreamID: 3}.Append(nil)
	for n := range full {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if h, err := wire.ParseHeader(full[:n]); err != want || h != (wire.Header{}) {
			t.Errorf("%d bytes: %v, %v; want the zero Header and %v", n, h, err, want)
		}
	}
	if _, err := wire.ParseHeader(nil); err != io.EOF {
		t.Errorf("nil: %v, want io.EOF", err)
	}
}

// Validate, and the short cut in ParseHeader, agree with another implementation of the rules.
func TestHeaderValidateMatchesTheRules(t *testing.T) {
	buf := make([]byte, 0, wire.HeaderSize)
	for _, version := range []uint8{0, 1, 2, 3, 4, 127, 128, 129, 254, 255} {
		for command := range 256 {
			for _, length := range []uint16{0, 1, 7, 8, 9, 256, 0x0800, 32760, 65535} {
				for _, id := range []uint32{0, 1, 2, 255, 256, 1 << 16, 1 << 24, 1 << 31, 1<<32 - 1} {
					h := wire.Header{Version: wire.Version(version), Command: wire.Command(command), Length: length, StreamID: id}
					want := legal(h)
					if err := h.Validate(); (err == nil) != want {
						t.Fatalf("Validate(%v) = %v", h, err)
					}
					got, err := wire.ParseHeader(h.Append(buf))
					if (err == nil) != want || got != h {
						t.Fatalf("ParseHeader of %v = %v, %v", h, got, err)
					}
				}
			}
		}
	}
}

// rules is the table of commands in the protocol's description.
var rules = [...]struct {
	versions string
	stream   bool
	min, max uint16
}{
	0: {"\x01\x02", true, 0, 0},
	1: {"\x01\x02", true, 0, 0},
	2: {"\x01\x02", true, 0, 65535},
	3: {"\x01\x02", false, 0, 0},
	4: {"\x02", true, 8, 8},
}

// legal is another implementation of Header.Validate.
func legal(h wire.Header) bool {
	if int(h.Command) >= len(rules) {
		return false
	}
	r := rules[h.Command]
	return strings.IndexByte(r.versions, byte(h.Version)) >= 0 && (h.StreamID != 0) == r.stream &&
		h.Length >= r.min && h.Length <= r.max
}
