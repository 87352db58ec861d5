package testutil

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Pattern is an endless sequence of pseudo-random bytes. Its value is the seed: equal Patterns are equal
// sequences. With a Pattern for each stream a test finds bytes that went to the wrong stream, as well as lost,
// doubled and reordered bytes.
type Pattern uint64

// word returns bytes 8i to 8i+7, by the finaliser of splitmix64.
func (p Pattern) word(i int64) uint64 {
	z := (uint64(p)*0x632be59bd9b4e019 + uint64(i) + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// At returns the byte at offset off.
func (p Pattern) At(off int64) byte { return byte(p.word(off/8) >> (off % 8 * 8)) }

// Fill sets b to the bytes from offset off.
func (p Pattern) Fill(b []byte, off int64) {
	for ; len(b) > 0 && off%8 != 0; b, off = b[1:], off+1 {
		b[0] = p.At(off)
	}
	for ; len(b) >= 8; b, off = b[8:], off+8 {
		binary.LittleEndian.PutUint64(b, p.word(off/8))
	}
	for i := range b {
		b[i] = p.At(off + int64(i))
	}
}

// Bytes returns the first n bytes.
func (p Pattern) Bytes(n int) []byte {
	b := make([]byte, n)
	p.Fill(b, 0)
	return b
}

// Check returns nil if b equals the bytes from offset off, and otherwise a *PatternError about the first byte that
// differs.
func (p Pattern) Check(b []byte, off int64) error {
	for i := 0; i < len(b); {
		if pos := off + int64(i); pos%8 == 0 && len(b)-i >= 8 && binary.LittleEndian.Uint64(b[i:]) == p.word(pos/8) {
			i += 8
			continue
		}
		if b[i] != p.At(off+int64(i)) {
			return p.mismatch(b[i:], off+int64(i))
		}
		i++
	}
	return nil
}

// searchDistance is how far around a wrong byte Check searches for the offset where it belongs.
const searchDistance = 1 << 20

func (p Pattern) mismatch(b []byte, off int64) error {
	e := &PatternError{Pattern: p, Offset: off, Got: b[0], Want: p.At(off), BelongsAt: -1}
	if len(b) >= 8 { // fewer would be found by chance
		from := max(0, off-searchDistance)
		around := make([]byte, off+searchDistance-from)
		p.Fill(around, from)
		if i := bytes.Index(around, b[:min(len(b), 16)]); i >= 0 {
			e.BelongsAt = from + int64(i)
		}
	}
	return e
}

// PatternError reports the first byte that differs from its Pattern.
type PatternError struct {
	Pattern   Pattern
	Offset    int64 // of the byte
	Got, Want byte
	BelongsAt int64 // the offset where these bytes belong, or -1 if that is unknown
}

// Error says what is wrong and, if it is known, whether bytes were lost or doubled.
func (e *PatternError) Error() string {
	s := fmt.Sprintf("pattern %d: byte %d is %#02x, want %#02x", uint64(e.Pattern), e.Offset, e.Got, e.Want)
	switch {
	case e.BelongsAt > e.Offset:
		s += fmt.Sprintf("; the bytes of offset %d stand there (%d are missing)", e.BelongsAt, e.BelongsAt-e.Offset)
	case e.BelongsAt >= 0:
		s += fmt.Sprintf("; the bytes of offset %d stand there (%d came again)", e.BelongsAt, e.Offset-e.BelongsAt)
	}
	return s
}

// Reader returns a reader of the first n bytes, and then io.EOF. It has no method but Read, for one goroutine at a
// time.
func (p Pattern) Reader(n int64) io.Reader { return &patternReader{pattern: p, left: n} }

type patternReader struct {
	pattern   Pattern
	off, left int64
}

func (r *patternReader) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), r.left)]
	r.pattern.Fill(b, r.off)
	r.off += int64(len(b))
	r.left -= int64(len(b))
	return len(b), nil
}

// Send writes the first n bytes to w, chunk bytes a Write, and returns how many w took. It overwrites its buffer
// after each Write, which exposes a writer that keeps it.
func (p Pattern) Send(w io.Writer, n int64, chunk int) (int64, error) {
	buf := make([]byte, min(int64(chunk), n))
	var off int64
	for off < n {
		b := buf[:min(int64(len(buf)), n-off)]
		p.Fill(b, off)
		k, err := w.Write(b)
		off += int64(k)
		clear(b)
		if err != nil {
			return off, err
		}
		if k < len(b) {
			return off, io.ErrShortWrite
		}
	}
	return off, nil
}

// Receive reads r to its end. It returns nil if that was exactly the first n bytes, followed by io.EOF. Otherwise
// its error says what came instead, and wraps a *PatternError or the error of r.
func (p Pattern) Receive(r io.Reader, n int64) error {
	v := p.Verifier()
	buf := make([]byte, 32<<10)
	for {
		k, err := r.Read(buf)
		if _, wrong := v.Write(buf[:k]); wrong != nil {
			return wrong
		}
		switch {
		case err == io.EOF && v.Offset() == n:
			return nil
		case err != nil:
			return fmt.Errorf("pattern %d: the end came after %d bytes, not %d: %w", uint64(p), v.Offset(), n, err)
		case v.Offset() > n:
			return fmt.Errorf("pattern %d: more came than its %d bytes: %d so far", uint64(p), n, v.Offset())
		}
	}
}

// Verifier is a writer that checks the bytes of a Pattern, from the first one. It is for one goroutine at a time.
type Verifier struct {
	pattern Pattern
	off     int64
	err     error
}

// Verifier returns a new Verifier.
func (p Pattern) Verifier() *Verifier { return &Verifier{pattern: p} }

// Write returns a *PatternError at the first byte that differs, and the number of right bytes before it. Later
// calls return the same error.
func (v *Verifier) Write(b []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n := len(b)
	if err := v.pattern.Check(b, v.off); err != nil {
		v.err = err
		n = int(err.(*PatternError).Offset - v.off)
	}
	v.off += int64(n)
	return n, v.err
}

// Offset returns the number of right bytes written so far.
func (v *Verifier) Offset() int64 { return v.off }
