package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// largest returns metadata at both limits.
func largest() map[string]string {
	metadata := make(map[string]string)
	total := 0
	for i := range MaxEntries {
		key := fmt.Sprintf("%02d%s", i, strings.Repeat("k", maxKey-2))
		metadata[key] = ""
		total += len(key)
	}
	metadata["00"+strings.Repeat("k", maxKey-2)] = strings.Repeat("v", MaxMetadata-total)
	return metadata
}

// A header arrives as it was sent, however its bytes are cut, up to the limits.
func TestHeaderArrivesHoweverItIsCut(t *testing.T) {
	for _, c := range []struct {
		name     string
		metadata map[string]string
	}{
		{"a", nil},
		{strings.Repeat("n", MaxName), nil},
		{"\x00\xff", map[string]string{"\x00": "\x00", "k": ""}},
		{strings.Repeat("n", MaxName), largest()},
		{"one", map[string]string{"k": strings.Repeat("v", MaxMetadata-1)}},
	} {
		if err := checkHeader(c.name, c.metadata); err != nil {
			t.Fatal(err)
		}
		b := append(appendHeader(nil, c.name, c.metadata), "payload"...)
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), iotest.HalfReader(bytes.NewReader(b))} {
			s := new(Stream)
			if err := s.parseHeader(r); err != nil {
				t.Fatal(err)
			}
			if s.name != c.name || !cmp.Equal(s.metadata, c.metadata) {
				t.Errorf("got %q %q, want %q %q", s.name, s.metadata, c.name, c.metadata)
			}
			if rest, err := io.ReadAll(r); string(rest) != "payload" || err != nil {
				t.Errorf("%q is left behind the header, %v", rest, err)
			}
		}
	}
}

// Each limit is checked by the opener, whose error names everything that is wrong, and by the other side.
func TestHeaderBeyondALimitIsRejected(t *testing.T) {
	many := make(map[string]string)
	for i := range 10 * MaxEntries / 5 {
		many[fmt.Sprint(i)] = ""
	}
	long := largest()
	long["00"+strings.Repeat("k", maxKey-2)] += "v"
	for _, c := range []struct {
		name     string
		metadata map[string]string
		want     []string
	}{
		{"", nil, []string{"the name has 0 bytes"}},
		{strings.Repeat("n", 256), nil, []string{"the name has 256 bytes"}},
		{"n", many, []string{"128 entries"}},
		{"n", long, []string{"16385 bytes"}},
		{"n", map[string]string{"": ""}, []string{"key of 0 bytes"}},
		{"n", map[string]string{strings.Repeat("k", 256): ""}, []string{"key of 256 bytes"}},
		{"", map[string]string{"": strings.Repeat("v", 10*MaxMetadata)}, []string{"name has 0", "key of 0", "163840 bytes"}},
	} {
		err := checkHeader(c.name, c.metadata)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q in it", err, want)
			}
		}
		if len(c.name) > 255 || len(c.metadata) == 1 {
			continue // cannot be encoded
		}
		b := appendHeader(nil, c.name, c.metadata)
		if _, _, err := parse(b); !errors.Is(err, errHeader) {
			t.Errorf("%v: parsed: %v", c.want, err)
		}
	}
}

// The length that a header claims does not decide how much memory is allocated.
func TestHeaderLengthAllocatesNothing(t *testing.T) {
	var caps []int
	r := readerFunc(func(p []byte) (int, error) {
		caps = append(caps, len(p))
		p[0] = 1
		return 1, nil
	})
	if _, err := readBody(r, maxBody); err != nil {
		t.Fatal(err)
	}
	for i, n := range caps {
		if n > max(512, 2*i) {
			t.Fatalf("after %d bytes there was room for %d more", i, n)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The text of a refusal is cut to MaxText bytes between two characters, and is valid UTF-8 on both sides.
func TestRefusalTextIsCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{strings.Repeat("x", 10*MaxText), strings.Repeat("x", MaxText)},
		{"x" + strings.Repeat("é", MaxText), "x" + strings.Repeat("é", (MaxText-1)/2)},
		{"a\xffb", "a\ufffdb"},
	} {
		p := answerParser{got: encodeRefusal(64, c.text)}
		if n := p.missing(); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
		var refused *RefusedError
		if err := p.result("s"); !errors.As(err, &refused) || refused.Text != c.want {
			t.Errorf("%.20q became %v", c.text, err)
		}
	}
	p := answerParser{got: []byte{1, 64, 0, 1, 0, 0xff}}
	if err, ok := p.result("s").(*RefusedError); !ok || !utf8.ValidString(err.Text) {
		t.Errorf("a peer's text is %v", err)
	}
}

// What parseHeader takes is encoded in one way, and keeps within the limits.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{})
	for _, metadata := range []map[string]string{nil, {"k": "v"}, {"a": "", "b": "\x00"}} {
		f.Add(appendHeader(nil, "name", metadata))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		s := new(Stream)
		if err := s.parseHeader(r); err != nil {
			if !errors.Is(err, errHeader) && err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Fatalf("an error of no known kind: %v", err)
			}
			return
		}
		if err := checkHeader(s.name, s.metadata); err != nil {
			t.Fatal(err)
		}
		if again := appendHeader(nil, s.name, s.metadata); !bytes.Equal(again, b[:len(b)-r.Len()]) {
			t.Fatalf("% x is encoded as % x", b, again)
		}
	})
}

// The parser of answers asks for bytes until it can tell, and then says the same of the same bytes.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0})
	f.Add(encodeRefusal(1, "text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p answerParser
		for {
			n := p.missing()
			if n == 0 {
				break
			}
			if n < 0 || n > MaxText+refusalSize {
				t.Fatalf("%d bytes are missing", n)
			}
			if n > len(b) {
				return
			}
			p.got, b = append(p.got, b[:n]...), b[n:]
		}
		var refused *RefusedError
		switch err := p.result("s"); {
		case err == nil, errors.Is(err, ErrAnswer):
		case !errors.As(err, &refused):
			t.Fatal(err)
		case utf8.ValidString(string(p.got[refusalSize:])):
			if again := encodeRefusal(refused.Code, refused.Text); !bytes.Equal(again, p.got) {
				t.Fatalf("% x is encoded as % x", p.got, again)
			}
		}
	})
}
