package smux_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/session/smux"
)

// echo serves one connection: it sends back what it gets on each stream.
func echo(conn net.Conn) {
	s, err := smux.Server(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for {
		st, err := s.AcceptStream()
		if err != nil {
			return // io.EOF if the client has closed the connection
		}
		go func() {
			defer st.Close()
			io.Copy(st, st)
		}()
	}
}

// A program that was written for xtaci/smux changes its import path, and nothing else.
func Example() {
	ours, theirs := net.Pipe() // usually a TCP connection
	go echo(theirs)
	s, err := smux.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	st, err := s.OpenStream()
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	if _, err := io.WriteString(st, "hello"); err != nil {
		log.Fatal(err)
	}
	answer := make([]byte, 5)
	_, err = io.ReadFull(st, answer)
	fmt.Println(string(answer), err)
	// Output:
	// hello <nil>
}

// Version 2 has flow control for each stream. Both ends must have the same version.
func ExampleConfig() {
	config := smux.DefaultConfig()
	config.Version = 2
	config.KeepAliveTimeout = time.Minute
	config.MaxStreamBuffer = 1 << 20 // for a path of 80 Mbit/s and 100 ms
	fmt.Println(smux.VerifyConfig(config))

	config.MaxReceiveBuffer = 1 << 10
	fmt.Println(smux.VerifyConfig(config))
	// Output:
	// <nil>
	// smux: MaxStreamBuffer must be from 1 to MaxReceiveBuffer
}

// CloseChan tells that a session has ended, for whatever reason. Unwrap leads to what the original does not have.
func ExampleSession() {
	ours, theirs := net.Pipe()
	go echo(theirs)
	s, err := smux.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("streams opened:", s.Unwrap().Stats().StreamsOpened)
	s.Close()
	<-s.CloseChan()
	fmt.Println(s.IsClosed(), s.Unwrap().Err())
	_, err = s.OpenStream()
	fmt.Println(err == io.ErrClosedPipe)
	// Output:
	// streams opened: 0
	// true use of closed network connection
	// true
}

// Errors are those of the original, and can be compared with ==.
func ExampleStream() {
	ours, theirs := net.Pipe()
	go echo(theirs)
	s, err := smux.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	st, err := s.OpenStream()
	if err != nil {
		log.Fatal(err)
	}
	st.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err = st.Read(make([]byte, 1))
	fmt.Println(err == smux.ErrTimeout)

	st.SetReadDeadline(time.Time{}) // none
	st.CloseWrite()
	answer, err := io.ReadAll(st) // the server has nothing to send back
	fmt.Println(len(answer), err)
	fmt.Println(st.Close(), errors.Is(st.Close(), io.ErrClosedPipe))
	// Output:
	// true
	// 0 <nil>
	// io: read/write on closed pipe true
}

// An Allocator keeps buffers for use again.
func ExampleAllocator() {
	a := smux.NewAllocator()
	b := a.Get(1000)
	fmt.Println(len(*b), cap(*b))
	fmt.Println(a.Put(b))
	// Output:
	// 1000 1024
	// <nil>
}
