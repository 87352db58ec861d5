package session_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// Transports that break the contract of io.Reader or io.Writer.

// faulty is a transport that works until the test lets it fail.
type faulty struct {
	*simnet.Conn
	mu                sync.Mutex
	readErr, writeErr error
	// read and write, if set, replace Read and Write.
	read, write func(p []byte) (int, error)
}

func newFaulty(c *simnet.Conn) *faulty { return &faulty{Conn: c} }

// fail changes how the transport fails. It affects blocked calls, too.
func (f *faulty) fail(change func(*faulty)) {
	f.mu.Lock()
	change(f)
	readErr := f.readErr
	f.mu.Unlock()
	if readErr != nil {
		_ = f.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (f *faulty) Read(p []byte) (int, error) {
	f.mu.Lock()
	read := f.read
	f.mu.Unlock()
	if read == nil {
		read = f.Conn.Read
	}
	n, err := read(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readErr != nil {
		return 0, f.readErr
	}
	return n, err
}

func (f *faulty) Write(p []byte) (int, error) {
	f.mu.Lock()
	write, err := f.write, f.writeErr
	f.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case write != nil:
		return write(p)
	}
	return f.Conn.Write(p)
}

// A transport that breaks the contract of io.Reader or io.Writer ends the session with an error.
func TestTransportThatReturnsNonsenseEndsTheSession(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		fault func(f *faulty)
		want  error // nil: any but io.EOF
	}{
		{"Read returns -1", func(f *faulty) { f.read = func([]byte) (int, error) { return -1, nil } }, nil},
		{"Read returns -1 and an error", func(f *faulty) { f.read = func([]byte) (int, error) { return -1, boom } }, nil},
		{"Read returns more than there is room for", func(f *faulty) { f.read = func(p []byte) (int, error) { return len(p) + 1, nil } }, nil},
		{"Read returns too much and io.EOF", func(f *faulty) { f.read = func(p []byte) (int, error) { return 1 << 30, io.EOF } }, nil},
		{"Read returns nothing and no error, for ever", func(f *faulty) { f.read = forEver(f) }, io.ErrNoProgress},
		{"Read returns an error", func(f *faulty) { f.read = func([]byte) (int, error) { return 0, boom } }, boom},
		{"Write returns -1", func(f *faulty) { f.write = func([]byte) (int, error) { return -1, nil } }, nil},
		{"Write returns more than it was given", func(f *faulty) { f.write = func(p []byte) (int, error) { return len(p) + 1, nil } }, nil},
		{"Write returns less than it was given", func(f *faulty) { f.write = func(p []byte) (int, error) { return len(p) - 1, nil } }, io.ErrShortWrite},
		{"Write returns nothing and no error, for ever", func(f *faulty) { f.write = forEver(f) }, io.ErrShortWrite},
		{"Write returns less and an error", func(f *faulty) { f.write = func(p []byte) (int, error) { return 1, boom } }, boom},
		{"Write returns all and an error", func(f *faulty) { f.write = func(p []byte) (int, error) { return len(p), boom } }, boom},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				f := newFaulty(ours)
				s, p := r.startOn(t, f, theirs, session.Config{})
				p.Send(t, r.syn(r.theirs(0)), r.psh(r.theirs(0), []byte("data")))
				st := accept(t, s)
				synctest.Wait()
				f.fail(c.fault)
				p.Send(t, r.nop()) // so that the blocked Read returns and the next one fails
				_, _ = st.Write([]byte("x"))
				elapsed := testutil.Clock()
				<-s.Done()
				if d := elapsed(); d > time.Second {
					t.Errorf("it took %v", d)
				}
				err := s.Err()
				if err == io.EOF || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("Err = %v, want %v", err, c.want)
				}
				got, err := io.ReadAll(st)
				if string(got) != "data" || err == nil {
					t.Errorf("read %q, %v", got, err)
				}
			})
		})
	}
}

// forEver returns a Read or Write that does nothing. After 100,000 calls it closes the transport.
func forEver(f *faulty) func([]byte) (int, error) {
	n := 0
	return func([]byte) (int, error) {
		if n++; n > 100_000 {
			_ = f.Conn.Close()
			return 0, errors.New("it called 100,000 times, for nothing")
		}
		return 0, nil
	}
}

// A transport whose Read returns 0 bytes and no error now and then does not end the session.
func TestTransportReadOfNothingIsNoEnd(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		ours, theirs := testutil.SimPair(t, simnet.Link{MaxRead: 3})
		f := newFaulty(ours)
		n := 0
		f.read = func(p []byte) (int, error) {
			if n++; n%50 != 0 {
				return 0, nil
			}
			return ours.Read(p)
		}
		s, p := r.startOn(t, f, theirs, session.Config{})
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

// Bytes that the transport's Read returns together with an error are delivered.
func TestTransportBytesWithAnErrorCount(t *testing.T) {
	for _, end := range []error{io.EOF, errors.New("boom")} {
		t.Run(end.Error(), func(t *testing.T) {
			for _, size := range []int{1, 4000, 20_000} {
				t.Run(fmt.Sprint(size), func(t *testing.T) {
					eachRole(t, func(t *testing.T, r role) {
						ours, theirs := testutil.SimPair(t, simnet.Link{})
						f := newFaulty(ours)
						data := testutil.Pattern(1).Bytes(size)
						id := r.theirs(0)
						var all []byte
						for _, fr := range []testutil.Frame{r.syn(id), r.psh(id, data), r.fin(id)} {
							all = fr.Append(all)
						}
						f.read = func(p []byte) (int, error) {
							n := copy(p, all)
							if all = all[n:]; len(all) == 0 {
								return n, end
							}
							return n, nil
						}
						s, _ := r.startOn(t, f, theirs, session.Config{})
						st := accept(t, s)
						if got, err := io.ReadAll(st); len(got) != size || err != nil {
							t.Errorf("read %d bytes, %v", len(got), err)
						}
						wantEnded(t, s, end)
					})
				})
			}
		})
	}
}
