package interop

import (
	"bytes"
	"io"
	"sync"
	"testing"
)

// 10,000 streams are opened and closed in a row; toward all but the newest peer 1,000.
func TestTenThousandStreamsInARow(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		streams := 1000
		if l.peer == newest {
			streams = 10_000
		}
		openers(t, l, func(t *testing.T, opener, acceptor end) {
			var wg sync.WaitGroup
			wg.Go(func() {
				for range streams {
					s, err := acceptor.Accept()
					if err != nil {
						t.Errorf("%s: accept: %v", acceptor.name, err)
						return
					}
					wg.Go(func() {
						if _, err := io.Copy(s, s); err != nil && !(acceptor.name == "theirs" && l.peer.afterFIN == writesNothing) {
							t.Errorf("%s: echo: %v", acceptor.name, err)
						}
						mustClose(t, acceptor.name, s)
					})
				}
			})
			for i := range streams {
				if err := openAndClose(opener, i); err != nil {
					t.Errorf("%s: stream %d: %v", opener.name, i, err)
					opener.Close()
					break
				}
			}
			wg.Wait()
			wantNoStreams(t, l)
		})
	})
}

// openAndClose uses streams as short-lived ones are used: mostly for a question and its answer, sometimes for a
// question without an answer, sometimes for nothing.
func openAndClose(e end, i int) error {
	s, err := e.Open()
	if err != nil {
		return err
	}
	defer s.Close()
	if i%10 == 0 {
		return s.Close()
	}
	question := bytes.Repeat([]byte{byte(i)}, 1+i%100)
	if _, err := s.Write(question); err != nil {
		return err
	}
	if i%10 == 1 && !e.losesUnread {
		return s.Close()
	}
	answer := make([]byte, len(question))
	if _, err := io.ReadFull(s, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer, question) {
		return io.ErrUnexpectedEOF
	}
	return s.Close()
}
