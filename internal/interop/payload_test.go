package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"
)

var seedFlag = flag.Uint64("seed", 0, "sizes and bytes of the payloads; 0 means new ones in each run")

// newSeed returns the seed of a test and logs it.
func newSeed(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return seed
}

// payload is the bytes that one end of a stream sends: random, but the same at both ends.
type payload struct {
	seed   uint64
	stream uint32
	up     bool // sent by the end that opened the stream
	size   int
}

// newPayload returns a payload of 1 to largest bytes. Small sizes are as likely as large ones. The first four
// streams get the extremes.
func newPayload(seed uint64, stream uint32, up bool, largest int) payload {
	p := payload{seed: seed, stream: stream, up: up}
	switch {
	case stream == 0, stream == 1 && up, stream == 2 && !up:
		p.size = largest
	case stream <= 3:
		p.size = 1
	default:
		p.size = int(math.Exp(p.rand("size").Float64() * math.Log(float64(largest))))
	}
	return p
}

// rand returns a source of random bytes for one purpose.
func (p payload) rand(purpose string) *rand.Rand { return rand.New(p.source(purpose)) }

func (p payload) source(purpose string) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], p.seed)
	binary.LittleEndian.PutUint32(key[8:], p.stream)
	if p.up {
		key[12] = 1
	}
	copy(key[16:], purpose)
	return rand.NewChaCha8(key)
}

// bytes returns the whole payload.
func (p payload) bytes() []byte {
	b := make([]byte, p.size)
	p.source("data").Read(b)
	return b
}

// writeTo writes the payload in writes of random sizes.
func (p payload) writeTo(w io.Writer) error {
	data, sizes := p.source("data"), p.rand("write")
	buf := make([]byte, 64<<10)
	for left := p.size; left > 0; {
		chunk := buf[:min(left, chunkSize(sizes, len(buf)))]
		data.Read(chunk)
		n, err := w.Write(chunk)
		if err != nil {
			return fmt.Errorf("write of %d bytes, %d to go: %w", len(chunk), left-n, err)
		}
		if n != len(chunk) {
			return fmt.Errorf("write of %d bytes returned %d and no error", len(chunk), n)
		}
		left -= n
	}
	return nil
}

// readFrom reads the payload in reads of random sizes and checks every byte. It
// does not wait for the end of the stream.
func (p payload) readFrom(r io.Reader) error {
	data, sizes := p.source("data"), p.rand("read")
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := 0; off < p.size; {
		n, err := r.Read(got[:min(p.size-off, chunkSize(sizes, len(got)))])
		data.Read(want[:n])
		if i := mismatch(got[:n], want[:n]); i >= 0 {
			return fmt.Errorf("%w: byte %d of %d is %#02x, want %#02x", errWrongByte, off+i, p.size, got[i], want[i])
		}
		off += n
		if err != nil && off < p.size {
			return fmt.Errorf("read %d of %d bytes: %w", off, p.size, err)
		}
	}
	return nil
}

var errWrongByte = errors.New("a wrong byte")

// wantEOF reads the end of the stream.
func wantEOF(r io.Reader) error {
	n, err := io.CopyN(io.Discard, r, 1)
	if n != 0 {
		return fmt.Errorf("%w after the last one that was sent", errWrongByte)
	}
	if err != io.EOF {
		return fmt.Errorf("read at the end: %w, want io.EOF", err)
	}
	return nil
}

// chunkSize returns 1 to largest bytes. Most chunks are large. Those that are small find the edges, and take
// little time.
func chunkSize(r *rand.Rand, largest int) int {
	if r.IntN(4) == 0 {
		return 1 + r.IntN(min(largest, 64))
	}
	return 1 + r.IntN(largest)
}

// mismatch returns the first index at which a and b differ, or -1.
func mismatch(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// converse sends one payload and receives another on the same stream at the same time, half-closes, expects the
// peer's half-close, and closes. If one side cannot half-close, the opener closes when it has everything.
func converse(e end, s muxStream, opened bool, send, receive payload) error {
	halfClose := func() error {
		if err := s.CloseWrite(); err != nil {
			return fmt.Errorf("half-close: %w", err)
		}
		return nil
	}
	halves := e.peer.halfCloses()
	sent := make(chan error, 1)
	go func() {
		err := send.writeTo(s)
		if err == nil && halves && !e.losesUnread {
			err = halfClose()
		}
		sent <- err
	}()
	if err := receive.readFrom(s); err != nil {
		s.Close() // the writer gives up
		return errors.Join(err, <-sent)
	}
	if err := <-sent; err != nil {
		return err
	}
	if halves && e.losesUnread {
		if err := halfClose(); err != nil {
			return err
		}
	}
	if halves || !opened {
		if err := wantEOF(s); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// exchange opens streams on e and holds a conversation on each, all at once. The first four bytes on a stream are
// its number, so that the acceptor (serve) knows what to expect and what to send.
func exchange(t *testing.T, e end, seed uint64, largest int, streams []uint32, wait func(func())) {
	for _, id := range streams {
		wait(func() {
			s, err := e.Open()
			if err != nil {
				t.Errorf("%s: open stream %d: %v", e.name, id, err)
				return
			}
			if _, err := s.Write(binary.LittleEndian.AppendUint32(nil, id)); err != nil {
				t.Errorf("%s: first write on stream %d: %v", e.name, id, err)
				s.Close()
				return
			}
			up, down := newPayload(seed, id, true, largest), newPayload(seed, id, false, largest)
			if err := converse(e, s, true, up, down); err != nil {
				t.Errorf("%s: stream %d, which it opened: %v", e.name, id, err)
			}
		})
	}
}

// serve accepts n streams of the peer's exchange and holds their conversations.
func serve(t *testing.T, e end, seed uint64, largest, n int, wait func(func())) {
	wait(func() {
		for range n {
			s, err := e.Accept()
			if err != nil {
				t.Errorf("%s: accept: %v", e.name, err)
				return
			}
			wait(func() {
				var number [4]byte
				if _, err := io.ReadFull(s, number[:]); err != nil {
					t.Errorf("%s: first read on a stream: %v", e.name, err)
					s.Close()
					return
				}
				id := binary.LittleEndian.Uint32(number[:])
				up, down := newPayload(seed, id, true, largest), newPayload(seed, id, false, largest)
				if err := converse(e, s, false, down, up); err != nil {
					t.Errorf("%s: stream %d, which it accepted: %v", e.name, id, err)
				}
			})
		}
	})
}
