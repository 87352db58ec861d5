package wire_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/wire"
)

// classify returns the kind of err, and fails if err is of no kind or of two.
func classify(t *testing.T, err error) string {
	t.Helper()
	var he *wire.HeaderError
	switch {
	case err == nil:
		return "none"
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return err.Error()
	case !errors.As(err, &he):
		t.Fatalf("unclassified error %v (%T)", err, err)
	}
	matches := 0
	for _, s := range sentinels {
		if errors.Is(err, s) {
			matches++
		}
	}
	if matches != 1 || he.Error() == "" {
		t.Fatalf("%q matches %d sentinels", err, matches)
	}
	return "header"
}

func FuzzParseHeader(f *testing.F) {
	for _, tt := range goodHeaders {
		f.Add(tt.header.Append(nil))
	}
	for _, tt := range badHeaders {
		f.Add(tt.header.Append(nil))
	}
	f.Add([]byte{})
	f.Add([]byte("\x01\x02\x05\x00\x03\x00\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := wire.ParseHeader(b)
		kind := classify(t, err)
		if len(b) < wire.HeaderSize {
			want := io.ErrUnexpectedEOF
			if len(b) == 0 {
				want = io.EOF
			}
			if err != want || h != (wire.Header{}) {
				t.Fatalf("%d bytes: %v, %v", len(b), h, err)
			}
			return
		}
		if got := h.Append(nil); !bytes.Equal(got, b[:wire.HeaderSize]) {
			t.Fatalf("%x came back as %x", b[:wire.HeaderSize], got)
		}
		if (kind == "none") != legal(h) || (kind == "header") == legal(h) {
			t.Fatalf("%v: %v, but legal is %v", h, err, legal(h))
		}
		if diff := cmp.Diff(err, h.Validate(), cmp.Comparer(sameText)); diff != "" {
			t.Fatalf("Validate and ParseHeader differ:\n%s", diff)
		}
		if u, err := wire.ParseWindowUpdate(b); err == nil {
			if got := u.Append(nil); !bytes.Equal(got, b) {
				t.Fatalf("%x came back as %x", b, got)
			}
		} else if len(b) == wire.UpdateSize || !errors.Is(err, wire.ErrUpdateLength) {
			t.Fatalf("%d bytes as a window update: %v", len(b), err)
		}
	})
}

func sameText(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}

// walk is another implementation of a Decoder. It returns the frames of an input, how far it
// got, and the error at the end.
func walk(b []byte) (frames []frame, offset int, end error) {
	for offset < len(b) {
		h, err := wire.ParseHeader(b[offset:])
		if len(b)-offset < wire.HeaderSize {
			return frames, len(b), err
		}
		offset += wire.HeaderSize
		switch {
		case err != nil && errors.Is(err, wire.ErrVersion):
			return frames, offset, wire.ErrVersion
		case len(frames) > 0 && h.Version != frames[0].Header.Version:
			return frames, offset, wire.ErrVersionMismatch
		case err != nil:
			return frames, offset, errors.Unwrap(err)
		case len(b)-offset < int(h.Length):
			return frames, len(b), io.ErrUnexpectedEOF
		}
		frames = append(frames, frame{h, string(b[offset : offset+int(h.Length)])})
		offset += int(h.Length)
	}
	return frames, offset, io.EOF
}

// maxFuzz bounds the input of FuzzDecoder, and noise is what follows it.
const maxFuzz = 128

var noise = []byte(random(1<<16 - 1))

// chopped is a reader that returns its bytes in pieces. The fuzzer chooses their sizes.
type chopped struct {
	data  []byte
	sizes []byte
	turn  int
}

func (c *chopped) Read(p []byte) (int, error) {
	n := len(p)
	if len(c.sizes) > 0 {
		n = min(n, int(c.sizes[c.turn%len(c.sizes)]))
		c.turn++
		if n == 0 && c.turn%50 == 0 {
			n = 1 // not without end
		}
	}
	n = copy(p[:min(n, len(p))], c.data)
	c.data = c.data[n:]
	if len(c.data) == 0 && c.turn%2 == 0 {
		return n, io.EOF
	}
	if n == 0 && len(c.data) == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// FuzzDecoder compares a Decoder with walk. The input is the beginning of what is decoded, and more is
// how many bytes follow: the fuzzer takes long to minimize a long input.
func FuzzDecoder(f *testing.F) {
	f.Add(encode(conversation[:5]...), []byte{3}, uint16(0))
	f.Add(encode(conversation[:5]...)[:30], []byte{}, uint16(0))
	f.Add(encode(psh(wire.V1, 1, random(300)), control(wire.V1, wire.FIN, 1))[:maxFuzz], []byte{1, 0, 200}, uint16(188))
	f.Add(encode(psh(wire.V1, 1, "x"), control(wire.V2, wire.FIN, 1)), []byte{0, 0, 9}, uint16(0))
	f.Add(encode(psh(wire.V2, 2, random(20000)))[:wire.HeaderSize], []byte{255}, uint16(20000))
	f.Add(encode(psh(wire.V2, 2, random(20000)))[:wire.HeaderSize], []byte{}, uint16(19999))
	for _, tt := range badHeaders {
		f.Add(append(encode(control(wire.V1, wire.NOP, 0)), tt.header.Append(nil)...), []byte{5}, uint16(0))
	}
	f.Fuzz(func(t *testing.T, input, sizes []byte, more uint16) {
		input = slices.Concat(input[:min(len(input), maxFuzz)], noise[:more])
		wantFrames, wantOffset, wantErr := walk(input)

		d := wire.NewDecoder(&chopped{data: input, sizes: sizes})
		got, err := decodeAll(d)
		classify(t, err)
		if !slices.Equal(wantFrames, got) {
			t.Fatalf("frames (-want +got):\n%s", cmp.Diff(wantFrames, got))
		}
		if !errors.Is(err, wantErr) || d.InputOffset() != int64(wantOffset) {
			t.Fatalf("%v at %d, want %v at %d", err, d.InputOffset(), wantErr, wantOffset)
		}
		if errors.Is(err, wire.ErrVersionMismatch) != (wantErr == wire.ErrVersionMismatch) {
			t.Fatalf("%v, want %v", err, wantErr)
		}
		if _, again := d.Next(); again != err && err != io.ErrUnexpectedEOF {
			t.Fatalf("first %v, then %v", err, again)
		}

		// Reading some of a payload, or none, changes nothing else.
		d.Reset(&chopped{data: input, sizes: sizes})
		i, p := 0, make([]byte, 300)
		for {
			h, err := d.Next()
			if err != nil {
				if !errors.Is(err, wantErr) {
					t.Fatalf("skipping: %v, want %v", err, wantErr)
				}
				break
			}
			if i < len(wantFrames) && h != wantFrames[i].Header {
				t.Fatalf("frame %d is %v, want %v", i, h, wantFrames[i].Header)
			}
			n, err := d.Read(p[:i%len(p)])
			if err == nil && i < len(wantFrames) && string(p[:n]) != wantFrames[i].Payload[:n] {
				t.Fatalf("frame %d: payload starts %q", i, p[:n])
			}
			i++
		}

		// The decoded frames encode to the same bytes.
		var out bytes.Buffer
		e := wire.NewEncoder(&out)
		for _, f := range got {
			if err := e.Encode(f.Header, []byte(f.Payload)); err != nil {
				t.Fatalf("%v: %v", f.Header, err)
			}
		}
		if !bytes.HasPrefix(input, out.Bytes()) || out.Len() != len(encode(got...)) {
			t.Fatalf("encoded again to %x", out.Bytes())
		}
	})
}

func FuzzEncoder(f *testing.F) {
	for _, fr := range conversation[:5] {
		f.Add(uint8(fr.Header.Version), uint8(fr.Header.Command), fr.Header.Length, fr.Header.StreamID, []byte(fr.Payload))
	}
	f.Add(uint8(1), uint8(2), uint16(5), uint32(0), []byte("hello"))
	f.Add(uint8(1), uint8(2), uint16(4), uint32(1), []byte("hello"))
	f.Fuzz(func(t *testing.T, version, command uint8, length uint16, id uint32, payload []byte) {
		h := wire.Header{Version: wire.Version(version), Command: wire.Command(command), Length: length, StreamID: id}
		var out bytes.Buffer
		err := wire.NewEncoder(&out).Encode(h, payload)
		if want := legal(h) && len(payload) == int(length); (err == nil) != want {
			t.Fatalf("%v with %d bytes: %v", h, len(payload), err)
		}
		if err != nil {
			if out.Len() != 0 {
				t.Fatalf("%v, but %d bytes were written", err, out.Len())
			}
			return
		}
		got, err := decodeAll(wire.NewDecoder(&out))
		if diff := cmp.Diff([]frame{{h, string(payload)}}, got); diff != "" || err != io.EOF {
			t.Fatalf("error %v, frames (-want +got):\n%s", err, diff)
		}
	})
}
