package simnet_test

import (
	"io"
	"net"
	"testing"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

// A bare conn can be read, written and closed, and has no other methods of a net.Conn.
func TestBareConnReadsWritesAndCloses(t *testing.T) {
	a, b := pair(t, simnet.Link{})
	bare := simnet.Bare(a)
	mustWrite(t, bare, count(5))
	mustRead(t, b, count(5))
	mustWrite(t, b, count(5))
	mustRead(t, bare, count(5))
	if err := bare.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v", err)
	}
	switch bare.(type) {
	case net.Conn, io.WriterTo, io.ReaderFrom, interface{ CloseWrite() error }, interface{ LocalAddr() net.Addr }:
		t.Error("it does more")
	}
}
