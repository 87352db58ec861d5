package wire_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/smuxkit/smuxkit/wire"
)

// The text of a HeaderError has the fault, the fields and the bytes of the header.
func TestHeaderErrorShowsTheHeader(t *testing.T) {
	tests := []struct {
		header wire.Header
		want   string
	}{
		{
			wire.Header{Version: wire.V1, Command: 9, Length: 512, StreamID: 3},
			"wire: unknown command: v1 Command(9) stream=3 length=512 [0109000203000000]",
		},
		{
			wire.Header{Version: 'G', Command: 'E', Length: 'T' | ' '<<8, StreamID: '/' | ' '<<8 | 'H'<<16 | 'T'<<24},
			"wire: version is neither 1 nor 2: Version(71) Command(69) stream=1414012975 length=8276 [474554202f204854]",
		},
		{
			wire.Header{Version: wire.V2, Command: wire.UPD, Length: 12, StreamID: 4294967295},
			"wire: length of a window update is not 8: v2 UPD stream=4294967295 length=12 [02040c00ffffffff]",
		},
	}
	for _, tt := range tests {
		if got := tt.header.Validate().Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// ErrVersionMismatch is a kind of ErrVersion.
func TestErrVersionMismatchIsAnErrVersion(t *testing.T) {
	err := error(&wire.HeaderError{Header: wire.Header{Version: wire.V2}, Err: wire.ErrVersionMismatch})
	for _, s := range append(sentinels, wire.ErrVersionMismatch) {
		want := s == wire.ErrVersion || s == wire.ErrVersionMismatch
		if got := errors.Is(err, s); got != want {
			t.Errorf("errors.Is(%q, %q) = %v", err, s, got)
		}
	}
	if errors.Is(wire.ErrVersion, wire.ErrVersionMismatch) {
		t.Error("every version error is a mismatch")
	}
}

// Commands and versions have the names of the protocol, or show their number.
func TestStringsAreNamesOfTheProtocol(t *testing.T) {
	tests := []struct {
		value fmt.Stringer
		want  string
	}{
		{wire.V1, "v1"}, {wire.V2, "v2"}, {wire.Version(0), "Version(0)"}, {wire.Version(255), "Version(255)"},
		{wire.SYN, "SYN"}, {wire.FIN, "FIN"}, {wire.PSH, "PSH"}, {wire.NOP, "NOP"}, {wire.UPD, "UPD"},
		{wire.Command(5), "Command(5)"}, {wire.Command(255), "Command(255)"},
	}
	for _, tt := range tests {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
