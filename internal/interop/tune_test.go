package interop

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

const (
	// farAway is the round-trip time of the tests of window tuning.
	farAway = 100 * time.Millisecond
	// tuneTime is how long each receiver is measured, including the start. A busy machine may take most of it: the
	// original moves a window each round trip, ours a hundred times as much.
	tuneTime = time.Second
)

// Our receive window follows path and reader when the original sends, as it does between two of ours: over a round
// trip of 100 ms a stream is at least ten times as fast as the original's with itself. They are measured one after
// the other, on the same machine.
func TestOurWindowMakesTheirSenderTenTimesAsFast(t *testing.T) {
	skipStandIn(t, "has a fixed window")
	checkGoroutines(t)

	const version = 2
	receivers := []struct {
		name   string
		client bool // the receiver is; the sender opens the stream if it is not
		start  func(conn net.Conn, client bool) (muxSession, error)
		rate   float64 // what the test finds
	}{
		{name: "theirs, with itself", start: func(conn net.Conn, client bool) (muxSession, error) {
			return newest.start(conn, client, version, nil)
		}},
		{name: "ours, as a server", start: func(conn net.Conn, client bool) (muxSession, error) {
			return newOurs(conn, client, ourConfig{Version: version})
		}},
		{name: "ours, as a client", client: true, start: func(conn net.Conn, client bool) (muxSession, error) {
			return newOurs(conn, client, ourConfig{Version: version})
		}},
	}
	for i := range receivers {
		r := &receivers[i]
		clientConn, serverConn := farPair(t, farAway)
		receiverConn, senderConn := serverConn, clientConn
		if r.client {
			receiverConn, senderConn = clientConn, serverConn
		}
		receiver, err := r.start(receiverConn, r.client)
		if err != nil {
			t.Fatal(err)
		}
		defer receiver.Close()
		sender, err := newest.start(senderConn, !r.client, version, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer sender.Close()
		in, out := oneWay(t, end{receiver, "the receiver", newest, true}, end{sender, "the sender", newest, true}, r.client)
		go func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := out.Write(buf); err != nil {
					return // the sessions have been closed
				}
			}
		}()
		r.rate = readRate(in, tuneTime)
		receiver.Close()
		sender.Close()
	}
	base := receivers[0].rate
	for _, r := range receivers {
		t.Logf("%s: %.2f MB/s, %.1f times", r.name, r.rate/1e6, r.rate/base)
	}
	for _, r := range receivers[1:] {
		if r.rate < 10*base {
			t.Errorf("%s: %.2f MB/s, want ten times the %.2f MB/s of the original with itself", r.name, r.rate/1e6, base/1e6)
		}
	}
}

// oneWay opens a stream between two ends and returns theirs, in the order of the arguments.
func oneWay(t *testing.T, receiver, sender end, receiverOpens bool) (in, out muxStream) {
	t.Helper()
	opener, acceptor := sender, receiver
	if receiverOpens {
		opener, acceptor = receiver, sender
	}
	opened, err := opener.Open()
	if err != nil {
		t.Fatal(err)
	}
	// The first byte has to come from the opener; see connect.
	if _, err := opened.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	accepted, err := acceptor.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(accepted, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if receiverOpens {
		return opened, accepted
	}
	return accepted, opened
}

// readRate reads for this time and returns the bytes per second.
func readRate(r io.Reader, d time.Duration) float64 {
	buf := make([]byte, 64<<10)
	total := 0
	begin := time.Now()
	for time.Since(begin) < d {
		n, err := r.Read(buf)
		total += n
		if err != nil {
			break
		}
	}
	return float64(total) / time.Since(begin).Seconds()
}

// farPair returns the two ends of a TCP connection with this round-trip time. Each end is connected to a proxy
// that delays everything by half of it.
func farPair(t *testing.T, rtt time.Duration) (client, server net.Conn) {
	t.Helper()
	client, a := tcpPair(t, false)
	b, server := tcpPair(t, false)
	var wg sync.WaitGroup
	wg.Go(func() { delayed(b, a, rtt/2) })
	wg.Go(func() { delayed(a, b, rtt/2) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		wg.Wait()
	})
	return client, server
}

// delayed copies src to dst, each piece this long after it was read, and then closes dst.
func delayed(dst, src net.Conn, delay time.Duration) {
	type piece struct {
		due  time.Time
		data []byte
	}
	// More than a path of some Gbit/s holds: the window must be the limit.
	way := make(chan piece, 4096)
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 32<<10)
			n, err := src.Read(buf)
			if n > 0 {
				way <- piece{time.Now().Add(delay), buf[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	broken := false
	for p := range way {
		if broken {
			continue // until src ends
		}
		time.Sleep(time.Until(p.due))
		_, err := dst.Write(p.data)
		broken = err != nil
	}
	dst.Close()
}
