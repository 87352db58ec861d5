//go:build !self

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// Our signals change nothing for the original: it does not answer a ping, and streams go on and can be opened by
// it after our drain signal.
func TestOurSignalsChangeNothingForThem(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		s := l.ours.(ourSession).Session
		before := payload{seed: newSeed(t), size: answerSize}
		ours, theirs := connect(t, l.our(), l.their())

		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if _, err := s.Ping(ctx); !errors.Is(err, session.ErrPingUnanswered) {
			t.Errorf("Ping: %v, want no answer", err)
		}
		listener := s.Listener()
		if err := listener.Close(); err != nil { // sends the drain signal
			t.Error(err)
		}
		written := make(chan struct{})
		go func() {
			defer close(written)
			mustWrite(t, "ours", ours, before.bytes())
		}()
		if err := before.readFrom(theirs); err != nil {
			t.Errorf("theirs: %v", err)
		}
		<-written

		// The signals came before this data, so the original has read them.
		again, accepted := connect(t, l.their(), l.our())
		mustClose(t, "theirs", again)
		mustClose(t, "ours", accepted)
		mine, peers := connect(t, l.our(), l.their())
		mustClose(t, "ours", mine)
		mustClose(t, "theirs", peers)
		mustClose(t, "ours", ours)
		mustClose(t, "theirs", theirs)
		if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want net.ErrClosed after CloseTimeout", err)
		}
		wantNoStreams(t, l)
	})
}

// No frame of a signal, an echo or a refusal changes anything for the original: not its session, not a stream that is
// open, not one that was never opened. They are sent here without a session, also where a session would not send them.
func TestNoFrameOfASignalChangesAnythingForThem(t *testing.T) {
	checkGoroutines(t)
	for _, p := range peers {
		for version := wire.V1; version <= wire.V2; version++ {
			for _, client := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%v/their client %v", p.name, version, client), func(t *testing.T) {
					t.Parallel()
					record(t, p, int(version), !client)
					signalsChangeNothing(t, p, version, client)
				})
			}
		}
	}
}

func signalsChangeNothing(t *testing.T, p *peer, version wire.Version, theirClient bool) {
	clientConn, serverConn := tcpPair(t, false)
	ourConn, theirConn, id := serverConn, clientConn, uint32(2)
	if !theirClient {
		ourConn, theirConn, id = clientConn, serverConn, 1
	}
	theirs, err := p.start(theirConn, theirClient, int(version), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	script := testutil.NewPeer(t, ourConn)
	script.Ignore(wire.NOP, wire.UPD)

	script.Send(t, testutil.SYN(version, id), testutil.PSH(version, id, []byte("hel")))
	open, err := theirs.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for last := uint32(math.MaxUint32); last > math.MaxUint32-16; last-- { // of both sides
		script.Send(t, testutil.FIN(version, last), testutil.FIN(version, last))
	}
	for _, never := range []uint32{id + 100, id + 101, math.MaxUint32, math.MaxUint32 - 1} {
		mark := testutil.PSH(version, never, nil)
		script.Send(t, mark, mark, testutil.FIN(version, never), testutil.FIN(version, never))
	}
	if !p.emptyEnds { // we send no empty PSH of a stream that goes on
		script.Send(t, testutil.PSH(version, id, nil), testutil.PSH(version, id, nil))
	}
	script.Send(t, testutil.PSH(version, id, []byte("lo")))
	got := make([]byte, 5)
	if _, err := io.ReadFull(open, got); err != nil || string(got) != "hello" {
		t.Errorf("they read %q, %v", got, err)
	}
	mustWrite(t, "theirs", open, []byte("answer"))
	frame := script.Next(t, "the open stream goes on")
	for p.answersUnknown && frame.Command == wire.FIN && frame.StreamID != id {
		frame = script.Next(t, "the open stream goes on")
	}
	if frame.Command != wire.PSH || frame.StreamID != id || string(frame.Data) != "answer" {
		t.Errorf("the open stream goes on: got %v", frame)
	}

	opened, err := theirs.Open()
	if err != nil {
		t.Fatalf("they open a stream after all signals: %v", err)
	}
	syn := script.Next(t, "they can open streams")
	if syn.Command != wire.SYN {
		t.Errorf("got %v, want SYN", syn)
	}
	fin := testutil.FIN(version, syn.StreamID)
	mark := testutil.PSH(version, syn.StreamID, nil)
	script.Send(t, mark, mark, fin, fin)
	if n, err := opened.Read(got); n > 0 || err != io.EOF {
		t.Errorf("they read %d bytes of a refused stream, %v", n, err)
	}
	mustClose(t, "theirs", opened)
	if !p.silentAfterFIN {
		script.ExpectFrame(t, "they close the refused stream", fin)
	}

	fin = testutil.FIN(version, id)
	script.Send(t, fin, fin)
	if err := wantEOF(open); err != nil {
		t.Errorf("theirs: %v", err)
	}
	mustClose(t, "theirs", open)
	if !p.silentAfterFIN {
		script.ExpectFrame(t, "they close their stream", fin)
	}
	waitStreams(t, "theirs", theirs, 0)
}
