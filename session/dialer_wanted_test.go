package session

import (
	"context"
	"errors"
	"io"
	"testing"
)

// A call that fails fast waits for the next dial if one has failed since it began, another has succeeded, and its
// session has gone already: there is no error that it could return.
func TestDialerFailFastHasAnError(t *testing.T) {
	failure := errors.New("refused")
	d := &Dialer{FailFast: true, Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	defer d.Close()
	if err := d.begin(); err != nil {
		t.Fatal(err)
	}
	w := wanted{stream: true}
	if _, changed, err := d.tryChoose(&w); changed == nil {
		t.Fatalf("the first dial is not waited for: %v", err)
	}
	d.mu.Lock()
	d.dialing.total++ // it has failed, and the next has succeeded
	d.mu.Unlock()
	if _, changed, err := d.tryChoose(&w); changed == nil {
		t.Errorf("the next dial is not waited for: %#v", err)
	}
	d.mu.Lock()
	d.dialing.err = failure
	d.mu.Unlock()
	if _, changed, err := d.tryChoose(&w); changed != nil || !errors.Is(err, failure) {
		t.Errorf("after a failure: %v", err)
	}
}
