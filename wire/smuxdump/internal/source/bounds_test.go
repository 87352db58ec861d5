package source

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/smuxkit/smuxkit/wire"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// replay hands the packets of a capture to an assembler, all but those that drop names.
func replay(t *testing.T, a *assembler, file []byte, drop func(i int) bool, after func()) {
	t.Helper()
	r, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		data, ci, err := r.ReadPacketData()
		if err != nil {
			return
		}
		if drop != nil && drop(i) {
			continue
		}
		p := gopacket.NewPacket(data, layers.LinkTypeRaw, gopacket.Default)
		a.handle(p.NetworkLayer().NetworkFlow(), p.Layer(layers.LayerTypeTCP).(*layers.TCP), ci)
		after()
	}
}

// frame returns a frame of stream 1.
func frame(cmd wire.Command, payload string) []byte {
	h := wire.Header{Version: wire.V2, Command: cmd, Length: uint16(len(payload)), StreamID: 1}
	return append(h.Append(nil), payload...)
}

// Ten times as many connections as are followed at once are all shown, at the same time or after each other, and the
// bound holds.
func TestConnectionsBeyondTheBoundAreGivenUp(t *testing.T) {
	for _, step := range []time.Duration{0, time.Millisecond} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			var file bytes.Buffer
			w, err := NewWriter(&file)
			if err != nil {
				t.Fatal(err)
			}
			const bound = 50
			now := time.Unix(1e9, 0)
			for n := range 10 * bound {
				c := w.Open(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 10000 + n}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 9000}, now)
				c.Data(conversation.Forward, now, append(frame(wire.SYN, ""), frame(wire.PSH, "x")...))
				now = now.Add(step)
			}
			frames := 0
			a := newAssembler(conversation.NewSet(conversation.Options{Handle: func(e *conversation.Event) {
				if e.Kind == conversation.Frame {
					frames++
				}
			}}), Filter{})
			a.maxConns = bound
			replay(t, a, file.Bytes(), nil, func() {
				if len(a.open) > bound {
					t.Fatalf("%d connections are followed", len(a.open))
				}
			})
			a.close()
			if frames != 20*bound || a.givenUp < 8*bound || len(a.open) != 0 {
				t.Errorf("%d frames, %d given up, %d open; want %d, at least %d, 0", frames, a.givenUp, len(a.open), 20*bound, 8*bound)
			}
		})
	}
}

// Segments that wait for one that was lost take bounded memory. Beyond it, the lost bytes are given up, and frames go on.
func TestSegmentsBehindALossTakeBoundedMemory(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	c := w.Open(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 10000}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 9000}, now)
	c.Data(conversation.Forward, now, frame(wire.SYN, ""))
	const n, bound = 2000, 200
	for range n {
		c.Data(conversation.Forward, now, frame(wire.PSH, strings.Repeat("x", 1000)))
	}
	frames, problems := 0, 0
	a := newAssembler(conversation.NewSet(conversation.Options{Handle: func(e *conversation.Event) {
		switch {
		case e.Kind == conversation.Problem:
			problems++
		case e.Kind == conversation.Frame && e.Header.Command == wire.PSH:
			frames++
		}
	}}), Filter{})
	a.lib.MaxBufferedPagesPerConnection = bound
	replay(t, a, file.Bytes(), func(i int) bool { return i == 4 }, func() {
		var pages int
		fmt.Sscanf(a.lib.Dump(), "pageCache: used: %d", &pages)
		if pages > bound {
			t.Fatalf("%d pages are used", pages)
		}
	})
	a.close()
	if frames != n-1 || problems != 1 {
		t.Errorf("%d frames and %d problems, want %d and 1", frames, problems, n-1)
	}
}

// While the receiver's TCP window is 0, the stream that has sent last is blocked by the transport.
func TestZeroTCPWindowIsAStall(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	c := w.Open(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 10000}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 9000}, now)
	c.Data(conversation.Forward, now, append(frame(wire.SYN, ""), frame(wire.PSH, "x")...))
	c.segment(conversation.Backward, now.Add(time.Second), &layers.TCP{ACK: true}, nil) // gets a window of 0 below
	c.segment(conversation.Backward, now.Add(3*time.Second), &layers.TCP{ACK: true}, nil)
	c.Close(now.Add(4 * time.Second))
	b := file.Bytes()
	n := bytes.LastIndex(b[:len(b)-3*56], []byte{0x50, 0x10, 0xff, 0xff}) // flags and window; three packets of 56 bytes follow it
	b[n+2], b[n+3] = 0, 0
	var stalls []string
	set := conversation.NewSet(conversation.Options{Handle: func(e *conversation.Event) {
		if e.Kind == conversation.Stalled {
			stalls = append(stalls, fmt.Sprintf("%v %d %s", e.Dir, e.Header.StreamID, e.Text))
		}
	}})
	if _, err := Capture(context.Background(), bytes.NewReader(b), set, Filter{}); err != nil {
		t.Fatal(err)
	}
	if want := "> 1 blocked for 2s by the transport: the receiver's TCP window was 0"; len(stalls) != 1 || stalls[0] != want {
		t.Errorf("stalls: %q, want %q", stalls, want)
	}
}

// What is no capture file, or not of TCP, ends without a panic, whatever its bytes are.
func FuzzCapture(f *testing.F) {
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	c := w.Open(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 10000}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 9000}, now)
	c.Data(conversation.Forward, now, append(frame(wire.SYN, ""), frame(wire.PSH, "hello")...))
	c.Data(conversation.Backward, now, append(frame(wire.UPD, "\x05\x00\x00\x00\x00\x00\x04\x00"), frame(wire.FIN, "")...))
	c.Close(now)
	f.Add(file.Bytes())
	var ng bytes.Buffer
	n, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeEthernet)
	if err != nil {
		f.Fatal(err)
	}
	n.Flush()
	f.Add(ng.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		set := conversation.NewSet(conversation.Options{Payloads: true, Keep: 2})
		Capture(context.Background(), bytes.NewReader(b), set, Filter{})
	})
}
