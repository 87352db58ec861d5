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
			for line := range strings.Lines(columns(t, capture, "smuxkit.command", "_ws.expert.severity")) {
				frames, severities, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ";")
				for command := range strings.SplitSeq(frames, ",") {
					got = append(got, names[command])
				}
				// 6291456 is a warning, 8388608 an error.
				if strings.Contains(severities, "6291456") || strings.Contains(severities, "8388608") {
					t.Errorf("a real peer's packet has a warning: %s", line)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-smuxdump +tshark):\n%s", diff)
			}
			golden(t, name+".tshark.txt", tshark(t, capture, append([]string{"-Y", "smuxkit", "-o", `gui.column.format:"Info","%i"`}, decodeAs...)...))
		})
	}
}

// Each violation has its expert info, and no other frame has it.
func TestDissectorMarksViolations(t *testing.T) {
	violations := []struct {
		name   string
		frames []byte
		answer bool // the frames are the server's
	}{
		{"version", []byte{7, 0, 0, 0, 1, 0, 0, 0}, false},
		{"mismatch", frameOf(wire.V1, wire.PSH, 1, "x"), false},
		{"command", frame(9, 1, ""), false},
		{"control", frame(wire.SYN, 5, "abc"), false},
		{"updlength", frame(wire.UPD, 1, "abc"), false},
		{"updversion", frameOf(wire.V1, wire.UPD, 1, "12345678"), false},
		{"nopid", frame(wire.NOP, 3, ""), false},
		{"zeroid", psh(0, "x"), false},
		{"parity", syn(5), true},
		{"inuse", syn(1), false},
		{"consumed", upd(1, 65541, 262144), true},
		{"afterfin", join(fin(1), psh(1, "x")), false},
		{"overrun", join(bytes.Repeat(psh(1, strings.Repeat("x", 60_000)), 5)), false},
		{"refusal", join(psh(3, ""), psh(3, ""), fin(3), fin(3)), true},
		{"signal", fin(0xffffffff), true},
	}
	s := newScript(t) // a connection for each
	args := append([]string{"-Y", "smuxkit", "-T", "fields", "-E", "separator=;", "-e", "tcp.stream"}, decodeAs...)
	for i, v := range violations {
		c := s.connect(i)
		c.frames(toServer, syn(1), psh(1, "hello"), syn(3))
		d := toServer
		if v.answer {
			d = toClient
		}
		c.send(d, v.frames)
		c.close()
		args = append(args, "-e", "smuxkit.expert."+v.name)
	}
	marked := make(map[string]int) // by connection and name
	for line := range strings.Lines(tshark(t, raw(t, s.packets()), args...)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ";")
		for i, found := range fields[1:] {
			if found != "" {
				marked[fields[0]+" "+violations[i].name]++
			}
		}
	}
	want := make(map[string]int)
	for i, v := range violations {
		want[fmt.Sprintf("%d %s", i, v.name)] = 1
	}
	if diff := cmp.Diff(want, marked); diff != "" {
		t.Errorf("packets with expert infos, by connection (-want +got):\n%s", diff)
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
