package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/smuxkit/smuxkit/wire"
)

const helloText = `#1   10.0.0.1:40001 > 10.0.0.2:9000
#1 > SYN stream 1
#1 > PSH stream 1, length 5, room 262139
#1 < UPD stream 1, consumed 5, window 262144, room 262144
#1 < PSH stream 1, length 5, room 262139
#1 > FIN stream 1
#1 < FIN stream 1: closed after 3ms, > 5 bytes, < 5 bytes
#1   end
`

// expect dumps the capture without times, and compares what is printed and the exit code.
func expect(t *testing.T, capture []byte, want string, wantCode int) {
	t.Helper()
	got, stderr, code := dumped(capture, "-time", "none")
	if diff := cmp.Diff(want, got); diff != "" || code != wantCode {
		t.Errorf("exit code %d, want %d; stderr: %s(-want +got):\n%s", code, wantCode, stderr, diff)
	}
}

func helloPackets(t *testing.T) []packet {
	s := newScript(t)
	hello(s.connect(1))
	return s.packets()
}

// Frames are found below each link layer that a capture of TCP has, with IPv4 and IPv6.
func TestCaptureOfEachLinkLayerIsRead(t *testing.T) {
	v6 := newScript(t)
	hello(v6.connectAddrs(&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 40001}, &net.TCPAddr{IP: net.ParseIP("2001:db8::2"), Port: 9000}))
	v6Text := strings.Replace(helloText, "10.0.0.1:40001 > 10.0.0.2:9000", "[2001:db8::1]:40001 > [2001:db8::2]:9000", 1)
	for name, l := range links {
		t.Run(name, func(t *testing.T) {
			expect(t, pcap(t, l.link, l.wrap, helloPackets(t)), helloText, 0)
			expect(t, pcap(t, l.link, l.wrap, v6.packets()), v6Text, 0)
		})
	}
	expect(t, pcap(t, layers.LinkTypeIPv4, nil, helloPackets(t)), helloText, 0)
	expect(t, pcap(t, layers.LinkTypeIPv6, nil, v6.packets()), v6Text, 0)
}

// A pcapng file may have interfaces with different link layers; a file may be compressed.
func TestPcapngAndGzipAreRead(t *testing.T) {
	var file bytes.Buffer
	w, err := pcapgo.NewNgWriter(&file, layers.LinkTypeEthernet)
	must(t, err)
	second, err := w.AddInterface(pcapgo.NgInterface{LinkType: layers.LinkTypeRaw, SnapLength: 65536})
	must(t, err)
	for i, p := range helloPackets(t) {
		ci, data := gopacket.CaptureInfo{Timestamp: p.time}, p.ip
		if i%2 == 0 {
			ci.InterfaceIndex = second
		} else {
			data = links["ethernet"].wrap(data)
		}
		ci.CaptureLength, ci.Length = len(data), len(data)
		must(t, w.WritePacket(ci, data))
	}
	must(t, w.Flush())
	expect(t, file.Bytes(), helloText, 0)

	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(file.Bytes())
	must(t, z.Close())
	expect(t, zipped.Bytes(), helloText, 0)

	got, stderr, code := dumped(file.Bytes()[:file.Len()-20], "-time", "none")
	if code != 1 || !strings.Contains(stderr, "the file is cut") || !strings.HasPrefix(helloText, got[:100]) {
		t.Errorf("cut: exit code %d, %s%s", code, stderr, got)
	}
}

// A capture that is cut shows what came before the cut, says so, and the exit code is 1.
func TestCutCaptureSaysSo(t *testing.T) {
	packets := helloPackets(t)
	whole := raw(t, packets)
	ends := map[int]bool{} // where packets end: nothing tells that more should follow
	at := 24
	for _, p := range packets {
		at += 16 + len(p.ip)
		ends[at] = true
	}
	for cut := 0; cut < len(whole); cut += 5 {
		got, stderr, code := dumped(whole[:cut], "-time", "none")
		if !ends[cut] && (code != 1 || stderr == "") {
			t.Fatalf("cut at %d of %d: exit code %d, %q", cut, len(whole), code, stderr)
		}
		if !ends[cut] && cut > 24 && !strings.Contains(stderr, "the file is cut: it ends within packet") {
			t.Fatalf("cut at %d: %s", cut, stderr)
		}
		if !strings.HasPrefix(helloText, strings.TrimSuffix(got, "#1   end\n")) {
			t.Fatalf("cut at %d: %s", cut, got)
		}
	}
}

// Segments that come twice or in another order change nothing.
func TestReorderedAndRepeatedSegmentsChangeNothing(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, syn(1))
	data := strings.Repeat("0123456789", 1000)
	for range 5 {
		c.frames(toServer, psh(1, data))
	}
	c.frames(toClient, upd(1, 50_000, 262144))
	c.frames(toServer, fin(1))
	c.frames(toClient, fin(1))
	c.close()
	packets := s.packets()
	want, _, code := dumped(raw(t, packets), "-time", "none")
	if code != 0 || strings.Count(want, "PSH stream 1, length 10000") != 5 {
		t.Fatalf("exit code %d: %s", code, want)
	}
	// The segments of data are swapped in pairs, and each of them comes twice.
	times := make([]time.Time, 0, len(packets))
	changed := slices.Clone(packets[:4])
	for i := 4; i < 38; i += 2 {
		changed = append(changed, packets[i+1], packets[i], packets[i+1], packets[i])
	}
	changed = append(changed, packets[38:]...)
	for i := range changed {
		times = append(times, start.Add(time.Duration(i)*time.Millisecond))
		changed[i].time = times[i]
	}
	got, _, code := dumped(raw(t, changed), "-time", "none")
	if diff := cmp.Diff(dropTook(want), dropTook(got)); diff != "" || code != 0 {
		t.Errorf("exit code %d (-want +got):\n%s", code, diff)
	}
	summary, _, _ := dumped(raw(t, changed), "-summary")
	if !strings.Contains(summary, "segments sent again") {
		t.Errorf("the summary does not count segments that came twice:\n%s", summary)
	}
}

// dropTook drops times from the text.
func dropTook(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, ", took")
		line, _, _ = strings.Cut(line, " after")
		out = append(out, strings.TrimRight(line, "\n"))
	}
	return strings.Join(out, "\n")
}

// without returns the packets but those with the numbers.
func without(packets []packet, numbers ...int) []packet {
	var left []packet
	for i, p := range packets {
		if !slices.Contains(numbers, i) {
			left = append(left, p)
		}
	}
	return left
}

// If bytes of a payload are lost, the rest is decoded, because where the payload ends is known.
func TestLossWithinAPayloadIsPassedOver(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, syn(1))
	c.frames(toServer, psh(1, strings.Repeat("x", 10_000)), psh(1, "after"))
	c.frames(toServer, fin(1))
	c.close()
	expect(t, raw(t, without(s.packets(), 6, 7)), `#1   10.0.0.1:40001 > 10.0.0.2:9000
#1 > SYN stream 1
#1 > PROBLEM: 2800 bytes are missing in the data of stream 1
#1 > PSH stream 1, length 10000, room 252144, 2800 bytes of it are missing
#1 > PSH stream 1, length 5, room 252139
#1 > FIN stream 1
#1   end
`, 1)
}

// If headers are lost, decoding goes on where frames are found again, and no stream's bytes count as known.
func TestLossOfHeadersIsResynchronized(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, syn(1), psh(1, strings.Repeat("x", 3000)), psh(1, strings.Repeat("y", 3000)))
	c.frames(toServer, psh(1, strings.Repeat("z", 100)), psh(1, "a"), syn(3), psh(3, "b"))
	c.close()
	// Packets 3 to 7 have the first two frames of data. The third of them is lost, with the header of the second frame.
	expect(t, raw(t, without(s.packets(), 5)), `#1   10.0.0.1:40001 > 10.0.0.2:9000
#1 > SYN stream 1
#1 > PROBLEM: 1400 bytes are missing from byte 2800 on, within a PSH of stream 1, of which 2784 of 3000 bytes have arrived; searching for the next frame
#1 > note: bytes are missing: frames from byte 6024 on, 1824 bytes before it are not decoded
#1 > PSH stream 1, length 100
#1 > PSH stream 1, length 1
#1 > SYN stream 3
#1 > PSH stream 3, length 1, room 262143
#1   end
`, 1)
}

// A capture that begins in the middle of a connection is decoded from the first frame that is found.
func TestCaptureFromTheMiddleIsResynchronized(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, syn(1), psh(1, strings.Repeat("x", 5000)))
	c.frames(toServer, psh(1, "one"))
	c.frames(toServer, psh(1, "two"))
	c.frames(toClient, upd(1, 5006, 262144))
	c.frames(toClient, psh(1, "answer"))
	c.frames(toClient, fin(1))
	c.frames(toServer, fin(1))
	c.close()
	packets := s.packets()[5:] // the first frame is cut
	expect(t, raw(t, packets), `#1   10.0.0.1:40001 > 10.0.0.2:9000
#1 < note: the capture begins in the middle of the connection: frames from byte 0 on, 0 bytes before it are not decoded
#1 < UPD stream 1, consumed 5006, window 262144: its SYN was not seen
#1 < PSH stream 1, length 6
#1 < FIN stream 1
#1 > note: the capture begins in the middle of the connection: frames from byte 2216 on, 2216 bytes before it are not decoded
#1 > PSH stream 1, length 3
#1 > PSH stream 1, length 3
#1 > FIN stream 1: closed after 1ms, > 6 bytes, < 6 bytes
#1   end
`, 0)
}

// What was lost from the capture alone is no violation of the peers: an update for data that was not seen, and data that
// a lost update has allowed.
func TestLossFromTheCaptureIsNoViolation(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, syn(1), psh(1, "seen"))
	c.frames(toServer, psh(1, "lost")) // packet 4
	c.frames(toClient, upd(1, 8, 262144), psh(1, "answer"))
	c.frames(toServer, psh(1, "three"), psh(1, "frames"), psh(1, "follow"))
	c.close()
	expect(t, raw(t, without(s.packets(), 4)), `#1   10.0.0.1:40001 > 10.0.0.2:9000
#1 > SYN stream 1
#1 > PSH stream 1, length 4, room 262140
#1 < UPD stream 1, consumed 8, window 262144, room 262140
#1 < PSH stream 1, length 6
#1 > PROBLEM: 12 bytes are missing from byte 20 on, between two frames; searching for the next frame
#1 > note: bytes are missing: frames from byte 32 on, 0 bytes before it are not decoded
#1 > PSH stream 1, length 5
#1 > PSH stream 1, length 6
#1 > PSH stream 1, length 6
#1   end
`, 1)

	s = newScript(t)
	c = s.connect(1)
	c.frames(toServer, syn(1))
	for range 4 {
		c.frames(toServer, psh(1, strings.Repeat("x", 60_000)))
	}
	n := len(s.packets())
	c.frames(toClient, upd(1, 240_000, 262144)) // lost
	c.frames(toServer, psh(1, strings.Repeat("x", 60_000)))
	c.frames(toClient, upd(1, 300_000, 262144), psh(1, "a"), psh(1, "b"))
	c.frames(toServer, psh(1, "last"))
	c.close()
	got, _, _ := dumped(raw(t, without(s.packets(), n)), "-time", "none")
	if strings.Contains(got, "beyond the window") || strings.Contains(got, "room -") || !strings.Contains(got, "consumed 300000, window 262144, room 262140") {
		t.Errorf("a lost update:\n%s", got)
	}
}

// Connections in one capture are told apart, and -conn, -stream and -port select.
func TestConnectionsAreToldApart(t *testing.T) {
	s := newScript(t)
	a, b := s.connect(1), s.connect(2)
	a.frames(toServer, syn(1), psh(1, "a"))
	b.frames(toServer, syn(1), syn(3), psh(3, "b"))
	a.close()
	b.close()
	capture := raw(t, s.packets())
	for _, test := range []struct {
		args string
		want string
	}{
		{"", "#1   #1 > SYN #1 > PSH #2   #2 > SYN #2 > SYN #2 > PSH #1   #2   "},
		{"-conn 2", "#2   #2 > SYN #2 > SYN #2 > PSH #2   "},
		{"-stream 3", "#1   #2   #2 > SYN #2 > PSH #1   #2   "},
		{"-port 40002", "#1   #1 > SYN #1 > SYN #1 > PSH #1   "},
		{"-port 9000 -conn 2 -stream 1", "#2   #2 > SYN #2   "},
	} {
		got, _, code := dumped(capture, append(strings.Fields(test.args), "-time", "none")...)
		var short strings.Builder
		for line := range strings.Lines(got) {
			switch {
			case strings.Contains(line, " SYN"):
				short.WriteString(line[:5] + "SYN ")
			case strings.Contains(line, " PSH"):
				short.WriteString(line[:5] + "PSH ")
			default:
				short.WriteString(line[:5])
			}
		}
		if short.String() != test.want || code != 0 {
			t.Errorf("%s: exit code %d, %q, want %q", test.args, code, short.String(), test.want)
		}
	}
}

// What is no smux is named, and what is no capture, too.
func TestWhatIsNotSmuxSaysSo(t *testing.T) {
	tls := newScript(t)
	c := tls.connect(1)
	c.send(toServer, []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
	c.send(toClient, []byte("\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"))
	c.close()
	expect(t, raw(t, tls.packets()), `#1   10.0.0.1:40001 > 10.0.0.2:9000
#1 > note: not smux: it begins with 1603010200010001fc0303 (TLS: capture above it, or use -listen behind it)
#1   end
`, 1)
	both := newScript(t)
	both.connect(2).send(toServer, []byte("SSH-2.0-OpenSSH_9.9\r\n"))
	hello(both.connect(1))
	if got, _, code := dumped(raw(t, both.packets())); code != 0 || !strings.Contains(got, "(SSH)") {
		t.Errorf("beside a connection that is smux: exit code %d\n%s", code, got)
	}
	for name, test := range map[string]struct{ input, want string }{
		"empty":      {"", "the file is empty"},
		"text":       {"hello, world", "-raw"},
		"nothing":    {string(raw(t, nil)), "no TCP in 0 packets"},
		"no frames":  {string(raw(t, helloPackets(t)[:3])), "no frames were found"},
		"other link": {string(pcap(t, layers.LinkTypePFLog, nil, helloPackets(t))), "link type"},
	} {
		if _, stderr, code := dumped([]byte(test.input)); code != 1 || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: exit code %d, %q, want %q", name, code, stderr, test.want)
		}
	}
}

// Packets that were captured in part are counted, and their missing bytes are told.
func TestPacketsCapturedInPartAreTold(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, syn(1), psh(1, strings.Repeat("x", 1000)))
	c.frames(toServer, psh(1, "next"))
	c.close()
	packets := s.packets()
	packets[3].cut = 500
	got, stderr, code := dumped(raw(t, packets), "-time", "none")
	if code != 1 || !strings.Contains(stderr, "1 packets were captured only in part") ||
		!strings.Contains(got, "PROBLEM: 500 bytes are missing in the data of stream 1") || !strings.Contains(got, "PSH stream 1, length 4") {
		t.Errorf("exit code %d, %s%s", code, stderr, got)
	}
}

// Each version's PSH is shown; version 1 has no window.
func TestVersion1HasNoWindow(t *testing.T) {
	s := newScript(t)
	c := s.connect(1)
	c.frames(toServer, frameOf(wire.V1, wire.SYN, 1, ""), frameOf(wire.V1, wire.PSH, 1, "x"))
	c.close()
	expect(t, raw(t, s.packets()), fmt.Sprintf("#1   %v > %v\n#1 > SYN stream 1\n#1 > PSH stream 1, length 1\n#1   end\n", "10.0.0.1:40001", "10.0.0.2:9000"), 0)
}
