//go:build !self

package interop

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/smuxkit/smuxkit/session/service"
)

// Services are payload alone: an application of the original that follows docs/service.md uses services of ours, and
// serves some.
func TestServicesWorkTowardTheOriginal(t *testing.T) {
	matrix(t, []setting{defaults}, func(t *testing.T, l *link) {
		s := l.ours.(ourSession).Session
		mux := new(service.Mux)
		mux.Handle("echo", func(st *service.Stream) {
			p := make([]byte, 7)
			if _, err := io.ReadFull(st, p); err != nil {
				t.Error(err)
			}
			st.Write(p)
		})
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan struct{})
		go func() {
			defer close(served)
			mux.Serve(ctx, s)
		}()
		for header, want := range map[string]string{
			"\xd1\x06\x00\x04echo\x00": "\x00request",
			"\xd1\x03\x00\x01a\x00":    "\x01\x01\x00\x00\x00",
		} {
			st, err := l.theirs.Open()
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, "theirs", st, []byte(header+"request"))
			if got, err := io.ReadAll(st); string(got) != want || err != nil {
				t.Errorf("theirs: read %q, %v, want %q", got, err, want)
			}
			mustClose(t, "theirs", st)
		}
		stop()
		<-served

		for answer, want := range map[string]error{
			"\x00answer":                   nil,
			"\x01\x40\x00\x04\x00busy":     &service.RefusedError{Service: "echo", Code: 64, Text: "busy"},
			"HTTP/1.1 400 Bad Request\r\n": service.ErrAnswer,
		} {
			st, err := service.Open(t.Context(), s, "echo", nil)
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, "ours", st, []byte("request"))
			theirs, err := l.theirs.Accept()
			if err != nil {
				t.Fatal(err)
			}
			readTheirs(t, theirs, "\xd1\x06\x00\x04echo\x00request")
			mustWrite(t, "theirs", theirs, []byte(answer))
			mustClose(t, "theirs", theirs)
			got, err := io.ReadAll(st)
			refused, wantRefused := new(service.RefusedError), new(service.RefusedError)
			switch {
			case want == nil:
				if string(got) != "answer" || err != nil {
					t.Errorf("ours: read %q, %v", got, err)
				}
			case errors.As(want, &wantRefused):
				if !errors.As(err, &refused) || *refused != *wantRefused {
					t.Errorf("ours: read %q, %v, want %v", got, err, want)
				}
			case !errors.Is(err, want):
				t.Errorf("ours: read %q, %v, want %v", got, err, want)
			}
			mustClose(t, "ours", st)
		}
		wantNoStreams(t, l)
	})
}

// readTheirs reads want from a stream of theirs.
func readTheirs(t *testing.T, s muxStream, want string) {
	t.Helper()
	p := make([]byte, len(want))
	if _, err := io.ReadFull(s, p); err != nil || string(p) != want {
		t.Fatalf("theirs: read %q, %v, want %q", p, err, want)
	}
}
