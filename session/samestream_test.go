package session_test

import (
	"io"
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/session"
)

// The peer opens a stream again with an id that a finished one had, in the next frame: the frames that follow are those
// of the new stream.
func TestFramesBelongToTheStreamThatIsOpen(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		id := r.theirs(0)
		p.Send(t, r.syn(id), r.psh(id, []byte("old")))
		old := accept(t, s)
		p.Send(t, r.fin(id), r.fin(id))
		if got, err := io.ReadAll(old); string(got) != "old" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		old.Close()
		p.ExpectFrame(t, "Close sends FIN", r.fin(id))
		synctest.Wait()
		if n := s.NumStreams(); n != 0 {
			t.Fatalf("%d streams are open", n)
		}
		p.Send(t, r.psh(id, []byte("nobody's")), r.fin(id), r.syn(id), r.psh(id, []byte("new")), r.psh(id, []byte("er")), r.fin(id))
		if got, err := io.ReadAll(accept(t, s)); string(got) != "newer" || err != nil {
			t.Errorf("the new stream: read %q, %v", got, err)
		}
	})
}
