package testutil

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/smuxkit/smuxkit/wire"
)

// Frames are encoded as docs/protocol.md says, and print in one line.
func TestFrameEncoding(t *testing.T) {
	for _, c := range []struct {
		frame Frame
		bytes string
		text  string
	}{
		{SYN(1, 3), "\x01\x00\x00\x00\x03\x00\x00\x00", "v1 SYN stream=3 length=0"},
		{FIN(2, 2), "\x02\x01\x00\x00\x02\x00\x00\x00", "v2 FIN stream=2 length=0"},
		{PSH(1, 5, []byte("hi")), "\x01\x02\x02\x00\x05\x00\x00\x00hi", `v1 PSH stream=5 length=2 "hi"`},
		{PSH(1, 5, []byte{}), "\x01\x02\x00\x00\x05\x00\x00\x00", "v1 PSH stream=5 length=0"},
		{
			PSH(1, 5, []byte("more than sixteen bytes")),
			"\x01\x02\x17\x00\x05\x00\x00\x00more than sixteen bytes",
			`v1 PSH stream=5 length=23 "more than sixtee"...`,
		},
		{NOP(1), "\x01\x03\x00\x00\x00\x00\x00\x00", "v1 NOP stream=0 length=0"},
		{
			UPD(2, 1, 10, 262144),
			"\x02\x04\x08\x00\x01\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x04\x00",
			`v2 UPD stream=1 length=8 "\n\x00\x00\x00\x00\x00\x04\x00"`,
		},
		{
			Frame{Header: wire.Header{Version: 9, Command: 8, Length: 7, StreamID: 6}},
			"\x09\x08\x07\x00\x06\x00\x00\x00", "Version(9) Command(8) stream=6 length=7",
		},
	} {
		if diff := cmp.Diff(c.bytes, string(c.frame.Append(nil))); diff != "" {
			t.Errorf("%v (-want +got)\n%s", c.frame, diff)
		}
		if diff := cmp.Diff(c.text, c.frame.String()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if got := UPD(2, 1, 10, 20).Update(); got != (wire.WindowUpdate{Consumed: 10, Window: 20}) {
		t.Errorf("Update = %+v", got)
	}
}

// A frame that cannot exist panics.
func TestFrameThatCannotBePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"data of 65,536 bytes":    func() { PSH(1, 3, make([]byte, wire.MaxPayload+1)) },
		"the update of a NOP":     func() { NOP(1).Update() },
		"the update of a PSH":     func() { PSH(2, 1, make([]byte, 8)).Update() },
		"an update cut too short": func() { Frame{Header: wire.Header{Version: 2, Command: wire.UPD}}.Update() },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
