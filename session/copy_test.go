package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// io.Copy through a chain of streams loses nothing.
func TestIOCopyThroughAChainLosesNothing(t *testing.T) {
	for _, size := range []int64{0, 1, 1000, 8 << 10, 32760, 100_001, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				c, s := sessions(t, tr, session.Config{Version: version})
				a, b := openPair(t, c, s)
				back, end := openPair(t, s, c)
				var all sync.WaitGroup
				// A proxy copies from one stream to another, with WriteTo and ReadFrom at the same time.
				all.Go(func() {
					if n, err := io.Copy(back, b); n != size || err != nil {
						t.Errorf("from stream to stream: %d, %v", n, err)
					}
					back.CloseWrite()
				})
				all.Go(func() {
					if n, err := io.Copy(a, testutil.Pattern(1).Reader(size)); n != size || err != nil {
						t.Errorf("to a stream: %d, %v", n, err)
					}
					a.CloseWrite()
				})
				v := testutil.Pattern(1).Verifier()
				if n, err := io.Copy(v, end); n != size || err != nil {
					t.Errorf("from a stream: %d, %v", n, err)
				}
				all.Wait()
			})
		})
	}
}

var errSource = errors.New("source failed")

// ReadFrom sends every byte that its reader returns.
func TestReadFromSendsAllThatItsReaderReturns(t *testing.T) {
	const size = 50_000
	for _, c := range []struct {
		name   string
		reader func() io.Reader
		err    error
	}{
		{"everything at once", func() io.Reader { return bytes.NewReader(testutil.Pattern(1).Bytes(size)) }, nil},
		{"a byte at a time", func() io.Reader { return iotest.OneByteReader(testutil.Pattern(1).Reader(size)) }, nil},
		{"data with the end", func() io.Reader { return iotest.DataErrReader(testutil.Pattern(1).Reader(size)) }, nil},
		{"half of what is asked for", func() io.Reader { return iotest.HalfReader(testutil.Pattern(1).Reader(size)) }, nil},
		{"nothing now and then", func() io.Reader { return &stutter{r: testutil.Pattern(1).Reader(size)} }, nil},
		{"an error at the end", func() io.Reader {
			return io.MultiReader(testutil.Pattern(1).Reader(size), iotest.ErrReader(errSource))
		}, errSource},
		{"data with an error", func() io.Reader {
			return iotest.DataErrReader(io.MultiReader(testutil.Pattern(1).Reader(size), iotest.ErrReader(errSource)))
		}, errSource},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				cl, s := sessions(t, tr, session.Config{Version: version})
				a, b := openPair(t, cl, s)
				go func() {
					n, err := a.ReadFrom(c.reader())
					if n != size {
						t.Errorf("ReadFrom = %d, want %d", n, size)
					}
					testutil.WantErr(t, "ReadFrom", err, c.err)
					a.CloseWrite()
				}()
				if err := testutil.Pattern(1).Receive(b, size); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// stutter is a reader that returns nothing every second time.
type stutter struct {
	r    io.Reader
	next bool
}

func (s *stutter) Read(p []byte) (int, error) {
	s.next = !s.next
	if s.next {
		return 0, nil
	}
	return s.r.Read(p)
}

// ReadFrom counts the bytes that the stream took.
func TestReadFromCountsWhatTheStreamTook(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, peer := scripted(t, transport("sim"), &session.Config{Version: version})
		st := openWide(t, c, peer, version)
		copied := testutil.Background(func() (int64, error) { return st.ReadFrom(testutil.Pattern(1).Reader(1 << 20)) })
		settle(transport("sim"))
		st.CloseWrite()
		r := <-copied
		testutil.WantErr(t, "ReadFrom", r.Err, net.ErrClosed)
		go c.Close()
		data := readFrames(t, peer).data[st.ID()]
		if err := testutil.Pattern(1).Check(data, 0); err != nil || int64(len(data)) != r.Value {
			t.Errorf("ReadFrom counted %d bytes, the peer got %d: %v", r.Value, len(data), err)
		}
	})
}

// fails is a writer that takes n bytes and then fails.
type fails struct {
	left int
	err  error
	got  []byte
}

func (f *fails) Write(p []byte) (int, error) {
	n := min(len(p), f.left)
	f.left -= n
	f.got = append(f.got, p[:n]...)
	if n < len(p) {
		return n, f.err
	}
	return n, nil
}

// WriteTo reports how many bytes its writer took, and why it stopped.
func TestWriteToReportsWhatItsWriterTook(t *testing.T) {
	const size, taken = 200_000, 70_000
	for _, want := range []error{errSource, io.ErrShortWrite} {
		t.Run(want.Error(), func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				c, s := sessions(t, tr, session.Config{Version: version})
				a, b := openPair(t, c, s)
				go a.Write(testutil.Pattern(1).Bytes(size))
				w := &fails{left: taken, err: want}
				if want == io.ErrShortWrite {
					w.err = nil // the writer breaks the contract of io.Writer
				}
				n, err := b.WriteTo(w)
				testutil.WantErr(t, "WriteTo", err, want)
				if n != taken {
					t.Errorf("WriteTo = %d, want %d", n, taken)
				}
				if err := testutil.Pattern(1).Check(w.got, 0); err != nil {
					t.Error(err)
				}
				// The stream still works.
				if _, err := b.Read(make([]byte, 1)); err != nil {
					t.Errorf("Read: %v", err)
				}
			})
		})
	}
}

// WriteTo goes on where Reads stopped.
func TestWriteToGoesOnWhereReadsStopped(t *testing.T) {
	const size = 100_000
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		go func() {
			if _, err := testutil.Pattern(1).Send(a, size, 7777); err != nil {
				t.Error(err)
			}
			a.Close()
		}()
		v := testutil.Pattern(1).Verifier()
		buf := make([]byte, 100)
		for range 20 {
			n, err := b.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			v.Write(buf[:n])
		}
		before := v.Offset()
		if n, err := b.WriteTo(v); n != size-before || err != nil {
			t.Errorf("WriteTo = %d, %v, want %d", n, err, size-before)
		}
		if n, err := b.WriteTo(v); n != 0 || err != nil {
			t.Errorf("WriteTo at the end = %d, %v", n, err)
		}
	})
}

// largest records the largest Write that it got, and the largest Read that it was asked for.
type largest struct {
	io.Reader
	writes, most int
}

func (l *largest) Write(p []byte) (int, error) {
	l.writes++
	l.most = max(l.most, len(p))
	return len(p), nil
}

func (l *largest) Read(p []byte) (int, error) {
	l.most = max(l.most, len(p))
	return l.Reader.Read(p)
}

// io.Copy uses WriteTo and ReadFrom, which move large pieces.
func TestIOCopyMovesLargePieces(t *testing.T) {
	const size = 2 << 20
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		a, b := openPair(t, c, s)
		r := &largest{Reader: testutil.Pattern(1).Reader(size)}
		var copying sync.WaitGroup
		copying.Go(func() {
			// The source is an io.Reader and nothing else, so that io.Copy uses ReadFrom.
			if _, err := io.Copy(a, struct{ io.Reader }{r}); err != nil {
				t.Error(err)
			}
			a.Close()
		})
		w := &largest{}
		if n, err := io.Copy(w, b); n != size || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		copying.Wait()
		if w.most < 16<<10 || r.most < 16<<10 || w.writes > size/4000 {
			t.Errorf("the reader was asked for at most %d bytes, the writer got at most %d in %d writes", r.most, w.most, w.writes)
		}
	})
}

var (
	_ io.ReaderFrom = (*stream.Stream)(nil)
	_ io.WriterTo   = (*stream.Stream)(nil)
)
