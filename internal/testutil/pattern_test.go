package testutil

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// A Pattern has the same bytes, however they are read.
func TestPatternIsTheSameHoweverItIsRead(t *testing.T) {
	p := Pattern(42)
	whole := p.Bytes(1000)
	for off := range 50 {
		for n := range 50 {
			part := make([]byte, n)
			p.Fill(part, int64(off))
			if !bytes.Equal(part, whole[off:off+n]) {
				t.Fatalf("Fill of %d bytes at %d", n, off)
			}
			if err := p.Check(part, int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		if p.At(int64(off)) != whole[off] {
			t.Fatalf("At(%d)", off)
		}
	}
	if err := iotest.TestReader(p.Reader(1000), whole); err != nil {
		t.Error(err)
	}
	if bytes.Equal(Pattern(43).Bytes(100), whole[:100]) {
		t.Error("another seed gives the same bytes")
	}
}

// A Pattern has different bytes beyond 4 GiB.
func TestPatternGoesBeyondFourGigabytes(t *testing.T) {
	p := Pattern(1)
	b := make([]byte, 100)
	p.Fill(b, 1<<40-50)
	if err := p.Check(b, 1<<40-50); err != nil {
		t.Error(err)
	}
	if err := p.Check(b, 1<<40-50-1<<32); err == nil {
		t.Error("it repeats after 4 GiB")
	}
}

// Check reports the first wrong byte.
func TestCheckNamesTheFirstWrongByte(t *testing.T) {
	p := Pattern(7)
	for i := range 100 {
		b := p.Bytes(100)
		b[i] ^= 1
		b[99] ^= 2 // a later wrong byte is not named
		var e *PatternError
		if err := p.Check(b, 0); !errors.As(err, &e) || e.Offset != int64(i) {
			t.Fatalf("byte %d is wrong, Check says %v", i, err)
		}
	}
}

// A PatternError says at which offset the bytes belong.
func TestPatternErrorSaysWhereTheBytesBelong(t *testing.T) {
	p := Pattern(7)
	whole := p.Bytes(1000)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"lost", append(whole[:100:100], whole[150:]...), "byte 100 is 0x6d, want 0x00; the bytes of offset 150 stand there (50 are missing)"},
		{"doubled", append(whole[:100:100], whole[60:]...), "byte 100 is 0x6d, want 0x00; the bytes of offset 60 stand there (40 came again)"},
		{"foreign", append(whole[:100:100], Pattern(8).Bytes(100)...), "byte 100 is 0x6d, want 0x00"},
		{"too few to tell", append(whole[:100:100], whole[150:153]...), "byte 100 is 0x6d, want 0x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e *PatternError
			if err := p.Check(c.got, 0); !errors.As(err, &e) {
				t.Fatal(err)
			}
			// The values of the two bytes do not matter.
			want := "pattern 7: " + strings.Replace(c.want, "0x6d, want 0x00", fmt.Sprintf("%#02x, want %#02x", c.got[100], whole[100]), 1)
			if diff := cmp.Diff(want, e.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Receive accepts what Send has sent.
func TestReceiveAcceptsWhatSendSent(t *testing.T) {
	const size = 100_000
	p := Pattern(3)
	for _, chunk := range []int{1, 7, 8, 1000, size, size * 2} {
		var b bytes.Buffer
		if n, err := p.Send(&b, size, chunk); n != size || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		if err := p.Receive(iotest.OneByteReader(&b), size); err != nil {
			t.Error(err)
		}
	}
	if n, err := p.Send(io.Discard, 0, 10); n != 0 || err != nil {
		t.Errorf("Send of nothing = %d, %v", n, err)
	}
	if err := p.Receive(strings.NewReader(""), 0); err != nil {
		t.Error(err)
	}
}

// Receive reports each kind of wrong data.
func TestReceiveFindsWhatIsWrong(t *testing.T) {
	p := Pattern(3)
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		r    io.Reader
		want string
	}{
		{"too few", p.Reader(99), "pattern 3: the end came after 99 bytes, not 100: EOF"},
		{"too many", p.Reader(101), "pattern 3: more came than its 100 bytes: 101 so far"},
		{"an error at the end", io.MultiReader(p.Reader(100), iotest.ErrReader(broken)), "pattern 3: the end came after 100 bytes, not 100: broken"},
		{"an error inside", io.MultiReader(p.Reader(50), iotest.ErrReader(broken)), "pattern 3: the end came after 50 bytes, not 100: broken"},
		{"other bytes", io.MultiReader(p.Reader(50), strings.NewReader("?")), fmt.Sprintf("pattern 3: byte 50 is 0x3f, want %#02x", p.At(50))},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := p.Receive(c.r, 100)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %v", err, c.want)
			}
		})
	}
	if err := p.Receive(iotest.ErrReader(broken), 0); !errors.Is(err, broken) {
		t.Errorf("%v does not wrap the reader's error", err)
	}
}

// Send returns how many bytes the writer took.
func TestSendReportsWhatTheWriterTook(t *testing.T) {
	p := Pattern(3)
	if n, err := p.Send(&limited{room: 25}, 100, 10); n != 25 || err != errFull {
		t.Errorf("Send = %d, %v", n, err)
	}
	if n, err := p.Send(&limited{room: 25, silent: true}, 100, 10); n != 25 || err != io.ErrShortWrite {
		t.Errorf("Send to a writer that hides it = %d, %v", n, err)
	}
}

// A writer that keeps the slice of a Send gets other bytes there.
func TestSendExposesAWriterThatKeepsItsSlice(t *testing.T) {
	var kept [][]byte
	if _, err := Pattern(3).Send(writerFunc(func(b []byte) (int, error) {
		kept = append(kept, b)
		return len(b), nil
	}), 100, 10); err != nil {
		t.Fatal(err)
	}
	if err := Pattern(3).Receive(bytes.NewReader(bytes.Join(kept, nil)), 100); err == nil {
		t.Error("it was not found out")
	}
}

// A Verifier keeps its first error.
func TestVerifierKeepsItsFirstError(t *testing.T) {
	p := Pattern(3)
	v := p.Verifier()
	if n, err := v.Write(p.Bytes(10)); n != 10 || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	b := make([]byte, 10)
	p.Fill(b, 10)
	b[4]++
	n, first := v.Write(b)
	if n != 4 || first == nil {
		t.Errorf("Write = %d, %v", n, first)
	}
	p.Fill(b, 14)
	if n, err := v.Write(b); n != 0 || err != first {
		t.Errorf("Write = %d, %v", n, err)
	}
	if v.Offset() != 14 {
		t.Errorf("Offset = %d", v.Offset())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var errFull = errors.New("full")

// limited is a writer that takes room bytes.
type limited struct {
	room   int
	silent bool
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) <= l.room {
		l.room -= len(b)
		return len(b), nil
	}
	if l.silent {
		return l.room, nil
	}
	return l.room, errFull
}

// BenchmarkPatternFill fills a buffer with a Pattern.
func BenchmarkPatternFill(b *testing.B) {
	buf := make([]byte, 32<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		Pattern(1).Fill(buf, 3)
	}
}

// BenchmarkPatternCheck checks a buffer against a Pattern.
func BenchmarkPatternCheck(b *testing.B) {
	buf := make([]byte, 32<<10)
	Pattern(1).Fill(buf, 3)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if err := Pattern(1).Check(buf, 3); err != nil {
			b.Fatal(err)
		}
	}
}
