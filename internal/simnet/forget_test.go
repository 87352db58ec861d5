package simnet_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// Close of a conn that Datagrams has wrapped throws away what has not arrived, and the peer learns nothing of it.
func TestDatagramsForgetWhatHasNotArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, simnet.Link{Delay: time.Second})
		d := simnet.Datagrams(a)
		mustWrite(t, d, count(5))
		time.Sleep(time.Second)
		mustWrite(t, d, count(5)[:1])
		mustWrite(t, b, count(5))
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		mustRead(t, b, count(5))
		if err := b.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the peer reads %v", err)
		}
		mustWrite(t, b, count(5))
		_, readErr := d.Read(make([]byte, 1))
		_, writeErr := d.Write([]byte{1})
		for name, err := range map[string]error{"Read": readErr, "Write": writeErr, "Close": d.Close()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Such a conn has the network "udp", and nothing that says more about its end.
func TestDatagramsHaveNoHalfClose(t *testing.T) {
	a, _ := pair(t, simnet.Link{})
	d := simnet.Datagrams(a)
	if d.LocalAddr().Network() != "udp" || d.RemoteAddr().Network() != "udp" {
		t.Errorf("the networks are %q and %q", d.LocalAddr().Network(), d.RemoteAddr().Network())
	}
	switch d.(type) {
	case io.WriterTo, io.ReaderFrom, interface{ CloseWrite() error }:
		t.Error("it does more")
	}
}
