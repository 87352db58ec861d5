package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"time"
)

// A link is a path of 1 Gbit/s and 10 ms, there and back. It relays connections within this machine and
// holds up what it relays, in the process of the parent.
type link struct{ net.Listener }

const (
	linkRate  = 125e6 // bytes a second, each way
	linkDelay = 5 * time.Millisecond
	linkPiece = 16 << 10
	// linkQueue bounds what is on its way: twice what the path holds in one direction.
	linkQueue = 2 * 625_000 / linkPiece
	// linkSocket bounds what the kernel holds before and behind the link.
	linkSocket = 256 << 10
)

// newLink starts a link. A dialer connects to its address, and sends the address that it is to go on to as the
// first line.
func newLink() (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{l}
	go k.serve()
	return k, nil
}

// dialLink connects to addr over the link.
func dialLink(link, addr string) (net.Conn, error) {
	c, err := net.Dial("tcp", link)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, addr+"\n"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (k *link) serve() {
	for {
		c, err := k.Accept()
		if err != nil {
			return
		}
		go relay(c)
	}
}

func relay(from net.Conn) {
	defer from.Close()
	r := bufio.NewReaderSize(from, linkPiece)
	addr, err := r.ReadString('\n')
	if err != nil {
		return
	}
	to, err := net.Dial("tcp", strings.TrimSpace(addr))
	if err != nil {
		return
	}
	defer to.Close()
	for _, c := range []net.Conn{from, to} {
		_ = c.(*net.TCPConn).SetReadBuffer(linkSocket)
		_ = c.(*net.TCPConn).SetWriteBuffer(linkSocket)
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		carry(from, to)
	}()
	carry(to, r)
	<-back
}

// carry copies from r to w at the link's rate, each byte after the link's delay.
func carry(w net.Conn, r io.Reader) {
	type piece struct {
		data []byte
		due  time.Time
	}
	queue := make(chan piece, linkQueue)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range queue {
			time.Sleep(time.Until(p.due))
			_, _ = w.Write(p.data) // an end that is gone reads no more, and sends no more
		}
		_ = w.(*net.TCPConn).CloseWrite()
	}()
	free := time.Now() // when the link has sent what came before
	for {
		p := make([]byte, linkPiece)
		n, err := r.Read(p)
		if n > 0 {
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(float64(n) / linkRate * float64(time.Second)))
			queue <- piece{p[:n], free.Add(linkDelay)}
		}
		if err != nil {
			break
		}
	}
	close(queue)
	<-done
}
