package wire_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/wire"
)

// A frame is a header and its payload.
type frame struct {
	Header  wire.Header
	Payload string
}

func (f frame) append(b []byte) []byte { return append(f.Header.Append(b), f.Payload...) }

func psh(v wire.Version, id uint32, payload string) frame {
	return frame{wire.Header{Version: v, Command: wire.PSH, Length: uint16(len(payload)), StreamID: id}, payload}
}

func upd(id, consumed, window uint32) frame {
	return frame{
		wire.Header{Version: wire.V2, Command: wire.UPD, Length: wire.UpdateSize, StreamID: id},
		string(wire.WindowUpdate{Consumed: consumed, Window: window}.Append(nil)),
	}
}

func control(v wire.Version, c wire.Command, id uint32) frame {
	return frame{Header: wire.Header{Version: v, Command: c, StreamID: id}}
}

// random returns n bytes that are the same in every run.
func random(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{'s', 'm', 'u', 'x'}).Read(b)
	return string(b)
}

// conversation holds every kind of frame of version 2, the largest and the
// empty PSH among them.
var conversation = []frame{
	control(wire.V2, wire.NOP, 0),
	control(wire.V2, wire.SYN, 3),
	psh(wire.V2, 3, "hello"),
	psh(wire.V2, 3, ""),
	upd(3, 1<<32-1, 262144),
	psh(wire.V2, 3, random(wire.MaxPayload)),
	control(wire.V2, wire.FIN, 3),
}

func encode(frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		b = f.append(b)
	}
	return b
}

// decodeAll reads frames until an error, which it returns.
func decodeAll(d *wire.Decoder) (frames []frame, err error) {
	for {
		h, err := d.Next()
		if err != nil {
			return frames, err
		}
		p, err := d.AppendPayload(nil)
		if err != nil {
			return frames, err
		}
		frames = append(frames, frame{h, string(p)})
	}
}

// readers are ways in which an io.Reader may return the same bytes.
var readers = map[string]func(io.Reader) io.Reader{
	"all at once":          func(r io.Reader) io.Reader { return r },
	"one byte at a time":   iotest.OneByteReader,
	"half of what is due":  iotest.HalfReader,
	"data with the error":  iotest.DataErrReader,
	"byte with the error":  func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
	"nothing now and then": func(r io.Reader) io.Reader { return &hesitant{r: r} },
}

// hesitant is a reader that returns 0 bytes and no error before each Read that returns bytes.
type hesitant struct {
	r    io.Reader
	turn int
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.turn++; h.turn%4 != 0 {
		return 0, nil
	}
	return h.r.Read(p)
}

// A Decoder reads every frame, in whatever pieces the bytes arrive.
func TestDecoderReadsFramesInAnyPieces(t *testing.T) {
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			input := encode(conversation...)
			d := wire.NewDecoder(reader(bytes.NewReader(input)))
			got, err := decodeAll(d)
			if err != io.EOF {
				t.Errorf("error is %v, want io.EOF", err)
			}
			if diff := cmp.Diff(conversation, got); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
			if d.InputOffset() != int64(len(input)) {
				t.Errorf("InputOffset = %d, want %d", d.InputOffset(), len(input))
			}
			if _, err := d.Next(); err != io.EOF {
				t.Errorf("another Next: %v, want io.EOF", err)
			}
		})
	}
}

// Next skips the unread payload of the current frame.
func TestDecoderNextSkipsTheUnreadPayload(t *testing.T) {
	payload := random(wire.MaxPayload)
	for name, reader := range readers {
		for _, n := range []int{0, 1, 8191, 8192, 8193, 65534, 65535} {
			t.Run(name+"/"+strconv.Itoa(n), func(t *testing.T) {
				d := wire.NewDecoder(reader(bytes.NewReader(encode(psh(wire.V1, 1, payload), psh(wire.V1, 5, "x")))))
				if _, err := d.Next(); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, n)
				if _, err := io.ReadFull(d, got); err != nil {
					t.Fatal(err)
				}
				if string(got) != payload[:n] {
					t.Error("wrong payload")
				}
				if d.Unread() != len(payload)-n {
					t.Errorf("Unread = %d, want %d", d.Unread(), len(payload)-n)
				}
				h, err := d.Next()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(psh(wire.V1, 5, "x").Header, h); diff != "" {
					t.Errorf("next header (-want +got):\n%s", diff)
				}
				if want := int64(2*wire.HeaderSize + len(payload)); d.InputOffset() != want {
					t.Errorf("InputOffset = %d, want %d", d.InputOffset(), want)
				}
			})
		}
	}
}

// The end of the input is io.EOF between frames and io.ErrUnexpectedEOF inside a frame.
func TestDecoderEndOfInput(t *testing.T) {
	frames := []frame{
		control(wire.V2, wire.SYN, 3), psh(wire.V2, 3, "hello"), psh(wire.V2, 3, ""), upd(3, 5, 9), control(wire.V2, wire.FIN, 3),
	}
	input := encode(frames...)
	clean := map[int]bool{}
	for i := range len(frames) + 1 {
		clean[len(encode(frames[:i]...))] = true
	}
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			for cut := range len(input) + 1 {
				want := io.ErrUnexpectedEOF
				if clean[cut] {
					want = io.EOF
				}
				reading := wire.NewDecoder(reader(bytes.NewReader(input[:cut])))
				if _, err := decodeAll(reading); err != want {
					t.Errorf("cut at %d, payload read: %v, want %v", cut, err, want)
				}
				skipping := wire.NewDecoder(reader(bytes.NewReader(input[:cut])))
				var err error
				for err == nil {
					_, err = skipping.Next()
				}
				if err != want {
					t.Errorf("cut at %d, payload skipped: %v, want %v", cut, err, want)
				}
				for _, d := range []*wire.Decoder{reading, skipping} {
					if d.InputOffset() != int64(cut) {
						t.Errorf("cut at %d: InputOffset = %d", cut, d.InputOffset())
					}
				}
			}
		})
	}
}

// Read returns io.EOF at the end of the frame.
func TestDecoderReadEndsWithTheFrame(t *testing.T) {
	d := wire.NewDecoder(iotest.DataErrReader(bytes.NewReader(encode(psh(wire.V1, 1, "hello"), control(wire.V1, wire.FIN, 1)))))
	p := make([]byte, 64)
	if n, err := d.Read(p); n != 0 || err != io.EOF {
		t.Errorf("before the first frame: %d, %v; want 0, io.EOF", n, err)
	}
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Read(nil); n != 0 || err != nil {
		t.Errorf("empty Read: %d, %v; want 0, nil", n, err)
	}
	if n, err := d.Read(p); string(p[:n]) != "hello" || err != nil {
		t.Errorf("Read: %q, %v; want hello, nil", p[:n], err)
	}
	if n, err := d.Read(p); n != 0 || err != io.EOF {
		t.Errorf("Read at the end of the frame: %d, %v; want 0, io.EOF", n, err)
	}
	if h, err := d.Next(); h.Command != wire.FIN || err != nil {
		t.Errorf("Next: %v, %v; want FIN", h, err)
	}
	if n, err := d.Read(p); n != 0 || err != io.EOF {
		t.Errorf("Read in a frame without payload: %d, %v; want 0, io.EOF", n, err)
	}
}

// A Decoder is an io.Reader of each payload that passes testing/iotest.
func TestDecoderIsAWellBehavedReader(t *testing.T) {
	payload := random(3000)
	d := wire.NewDecoder(bytes.NewReader(encode(psh(wire.V1, 1, payload), psh(wire.V1, 1, "next"))))
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(d, []byte(payload)); err != nil {
		t.Error(err)
	}
}

// A Decoder takes no byte beyond the current frame from its reader.
func TestDecoderTakesNoByteBeyondTheFrame(t *testing.T) {
	r := bytes.NewReader(append(encode(psh(wire.V1, 1, "hello")), "not ours"...))
	d := wire.NewDecoder(r)
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if got, err := d.AppendPayload(nil); string(got) != "hello" || err != nil {
		t.Errorf("payload %q, %v", got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "not ours" {
		t.Errorf("left in the reader: %q", rest)
	}
}

// AppendPayload appends the unread payload to the slice.
func TestDecoderAppendPayload(t *testing.T) {
	d := wire.NewDecoder(bytes.NewReader(encode(psh(wire.V1, 1, "hello"))))
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(d, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	b := append(make([]byte, 0, 9), "rest: "...)
	got, err := d.AppendPayload(b)
	if string(got) != "rest: llo" || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, "rest: llo")
	}
	if &got[0] != &b[0] {
		t.Error("allocated although there was room")
	}
	if again, err := d.AppendPayload(got); string(again) != string(got) || err != nil {
		t.Errorf("at the end of the frame: %q, %v", again, err)
	}
}

// AppendPayload returns the bytes that it read before an error.
func TestDecoderAppendPayloadBeforeAnError(t *testing.T) {
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			input := encode(psh(wire.V1, 1, "hello"))
			d := wire.NewDecoder(reader(bytes.NewReader(input[:len(input)-2])))
			if _, err := d.Next(); err != nil {
				t.Fatal(err)
			}
			got, err := d.AppendPayload(nil)
			if string(got) != "hel" || err != io.ErrUnexpectedEOF {
				t.Errorf("got %q, %v; want hel, io.ErrUnexpectedEOF", got, err)
			}
		})
	}
}

// After an invalid frame every call returns its error.
func TestDecoderInvalidFrameIsFinal(t *testing.T) {
	for _, tt := range badHeaders {
		t.Run(tt.name, func(t *testing.T) {
			// It has valid frames before and after it, and a payload if it claims one.
			input := tt.header.Append(nil)
			input = append(input, make([]byte, tt.header.Length)...)
			input = append(input, encode(control(wire.V1, wire.NOP, 0))...)
			d := wire.NewDecoder(bytes.NewReader(input))
			h, first := d.Next()
			checkHeaderError(t, first, tt.header, tt.want)
			if diff := cmp.Diff(tt.header, h); diff != "" {
				t.Errorf("header beside the error (-want +got):\n%s", diff)
			}
			if h, err := d.Next(); err != first || h != tt.header {
				t.Errorf("another Next: %v, %v; want the same as before", h, err)
			}
			if n, err := d.Read(make([]byte, 1)); n != 0 || err != first {
				t.Errorf("Read: %d, %v; want 0 and the error of Next", n, err)
			}
			if p, err := d.AppendPayload([]byte("x")); string(p) != "x" || err != first {
				t.Errorf("AppendPayload: %q, %v; want the slice as it was and the error of Next", p, err)
			}
			if d.Unread() != 0 || d.Version() != 0 || d.InputOffset() != wire.HeaderSize {
				t.Errorf("Unread %d, Version %v, InputOffset %d", d.Unread(), d.Version(), d.InputOffset())
			}
		})
	}
}

// All frames of a connection have the version of the first one.
func TestDecoderAcceptsOneVersion(t *testing.T) {
	tests := []struct {
		name   string
		first  frame
		second wire.Header
		want   error
	}{
		{"1 then 2", control(wire.V1, wire.SYN, 1), control(wire.V2, wire.FIN, 1).Header, wire.ErrVersionMismatch},
		{"2 then 1", psh(wire.V2, 1, "x"), psh(wire.V1, 1, "x").Header, wire.ErrVersionMismatch},
		{"1 then UPD", control(wire.V1, wire.NOP, 0), upd(1, 0, 0).Header, wire.ErrVersionMismatch},
		{"2 then UPD of 1", upd(1, 0, 0), wire.Header{Version: wire.V1, Command: wire.UPD, Length: 8, StreamID: 1}, wire.ErrVersionMismatch},
		{"2 then a broken one of 1", control(wire.V2, wire.NOP, 0), wire.Header{Version: wire.V1, Command: 77}, wire.ErrVersionMismatch},
		{"1 then 0", control(wire.V1, wire.NOP, 0), wire.Header{Command: wire.NOP}, wire.ErrVersion},
		{"1 then 3", control(wire.V1, wire.NOP, 0), wire.Header{Version: 3, Command: wire.NOP}, wire.ErrVersion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := wire.NewDecoder(bytes.NewReader(tt.second.Append(tt.first.append(nil))))
			if d.Version() != 0 {
				t.Errorf("Version is %v before the first frame", d.Version())
			}
			if _, err := d.Next(); err != nil {
				t.Fatal(err)
			}
			_, err := d.Next()
			checkHeaderError(t, err, tt.second, wire.ErrVersion)
			if got := errors.Is(err, wire.ErrVersionMismatch); got != (tt.want == wire.ErrVersionMismatch) {
				t.Errorf("errors.Is(%q, ErrVersionMismatch) = %v", err, got)
			}
			if d.Version() != tt.first.Header.Version {
				t.Errorf("Version = %v, want %v", d.Version(), tt.first.Header.Version)
			}

			e := wire.NewEncoder(io.Discard)
			if err := e.Encode(tt.first.Header, []byte(tt.first.Payload)); err != nil {
				t.Fatal(err)
			}
			err = e.Encode(tt.second, make([]byte, tt.second.Length))
			checkHeaderError(t, err, tt.second, wire.ErrVersion)
			if got := errors.Is(err, wire.ErrVersionMismatch); got != (tt.want == wire.ErrVersionMismatch) {
				t.Errorf("Encoder: errors.Is(%q, ErrVersionMismatch) = %v", err, got)
			}
		})
	}
}

// flaky is a reader that returns an error before each Read that returns bytes.
type flaky struct {
	r    io.Reader
	err  error
	turn int
}

func (f *flaky) Read(p []byte) (int, error) {
	if f.turn++; f.turn%2 == 1 {
		return 0, f.err
	}
	return f.r.Read(p[:1])
}

// A Decoder returns the error of its reader, and the next call continues.
func TestDecoderLosesNothingByAnError(t *testing.T) {
	for _, cause := range []error{os.ErrDeadlineExceeded, io.EOF} {
		frames := []frame{psh(wire.V1, 1, random(300)), psh(wire.V1, 1, "hello"), control(wire.V1, wire.FIN, 1)}
		d := wire.NewDecoder(&flaky{r: bytes.NewReader(encode(frames...)), err: cause})
		interrupted := 0
		// retry calls f again while the reader returns errors.
		retry := func(f func() error) {
			t.Helper()
			for {
				err := f()
				if err == nil {
					return
				}
				if err != cause && (cause != io.EOF || err != io.ErrUnexpectedEOF) {
					t.Fatalf("error is %v, want %v", err, cause)
				}
				if interrupted++; interrupted > 5000 {
					t.Fatal("no progress")
				}
			}
		}
		for i, want := range frames {
			got := frame{}
			retry(func() (err error) { got.Header, err = d.Next(); return err })
			if i == 0 {
				want.Payload = "" // not read, to be skipped by the next Next
			} else {
				var p []byte
				retry(func() (err error) { p, err = d.AppendPayload(p); return err })
				got.Payload = string(p)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("frame %d (-want +got):\n%s", i, diff)
			}
		}
		if want := len(encode(frames...)); interrupted != want {
			t.Errorf("interrupted %d times in %d bytes", interrupted, want)
		}
	}
}

// bothReader is a reader that returns its bytes together with its error.
type bothReader struct {
	data []byte
	err  error
}

func (b *bothReader) Read(p []byte) (int, error) {
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, b.err
}

// An error that comes with the last byte of a frame is returned by a later call.
func TestDecoderErrorWithTheLastByte(t *testing.T) {
	cause := errors.New("line cut")
	input := encode(psh(wire.V1, 1, "hello"), psh(wire.V1, 1, "again"))
	d := wire.NewDecoder(&bothReader{data: input, err: cause})
	got, err := decodeAll(d)
	if diff := cmp.Diff([]frame{psh(wire.V1, 1, "hello"), psh(wire.V1, 1, "again")}, got); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	if err != cause {
		t.Errorf("error is %v, want %v", err, cause)
	}

	d.Reset(&bothReader{data: input, err: cause})
	for range 2 { // the second skips the first one's payload
		if _, err := d.Next(); err != nil {
			t.Fatal(err)
		}
	}
	p := make([]byte, 64)
	if n, err := d.Read(p); string(p[:n]) != "again" || err != cause {
		t.Errorf("Read: %q, %v; want again and %v", p[:n], err, cause)
	}
}

// errMasked is an error that comes with an impossible count.
var errMasked = errors.New("masked")

// countReader is a reader that returns a wrong count.
type countReader struct{ delta int }

func (c countReader) Read(p []byte) (int, error) {
	if c.delta < 0 {
		return c.delta, errMasked
	}
	return len(p) + c.delta, nil
}

// A reader that breaks the contract of io.Reader causes an error, not a panic.
func TestDecoderDoesNotTrustItsReader(t *testing.T) {
	if _, err := wire.NewDecoder(&bothReader{}).Next(); err != io.ErrNoProgress {
		t.Errorf("a reader that returns nothing: %v, want io.ErrNoProgress", err)
	}
	for _, delta := range []int{-1, 1, 1 << 30} {
		d := wire.NewDecoder(countReader{delta})
		if h, err := d.Next(); err == nil || err == errMasked {
			t.Errorf("a count off by %d: %v, %v", delta, h, err)
		}
		d = wire.NewDecoder(io.MultiReader(bytes.NewReader(encode(psh(wire.V1, 1, "hello"))[:10]), countReader{delta}))
		if _, err := d.Next(); err != nil {
			t.Fatal(err)
		}
		if p, err := d.AppendPayload(nil); err == nil || err == errMasked || string(p) != "he" {
			t.Errorf("a count off by %d: %q, %v", delta, p, err)
		}
		if d.InputOffset() != 10 {
			t.Errorf("a count off by %d: InputOffset = %d, want 10", delta, d.InputOffset())
		}
	}
}

// A Decoder after Reset is as a new one.
func TestDecoderResetIsAsNew(t *testing.T) {
	// Left in the middle of a payload, of a header, and at a broken frame.
	for _, input := range [][]byte{
		encode(psh(wire.V2, 1, "hello")), encode(psh(wire.V2, 1, "hello"))[:5], encode(control(wire.V2, 9, 9)),
	} {
		d := wire.NewDecoder(bytes.NewReader(input))
		d.Next()
		d.Reset(bytes.NewReader(encode(psh(wire.V1, 3, "new"))))
		if d.Version() != 0 || d.InputOffset() != 0 || d.Unread() != 0 {
			t.Errorf("Version %v, InputOffset %d, Unread %d", d.Version(), d.InputOffset(), d.Unread())
		}
		got, err := decodeAll(d)
		if diff := cmp.Diff([]frame{psh(wire.V1, 3, "new")}, got); diff != "" || err != io.EOF {
			t.Errorf("error %v, frames (-want +got):\n%s", err, diff)
		}
	}
}
