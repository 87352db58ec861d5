package interop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

const (
	// questionSize is what a stream of version 2 may send while nobody reads: the original lowers the window to
	// 65,536 bytes at the first Read.
	questionSize = 60_000
	// answerSize is more than a stream may send without a window update.
	answerSize = 1 << 20
)

// answering are the peers whose Write goes on when we have sent FIN.
func answering(p *peer) bool { return p.afterFIN == writesOn }

// withCloseWrite are the peers that have CloseWrite.
func withCloseWrite(p *peer) bool { return p.closeWrite }

// Their answer arrives after our half-close. For other peers, see TestPeersAreAsTheTableSays.
func TestOurHalfCloseLetsTheirAnswerArrive(t *testing.T) {
	matrixOf(t, somePeers(answering), []setting{defaults}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			seed := newSeed(t)
			question := payload{seed: seed, up: true, size: questionSize}.bytes()
			answer := payload{seed: seed, size: answerSize}.bytes()
			ours, theirs := connect(t, opener, acceptor)

			mustWrite(t, "ours", ours, question)
			mustCloseWrite(t, "ours", ours)
			readAll(t, "theirs", theirs, question)

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
		})
	})
}

// Our answer arrives after their half-close. Some versions discard unread data when both ends have sent FIN, so
// our FIN waits until they have read the answer.
func TestTheirHalfCloseLetsOurAnswerArrive(t *testing.T) {
	matrixOf(t, somePeers(withCloseWrite), []setting{defaults}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			seed := newSeed(t)
			question := payload{seed: seed, up: true, size: questionSize}.bytes()
			answer := payload{seed: seed, size: answerSize}
			ours, theirs := connect(t, opener, acceptor)

			mustWrite(t, "theirs", theirs, question)
			mustCloseWrite(t, "theirs", theirs)
			if n, err := theirs.Write([]byte("late")); n != 0 || err == nil {
				t.Errorf("theirs: write after their half-close = %d, %v", n, err)
			}
			readAll(t, "ours", ours, question)

			answered := make(chan struct{})
			go func() {
				defer close(answered)
				mustWrite(t, "ours", ours, answer.bytes())
			}()
			if err := answer.readFrom(theirs); err != nil {
				t.Errorf("theirs: %v", err)
			}
			<-answered
			mustClose(t, "ours", ours)
			if err := wantEOF(theirs); err != nil {
				t.Errorf("theirs: %v", err)
			}
			mustClose(t, "theirs", theirs)
			wantNoStreams(t, l)
		})
	})
}

// Data that is unread when both ends have closed can still be read.
func TestUnreadDataSurvivesBothEndsClosing(t *testing.T) {
	skipStandIn(t, "with itself may wait for ever")
	// Less than the first window of version 2: nobody reads while it is sent.
	const size = 250_000
	for _, c := range []struct {
		name   string
		closes bool
	}{
		{"they half-close", false},
		{"they close", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			some := somePeers(func(p *peer) bool { return p.afterFIN != writesNothing && (c.closes || p.closeWrite) })
			matrixOf(t, some, []setting{defaults}, func(t *testing.T, l *link) {
				openers(t, l, func(t *testing.T, opener, acceptor end) {
					data := payload{seed: newSeed(t), size: size}.bytes()
					ours, theirs := connect(t, opener, acceptor)
					mustCloseWrite(t, "ours", ours)
					mustWrite(t, "theirs", theirs, data)
					if c.closes {
						mustClose(t, "theirs", theirs)
					} else {
						mustCloseWrite(t, "theirs", theirs)
					}
					echo(t, l) // time for our side to see the FIN
					readAll(t, "ours", ours, data)
					if !c.closes {
						mustClose(t, "theirs", theirs)
					}
					mustClose(t, "ours", ours)
					wantNoStreams(t, l)
				})
			})
		})
	}
}

// Data that is sent right before Close arrives.
func TestDataSentRightBeforeCloseArrives(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			seed := newSeed(t)
			for _, size := range []int{0, 1, 1000, 200_000} {
				data := payload{seed: seed, size: size}.bytes()
				for _, writer := range []string{"ours", "theirs"} {
					ours, theirs := connect(t, opener, acceptor)
					w, r, reader := ours, theirs, "theirs"
					if writer == "theirs" {
						w, r, reader = theirs, ours, "ours"
					}
					closed := make(chan struct{})
					go func() {
						defer close(closed)
						mustWrite(t, writer, w, data)
						mustClose(t, writer, w)
					}()
					readAll(t, reader, r, data)
					<-closed
					mustClose(t, reader, r)
				}
			}
			wantNoStreams(t, l)
		})
	})
}

// Our Write after CloseWrite fails, and reading goes on.
func TestWriteAfterHalfCloseFails(t *testing.T) {
	skipStandIn(t, "returns another error")
	matrixOf(t, somePeers(func(p *peer) bool { return p.afterFIN != writesNothing }), []setting{defaults}, func(t *testing.T, l *link) {
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			ours, theirs := connect(t, opener, acceptor)
			mustCloseWrite(t, "ours", ours)
			if n, err := ours.Write([]byte("late")); n != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after half-close = %d, %v; want 0 and net.ErrClosed", n, err)
			}
			readAll(t, "theirs", theirs, nil)
			mustWrite(t, "theirs", theirs, []byte("still open"))
			mustClose(t, "theirs", theirs)
			if got, err := io.ReadAll(ours); err != nil || !bytes.Equal(got, []byte("still open")) {
				t.Errorf("ours read %q, %v", got, err)
			}
			mustClose(t, "ours", ours)
			wantNoStreams(t, l)
		})
	})
}
