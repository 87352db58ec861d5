//go:build !self

package interop

import (
	"errors"
	"io"
	"testing"
	"time"
)

// The original reads io.EOF and no data from a stream that we refuse, whatever it has sent before. Other streams of
// the session go on.
func TestOurRefusalIsAnEmptyAnswerForThem(t *testing.T) {
	quick := setting{name: "CloseTimeout 200 ms", ours: ourConfig{CloseTimeout: 200 * time.Millisecond}}
	matrix(t, []setting{quick}, func(t *testing.T, l *link) {
		s := l.ours.(ourSession).Session
		ours, theirs := connect(t, l.our(), l.their())
		back, accepted := connect(t, l.their(), l.our())
		var refused []muxStream
		for n := range 4 {
			st, err := l.theirs.Open()
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, "theirs", st, make([]byte, 1+n*20_000))
			if n%2 == 1 && l.peer.closeWrite {
				mustCloseWrite(t, "theirs", st)
			}
			refused = append(refused, st)
		}
		for start := time.Now(); s.NumStreams() < 2+len(refused) && time.Since(start) < hung; {
			time.Sleep(time.Millisecond)
		}
		if err := s.Listener().Close(); err != nil { // nobody accepts the streams that wait
			t.Error(err)
		}
		for _, st := range refused {
			if got, err := io.ReadAll(st); len(got) > 0 || err != nil {
				t.Errorf("theirs: read %d bytes, %v, want io.EOF alone", len(got), err)
			}
			mustClose(t, "theirs", st)
		}
		if n := s.Stats().StreamsRefused; n != uint64(len(refused)) {
			t.Errorf("we have refused %d streams, want %d", n, len(refused))
		}
		for _, pair := range [][2]muxStream{{ours, theirs}, {accepted, back}} {
			mustWrite(t, "ours", pair[0], []byte("ping"))
			mustWrite(t, "theirs", pair[1], []byte("pong"))
			got := make([]byte, 4)
			if _, err := io.ReadFull(pair[1], got); err != nil || string(got) != "ping" {
				t.Errorf("theirs: read %q, %v", got, err)
			}
			if _, err := io.ReadFull(pair[0], got); err != nil || string(got) != "pong" {
				t.Errorf("ours: read %q, %v", got, err)
			}
			mustClose(t, "ours", pair[0])
			mustClose(t, "theirs", pair[1])
		}
		mine, peers := connect(t, l.our(), l.their())
		mustClose(t, "ours", mine)
		mustClose(t, "theirs", peers)
		wantNoStreams(t, l)
	})
}

// A stream that the original closes without a word is an empty answer for us, and no refusal: with and without
// empty Writes, and with CloseWrite before.
func TestTheirCloseWithoutAWordIsNoRefusal(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, st muxStream){
		"Close": func(t *testing.T, st muxStream) {},
		"empty Writes": func(t *testing.T, st muxStream) {
			for range 2 {
				if _, err := st.Write(nil); err != nil {
					t.Error(err)
				}
			}
		},
		"CloseWrite": func(t *testing.T, st muxStream) { mustCloseWrite(t, "theirs", st) },
	} {
		t.Run(name, func(t *testing.T) {
			all := somePeers(func(p *peer) bool { return name != "CloseWrite" || p.closeWrite })
			matrixOf(t, all, []setting{defaults}, func(t *testing.T, l *link) {
				ours, theirs := connect(t, l.our(), l.their())
				end(t, theirs)
				mustClose(t, "theirs", theirs)
				if err := ours.SetReadDeadline(time.Now().Add(hung)); err != nil {
					t.Fatal(err)
				}
				if n, err := ours.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
					t.Errorf("read %d bytes, %v, want io.EOF", n, err)
				}
				mustClose(t, "ours", ours)
				if n := l.ours.(ourSession).Stats().StreamsRefusedByPeer; n != 0 {
					t.Errorf("%d streams count as refused", n)
				}
				echo(t, l)
				wantNoStreams(t, l)
			})
		})
	}
}
