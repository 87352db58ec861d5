package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// Read returns io.EOF after the peer's FIN, and after nothing else.

// io.EOF means FIN. A stream whose session ends without its FIN returns another error, after the data that
// arrived.
func TestEOFMeansFINAndNothingElse(t *testing.T) {
	for _, e := range ends {
		for _, how := range readings {
			t.Run(e.name+"/"+how.name, func(t *testing.T) {
				eachRole(t, func(t *testing.T, r role) {
					s, p := r.start(t, e.cfg)
					id := r.theirs(0)
					data := testutil.Pattern(4).Bytes(20_000)
					p.Send(t, append([]testutil.Frame{r.syn(id)}, r.pshs(id, data, 100, 9000)...)...)
					st := accept(t, s)
					synctest.Wait()
					e.end(t, r, s, p)
					<-s.Done()
					got, err := how.read(st)
					if err == nil || err == io.EOF {
						t.Errorf("read %d bytes and a clean end, want %v", len(got), e.want)
					}
					testutil.WantErr(t, "reading", err, e.want)
					if !bytes.Equal(got, data) {
						t.Errorf("the error came after %d bytes, want those that had arrived: %d", len(got), len(data))
					}
					if n, err := st.Read(make([]byte, 10)); n != 0 || !errors.Is(err, e.want) {
						t.Errorf("another Read = %d, %v", n, err)
					}
				})
			})
		}
	}
}

// A transport that returns io.EOF is not taken for the FIN of a stream.
func TestEOFOfTheTransportIsNoFIN(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(*faulty)
	}{
		// A channel of an SSH connection does this when its peer is gone.
		{"Write returns io.EOF", func(f *faulty) { f.writeErr = io.EOF }},
		{"Read returns io.EOF", func(f *faulty) { f.readErr = io.EOF }},
		{"both return io.EOF", func(f *faulty) { f.readErr, f.writeErr = io.EOF, io.EOF }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				ours, theirs := testutil.SimPair(t, simnet.Link{})
				f := newFaulty(ours)
				s, p := r.startOn(t, f, theirs, session.Config{})
				id := r.theirs(0)
				p.Send(t, r.syn(id), r.psh(id, []byte("data")))
				st := accept(t, s)
				synctest.Wait()
				f.fail(c.fail)
				_, _ = st.Write([]byte("notice"))
				<-s.Done()
				got, err := io.ReadAll(st)
				if string(got) != "data" || err == nil {
					t.Errorf("read %q and a clean end", got)
				}
				if _, err := st.Write([]byte("x")); err == nil || err == io.EOF {
					t.Errorf("Write: %v", err)
				}
			})
		})
	}
}

// If the transport ends inside a payload, its reader gets the bytes that arrived, and then io.ErrUnexpectedEOF.
func TestEndInsideAPayloadGivesWhatArrived(t *testing.T) {
	data := testutil.Pattern(5).Bytes(30_000)
	for _, arrived := range []int{0, 1, 500, 8191, 8192, 8193, 29_999} {
		t.Run(fmt.Sprint(arrived), func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				s, p := r.start(t, session.Config{})
				r.hear(t, p)
				id := r.theirs(0)
				p.Send(t, r.syn(id))
				st := accept(t, s)
				got := testutil.Background(func() ([]byte, error) { return io.ReadAll(struct{ io.Reader }{st}) })
				p.SendBytes(t, r.psh(id, data).Append(nil)[:8])
				p.SendBytes(t, data[:arrived])
				p.Close()
				res := <-got
				testutil.WantErr(t, "reading", res.Err, io.ErrUnexpectedEOF)
				if !bytes.Equal(res.Value, data[:arrived]) {
					t.Errorf("read %d bytes, want %d", len(res.Value), arrived)
				}
				wantEnded(t, s, io.ErrUnexpectedEOF)
				if err := s.Err(); err == io.EOF {
					t.Errorf("Err = %v", err)
				}
			}, "sim", "tcp", "pipe")
		})
	}
}
