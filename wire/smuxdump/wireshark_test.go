package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	"github.com/smuxkit/smuxkit/wire"
)

// tshark runs tshark with wire/smux.lua over a capture, and returns what it prints.
func tshark(t *testing.T, capture []byte, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed, so wire/smux.lua is NOT tested")
	}
	file := filepath.Join(t.TempDir(), "capture.pcap")
	must(t, os.WriteFile(file, capture, 0o644)) // tshark may run as another user
	script, err := filepath.Abs("../smux.lua")
	must(t, err)
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-X", "lua_script:" + script, "-n", "-r", file}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // no settings of the user
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || strings.Contains(errs.String(), "Lua") {
		t.Fatalf("tshark: %v: %s", err, &errs)
	}
	return out.String()
}

// decodeAs has tshark take port 9000 for smux.
var decodeAs = []string{"-d", "tcp.port==9000,smuxkit"}

// columns returns the first column of each field, of each packet that has smux.
func columns(t *testing.T, capture []byte, fields ...string) string {
	t.Helper()
	args := append([]string{"-Y", "smuxkit", "-T", "fields", "-E", "separator=;"}, decodeAs...)
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	return tshark(t, capture, args...)
}

// Wireshark shows what real peers send in the same frames as smuxdump, put together from TCP's segments.
func TestDissectorShowsRealPeers(t *testing.T) {
	for i, p := range peers {
		name := fmt.Sprintf("%s-v%d", p.name, p.version)
		t.Run(name, func(t *testing.T) {
			_, capture := record(t, i)
			text, _, _ := dumped(capture, "-time", "none")
			var want []string
			for line := range strings.Lines(text) {
				if words := strings.Fields(line); len(words) > 2 && strings.Contains("SYN FIN PSH NOP UPD", words[2]) {
					want = append(want, strings.TrimSuffix(words[2], ","))
				}
			}
			names := map[string]string{"0": "SYN", "1": "FIN", "2": "PSH", "3": "NOP", "4": "UPD"}
			var got []string
			for _, command := range strings.FieldsFunc(columns(t, capture, "smuxkit.command"), func(r rune) bool { return r == ',' || r == '\n' }) {
				got = append(got, names[command])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-smuxdump +tshark):\n%s", diff)
			}
			// 6291456 is a warning; above are errors.
			if found := tshark(t, capture, append([]string{"-Y", "smuxkit && _ws.expert.severity >= 6291456"}, decodeAs...)...); found != "" {
				t.Errorf("violations of a real peer:\n%s", found)
			}
			golden(t, name+".tshark.txt", tshark(t, capture, append([]string{"-Y", "smuxkit", "-o", `gui.column.format:"Info","%i"`}, decodeAs...)...))
		})
	}
}

// Each violation has its expert info.
func TestDissectorMarksViolations(t *testing.T) {
	for name, test := range map[string]struct {
		frames []byte
		answer bool // the frames are the server's
	}{
		"version":    {[]byte{7, 0, 0, 0, 1, 0, 0, 0}, false},
		"mismatch":   {frameOf(wire.V1, wire.PSH, 1, "x"), false},
		"command":    {frame(9, 1, ""), false},
		"control":    {frame(wire.SYN, 3, "abc"), false},
		"updlength":  {frame(wire.UPD, 1, "abc"), false},
		"updversion": {frameOf(wire.V1, wire.UPD, 1, "12345678"), false},
		"nopid":      {frame(wire.NOP, 3, ""), false},
		"zeroid":     {psh(0, "x"), false},
		"parity":     {syn(3), true},
		"inuse":      {syn(1), false},
		"consumed":   {upd(1, 65541, 262144), true},
		"afterfin":   {join(fin(1), psh(1, "x")), false},
		"overrun":    {join(bytes.Repeat(psh(1, strings.Repeat("x", 60_000)), 5)), false},
		"refusal":    {join(psh(3, ""), psh(3, ""), fin(3), fin(3)), true},
		"signal":     {fin(0xffffffff), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			c := s.connect(1)
			c.frames(toServer, syn(1), psh(1, "hello"))
			c.frames(toServer, syn(3)[:8])
			if name == "control" || name == "parity" {
				c.frames(toServer, fin(3), fin(3))
			}
			d := toServer
			if test.answer {
				d = toClient
			}
			c.send(d, test.frames)
			c.close()
			got := tshark(t, raw(t, s.packets()), append([]string{"-Y", "smuxkit.expert." + name}, decodeAs...)...)
			if strings.Count(got, "\n") != 1 {
				t.Errorf("packets with the expert info:\n%s", got)
			}
		})
	}
}

// A stream of one connection can be filtered, and fields have the values of the frames.
func TestDissectorFieldsSelectStreams(t *testing.T) {
	s := newScript(t)
	a, b := s.connect(1), s.connect(2)
	for _, c := range []*scriptConn{a, b} {
		c.frames(toServer, syn(1), psh(1, "one"))
		c.frames(toServer, syn(3), psh(3, "three"))
		c.frames(toClient, upd(3, 5, 1000))
		c.close()
	}
	capture := raw(t, s.packets())
	got := tshark(t, capture, append([]string{"-Y", "smuxkit.stream == 3 && tcp.stream == 1", "-T", "fields", "-E", "separator=;",
		"-e", "smuxkit.version", "-e", "smuxkit.length", "-e", "smuxkit.data", "-e", "smuxkit.upd.consumed", "-e", "smuxkit.upd.window"}, decodeAs...)...)
	if want := "2,2;0,5;7468726565;;\n2;8;;5;1000\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Without "decode as", the heuristic finds a session on any port, and takes nothing else for one.
func TestDissectorFindsSessionsItself(t *testing.T) {
	s := newScript(t)
	hello(s.connect(1))
	other := s.connect(2)
	other.send(toServer, []byte("GET / HTTP/1.1\r\n\r\n"))
	other.send(toClient, []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
	capture := pcap(t, layers.LinkTypeEthernet, links["ethernet"].wrap, s.packets())
	got := tshark(t, capture, "--enable-heuristic", "smuxkit_tcp", "-Y", "smuxkit", "-T", "fields", "-e", "tcp.stream")
	if strings.ReplaceAll(got, "0\n", "") != "" || strings.Count(got, "0\n") != 4 {
		t.Errorf("packets of smux, by connection: %q", got)
	}
}
