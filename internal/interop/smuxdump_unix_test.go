//go:build unix

package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Smuxdump shows a conversation with each real peer, in both roles and versions: all frames, the same as the dissector of
// Wireshark if tshark is installed, and no problem.
func TestSmuxdumpShowsEachPeer(t *testing.T) {
	checkGoroutines(t)
	dump := buildSmuxdump(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	capture := filepath.Join(t.TempDir(), "capture.pcap")
	through, stop := dump.proxy(t, l.Addr(), capture)

	var names []string // of the conversations, in order
	converse := func(p *peer, version int, ourClient bool) {
		names = append(names, fmt.Sprintf("%s, version %d, our client: %v", p.name, version, ourClient))
		converseThrough(t, through, l, p, version, ourClient)
	}
	for _, ourClient := range []bool{true, false} {
		for _, p := range somePeers(nil) {
			converse(p, 1, ourClient)
			converse(p, 2, ourClient)
		}
		for _, p := range crates {
			if haveCargo() {
				buildCrates(t)
				converse(p, 1, ourClient)
			}
		}
	}
	if err := stop(); err != nil {
		t.Errorf("the proxy: %v", err)
	}

	shown := dump.show(t, capture)
	if strings.Contains(shown, "PROBLEM") {
		t.Errorf("real peers have problems:\n%s", shown)
	}
	summaries := bufio.NewScanner(strings.NewReader(dump.show(t, "-summary", "-json", capture)))
	summaries.Buffer(nil, 1<<20)
	for _, name := range names {
		if !summaries.Scan() {
			t.Fatalf("%s: no such connection", name)
		}
		checkSummary(t, name, summaries.Bytes())
	}
	checkDissector(t, capture, l.Addr().(*net.TCPAddr).Port, frames(shown))
}

// conversationSizes are how much is sent on the streams of a conversation. Each side opens a stream for each, and for
// each side that writes.
var conversationSizes = []int{1, 1000, 200_000}

// converseThrough has a conversation between us and p over a connection that begins at the address through, and arrives at l.
func converseThrough(t *testing.T, through string, l net.Listener, p *peer, version int, ourClient bool) {
	t.Helper()
	client, err := net.Dial("tcp", through)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	watch(t, client, server)
	ourConn, theirConn := client, server
	if !ourClient {
		ourConn, theirConn = server, client
	}
	ours, err := newOurs(ourConn, ourClient, ourConfig{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := p.start(theirConn, !ourClient, version, defaults.theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()

	lk := &link{ours, theirs, p, version, ourClient, defaults}
	seed := newSeed(t)
	for _, ends := range [][2]end{{lk.our(), lk.their()}, {lk.their(), lk.our()}} {
		for _, size := range conversationSizes {
			data := payload{seed: seed, size: size}.bytes()
			a, b := connect(t, ends[0], ends[1])
			sendAndClose(t, "ours", a, b, data)
			a, b = connect(t, ends[0], ends[1])
			sendAndClose(t, "theirs", b, a, data)
		}
	}
}

// sendAndClose sends data from one end of a stream to the other, and closes both.
func sendAndClose(t *testing.T, who string, from, to muxStream, data []byte) {
	t.Helper()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		mustWrite(t, who, from, data)
		mustClose(t, who, from)
	}()
	readAll(t, "the reader", to, data)
	<-sent
	mustClose(t, "the reader", to)
}

// checkSummary checks what smuxdump says of a conversation.
func checkSummary(t *testing.T, name string, text []byte) {
	t.Helper()
	var got struct {
		Opened     []int
		Refused    int
		Directions []struct{ Data int }
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%s: %v: %s", name, err, text)
	}
	perSide := 2 * len(conversationSizes)
	var least int // data each way, without the first bytes of streams
	for _, size := range conversationSizes {
		least += 2 * size
	}
	if len(got.Opened) != 2 || got.Opened[0] != perSide || got.Opened[1] != perSide || got.Refused != 0 {
		t.Errorf("%s: opened %v, refused %d, want %d of each side and 0", name, got.Opened, got.Refused, perSide)
	}
	for _, d := range got.Directions {
		if d.Data < least {
			t.Errorf("%s: %d bytes of data in a direction, want at least %d", name, d.Data, least)
		}
	}
}

// commands are the names of the commands by their numbers.
var commands = []string{"SYN", "FIN", "PSH", "NOP", "UPD"}

// frames counts the frames of each command that smuxdump shows.
func frames(shown string) map[string]int {
	count := make(map[string]int)
	for line := range strings.Lines(shown) {
		if words := strings.Fields(line); len(words) > 3 {
			count[strings.TrimSuffix(words[3], ",")]++
		}
	}
	got := make(map[string]int)
	for _, c := range commands {
		got[c] = count[c]
	}
	return got
}

// checkDissector checks that the dissector of Wireshark shows as many frames of each command, and nothing to worry about.
func checkDissector(t *testing.T, capture string, port int, want map[string]int) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Log("tshark is not installed, so wire/smux.lua is NOT tested")
		return
	}
	cmd := exec.CommandContext(t.Context(), tshark, "-X", "lua_script:../../wire/smux.lua", "-n", "-r", capture,
		"-d", fmt.Sprintf("tcp.port==%d,smuxkit", port), "-o", "tcp.analyze_sequence_numbers:FALSE",
		"-Y", "smuxkit", "-T", "fields", "-E", "separator=;", "-e", "smuxkit.command", "-e", "_ws.expert.severity")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // no settings of the user
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	got := make(map[string]int)
	for line := range strings.Lines(string(out)) {
		packet, severities, _ := strings.Cut(strings.TrimSpace(line), ";")
		for c := range strings.SplitSeq(packet, ",") {
			var n int
			if _, err := fmt.Sscan(c, &n); err != nil || n >= len(commands) {
				t.Fatalf("a packet has the commands %q", packet)
			}
			got[commands[n]]++
		}
		// 6291456 is a warning, 8388608 an error.
		if strings.Contains(severities, "6291456") || strings.Contains(severities, "8388608") {
			t.Errorf("a real peer's packet has a warning: %s", line)
		}
	}
	for _, c := range commands {
		if got[c] != want[c] {
			t.Errorf("the dissector shows %d frames %s, smuxdump %d", got[c], c, want[c])
		}
	}
}

// A smuxdump is the path of the program.
type smuxdump string

func buildSmuxdump(t *testing.T) smuxdump {
	t.Helper()
	workspace, err := filepath.Abs("../../.ci/go.work")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "smuxdump")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir, build.Env = "../../wire/smuxdump", append(os.Environ(), "GOWORK="+workspace)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return smuxdump(program)
}

// show runs smuxdump, and returns what it prints. Its exit code says whether it has found problems.
func (d smuxdump) show(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), string(d), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("smuxdump %s: %v\n%s", strings.Join(args, " "), err, &errs)
	}
	return out.String()
}

// proxy starts smuxdump as a proxy to an address. It returns the proxy's address, and a function that ends it.
func (d smuxdump) proxy(t *testing.T, to net.Addr, capture string) (through string, stop func() error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), string(d), "-listen", "127.0.0.1:0", "-to", to.String(), "-w", capture)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says := bufio.NewReader(errs)
	line, err := says.ReadString('\n')
	if _, scanned := fmt.Sscanf(line, "smuxdump: %s passes", &through); err != nil || scanned != nil {
		t.Fatalf("smuxdump says %q, %v", line, err)
	}
	return through, func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, says)
		return cmd.Wait()
	}
}
