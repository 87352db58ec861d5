//go:build unix && !self

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// frameSizes returns sizes of 1 to largest: those at the edges, and some at random. With -allframes, it returns all: smux
// takes five minutes for them.
func frameSizes(largest int) (sizes []int) {
	if *allFrames {
		for n := range largest {
			sizes = append(sizes, n+1)
		}
		return sizes
	}
	add := func(from, to int) {
		for n := max(1, from); n <= min(to, largest); n++ {
			sizes = append(sizes, n)
		}
	}
	add(1, 64)
	for edge := 128; edge <= 65536; edge *= 2 {
		add(edge-9, edge+1) // with and without a header
	}
	for range 200 {
		n := 1 + rand.IntN(largest)
		add(n, n)
	}
	add(largest-16, largest)
	return sizes
}

// Frames of every size that a crate takes arrive, in both directions, and what is written at once is one frame.
func TestCrateFramesOfEverySize(t *testing.T) {
	buildCrates(t)
	checkGoroutines(t)
	for _, p := range crates {
		for _, client := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/our client %v", p.name, client), func(t *testing.T) {
				t.Parallel()
				record(t, p, 1, client)
				framesOfEverySize(t, p, client)
			})
		}
	}
}

func framesOfEverySize(t *testing.T, p *peer, ourClient bool) {
	var mu sync.Mutex
	traced := make(chan struct{}) // closed when all frames are in seen
	seen := map[session.Direction]map[int]bool{session.Sent: {}, session.Received: {}}
	ourConn, theirConn, start := rolesOfPair(t, ourClient)
	theirs, err := p.start(theirConn, !ourClient, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	s, err := start(ourConn, &session.Config{
		Version:      1,
		MaxFrameSize: p.largestFrame,
		Trace: &session.Trace{
			Frame: func(_ *session.Session, d session.Direction, h wire.Header) {
				if h.Command == wire.PSH {
					mu.Lock()
					seen[d][int(h.Length)] = true
					mu.Unlock()
				}
			},
			SessionEnd: func(*session.Session, error) { close(traced) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := &link{ours: ourSession{s}, theirs: theirs, peer: p, version: 1}
	ours, theirStream := connect(t, l.our(), l.their())
	data := payload{seed: newSeed(t), size: 2 * p.largestFrame}.bytes()
	got := make([]byte, p.largestFrame)
	sizes := frameSizes(p.largestFrame)
	pass := func(who string, from, to muxStream, size, off int) {
		mustWrite(t, who, from, data[off:off+size])
		if n, err := io.ReadFull(to, got[:size]); err != nil || !bytes.Equal(got[:size], data[off:off+size]) {
			t.Fatalf("of %d bytes by %s, %d arrived, %v; the same: %v", size, who, n, err, bytes.Equal(got[:n], data[off:off+n]))
		}
	}
	for _, size := range sizes {
		off := size % 251
		pass("us", ours, theirStream, size, off)
		pass("them", theirStream, ours, size, off)
	}
	missing := func(d session.Direction, size int) bool {
		mu.Lock()
		defer mu.Unlock()
		return !seen[d][size]
	}
	for range 10 { // on its way through their program, data may be read in pieces
		for _, size := range sizes {
			if missing(session.Received, size) {
				pass("them", theirStream, ours, size, 0)
			}
		}
	}
	mustClose(t, "ours", ours)
	mustClose(t, "theirs", theirStream)
	wantNoStreams(t, l)
	_ = s.Close()
	<-traced
	for _, d := range []session.Direction{session.Sent, session.Received} {
		for _, size := range sizes {
			if d == session.Sent && size > 32_000 {
				continue // ours are smaller, so that a batch holds whole frames; see TestCrateFrameLimits
			}
			if missing(d, size) {
				t.Errorf("%v: no frame had %d bytes", d, size)
				break
			}
		}
	}
}

// A crate takes a frame of every size up to that which the table names, and not one byte more: smux ends its session then.
// It drops an empty frame, or takes it for the end.
func TestCrateFrameLimits(t *testing.T) {
	buildCrates(t)
	checkGoroutines(t)
	for _, p := range crates {
		for _, client := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/their client %v", p.name, client), func(t *testing.T) {
				t.Parallel()
				record(t, p, 1, !client)
				frameLimits(t, p, client)
			})
		}
	}
}

func frameLimits(t *testing.T, p *peer, theirClient bool) {
	ourConn, theirConn, _ := rolesOfPair(t, !theirClient)
	id := uint32(1)
	if theirClient {
		id = 2
	}
	theirs, err := p.start(theirConn, theirClient, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	script := testutil.NewPeer(t, ourConn)
	script.Ignore(wire.NOP)
	open := func(id uint32, data []byte) muxStream {
		script.Send(t, testutil.SYN(wire.V1, id), testutil.PSH(wire.V1, id, data))
		st, err := theirs.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := open(id, []byte("x"))
	data, got := payload{seed: newSeed(t), size: p.largestFrame}.bytes(), make([]byte, p.largestFrame)
	mustRead := func(want []byte) {
		if n, err := io.ReadFull(st, got[:len(want)]); err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("of a frame of %d bytes, they read %d, %v", len(want), n, err)
		}
	}
	mustRead([]byte("x"))
	for _, size := range frameSizes(p.largestFrame) {
		script.Send(t, testutil.PSH(wire.V1, id, data[:size]))
		mustRead(data[:size])
	}
	script.Send(t, testutil.PSH(wire.V1, id, nil))
	if p.emptyEnds {
		if n, err := st.Read(got); n > 0 || err != io.EOF {
			t.Errorf("after an empty frame, they read %d bytes, %v", n, err)
		}
		show(t, emptyFrameEnds, p, 1, !theirClient)
	} else {
		script.Send(t, testutil.PSH(wire.V1, id, []byte("on")))
		mustRead([]byte("on"))
	}
	script.Send(t, testutil.FIN(wire.V1, id), testutil.FIN(wire.V1, id))
	mustClose(t, "theirs", st)
	id += 2
	if p.largestFrame == 65_535 {
		return
	}
	st = open(id, []byte("small"))
	mustRead([]byte("small"))
	script.Send(t, testutil.PSH(wire.V1, id, make([]byte, p.largestFrame+1)))
	if err := st.SetReadDeadline(time.Now().Add(hung)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, st); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of a frame of %d bytes, they read %d, %v", p.largestFrame+1, n, err)
	}
	show(t, smallFrames, p, 1, !theirClient)
}
