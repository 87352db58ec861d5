//go:build unix && !self

package interop

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// Streams of the Rust crates that end in other ways than by the end of all data.

// Our endless upload ends when a crate's reader closes, at once with NoHalfClose. Without it, it ends toward async_smux,
// which answers each of our frames with FIN. (Toward smux it would go on for ever, as toward the original in version 1.)
func TestCrateReaderThatClosesEndsOurWrite(t *testing.T) {
	for _, s := range []setting{
		{name: "NoHalfClose", ours: ourConfig{NoHalfClose: true}},
		defaults,
	} {
		t.Run(s.name, func(t *testing.T) {
			eachCrate(t, s, func(t *testing.T, l *link) {
				if !s.ours.NoHalfClose && !l.peer.answersUnknown {
					ourWriteGoesOn(t, l, time.Second)
					return
				}
				openers(t, l, func(t *testing.T, opener, acceptor end) {
					for _, chunk := range []int{100, 64 << 10} {
						endlessWriteEnds(t, opener, acceptor, chunk)
					}
					wantNoStreams(t, l)
					echo(t, l)
				})
			})
		})
	}
}

// A download of which we read a part, or nothing, ends when we close. Their writer is told by async_smux alone, which may
// have taken everything before; that of smux writes to nobody. What arrives late is dropped, and the session has its whole receive budget again.
func TestOurCloseDuringADownloadFromACrate(t *testing.T) {
	small := setting{name: "our small buffer", ours: ourConfig{MaxReceiveBuffer: 1 << 20, MaxStreamWindow: 256 << 10}}
	eachCrate(t, small, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			for _, part := range []int{0, 1, 300_000} {
				ours, theirs := connect(t, opener, acceptor)
				written := make(chan error, 1)
				go func() {
					var err error
					for left := 4 << 20; left > 0 && err == nil; left -= 64 << 10 {
						_, err = theirs.Write(make([]byte, 64<<10))
					}
					written <- err
				}()
				if _, err := io.ReadFull(ours, make([]byte, part)); err != nil {
					t.Errorf("ours: read: %v", err)
				}
				mustClose(t, "ours", ours)
				switch err := <-written; {
				case l.peer.afterFIN == writesOn && err != nil:
					t.Errorf("theirs: write: %v", err)
				case l.peer.afterFIN == writesOn:
					l.shows(t, theirWriteGoesOn)
				}
				_ = theirs.Close()
				echo(t, l)
			}
			wantNoStreams(t, l)
			if n := l.ours.(ourSession).Stats().Unread; n != 0 {
				t.Errorf("%d bytes are still charged", n)
			}
		})
	})
}

// A crate that closes with unread data of ours leaves the session usable.
func TestCrateCloseWithUnreadData(t *testing.T) {
	eachCrate(t, defaults, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			for range 50 {
				ours, theirs := connect(t, opener, acceptor)
				mustWrite(t, "ours", ours, make([]byte, 60_000))
				if _, err := io.ReadFull(theirs, make([]byte, 1000)); err != nil {
					t.Errorf("theirs: read: %v", err)
				}
				mustClose(t, "theirs", theirs)
				readAll(t, "ours", ours, nil)
				if err := ours.Close(); err != nil && !errors.Is(err, peerClosed) {
					t.Errorf("ours: close: %v", err)
				}
			}
			wantNoStreams(t, l)
			echo(t, l)
		})
	})
}

// Streams that are closed at once, without data, or with data that nobody reads, leave nothing behind on either side.
func TestCrateAbandonedStreamsLeaveNothing(t *testing.T) {
	eachCrate(t, defaults, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			const streams = 500
			done := make(chan struct{})
			go func() {
				defer close(done)
				for n := range streams {
					st, err := acceptor.Accept()
					if err != nil {
						t.Errorf("%s: accept: %v", acceptor.name, err)
						return
					}
					if n%2 == 0 {
						_, _ = st.Write([]byte("nobody reads this"))
					}
					_ = st.Close()
				}
			}()
			for n := range streams {
				st, err := opener.Open()
				if err != nil {
					t.Fatalf("%s: open: %v", opener.name, err)
				}
				if n%3 == 0 {
					_, _ = st.Write(make([]byte, n))
				}
				_ = st.Close()
			}
			<-done
			wantNoStreams(t, l)
			echo(t, l)
		})
	})
}

// With NoHalfClose, our CloseWrite is not sent, and a crate's answer arrives; without it, async_smux would send none.
func TestCrateAnswerArrivesWithNoHalfClose(t *testing.T) {
	eachCrate(t, setting{ours: ourConfig{NoHalfClose: true}}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			answer := payload{seed: newSeed(t), size: answerSize}.bytes()
			ours, theirs := connect(t, opener, acceptor)
			mustWrite(t, "ours", ours, []byte("question"))
			if err := ours.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("CloseWrite: %v", err)
			}
			if _, err := io.ReadFull(theirs, make([]byte, len("question"))); err != nil {
				t.Errorf("theirs: read: %v", err)
			}
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				mustWrite(t, "theirs", theirs, answer)
				mustClose(t, "theirs", theirs)
			}()
			readAll(t, "ours", ours, answer)
			<-answered
			mustClose(t, "ours", ours)
			wantNoStreams(t, l)
			echo(t, l)
		})
	})
}

// With the defaults of both sides, their client and our server work together: the server speaks the client's version. Our
// client speaks version 2 by default, which no crate does. It learns so at their first frame or at the end of the
// connection, long before the keep-alive gives up, and its error says so.
func TestDefaultsAgainstDefaultsOfACrate(t *testing.T) {
	buildCrates(t)
	checkGoroutines(t)
	for _, p := range crates {
		t.Run(p.name+"/their client", func(t *testing.T) {
			record(t, p, 1, false)
			client, server := tcpPair(t, false)
			theirs, err := p.start(client, true, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			s, err := session.Server(server, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			l := &link{ours: ourSession{s}, theirs: theirs, peer: p, version: 1}
			a, b := connect(t, l.their(), l.our())
			mustClose(t, "ours", a)
			mustClose(t, "theirs", b)
			echo(t, l)
			wantNoStreams(t, l)
		})
		t.Run(p.name+"/our client", func(t *testing.T) {
			record(t, p, 1, true)
			client, server := tcpPair(t, false)
			theirs, err := p.start(server, false, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			s, err := session.Client(client, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			begin := time.Now()
			st, err := s.OpenStream(context.Background())
			if err == nil {
				_, _ = st.Write([]byte("hello"))
				_, err = st.Read(make([]byte, 1))
			}
			if err == nil || errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "version") {
				t.Errorf("our client: %v, want it to speak of the version", err)
			}
			show(t, versionOneAlone, p, 1, true)
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("our client learned it after %v", d)
			}
		})
	}
}
