// These Examples are in the package itself. Its tests must not import it by its path: go mod tidy of a program that has
// this module in place of github.com/xtaci/smux would want the same module under that path, too, and fail.

package smux

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"
)

// A program that was written for xtaci/smux changes its import path or its go.mod, and nothing else: it has smux.Client
// where this Example, which is in the package itself, has Client.
func Example() {
	ours, theirs := net.Pipe() // usually a TCP connection
	go func() {
		s, err := Server(theirs, nil)
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
	}()
	s, err := Client(ours, nil)
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
	config := DefaultConfig()
	config.Version = 2
	config.KeepAliveTimeout = time.Minute
	config.MaxStreamBuffer = 1 << 20 // for a path of 80 Mbit/s and 100 ms
	fmt.Println(VerifyConfig(config))

	config.MaxReceiveBuffer = 1 << 10
	fmt.Println(VerifyConfig(config))
	// Output:
	// <nil>
	// smux: MaxStreamBuffer must be from 1 to MaxReceiveBuffer
}

// CloseChan tells that a session has ended, for whatever reason. Unwrap leads to what the original does not have.
func ExampleSession() {
	ours, theirs := net.Pipe()
	server, err := Server(theirs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	s, err := Client(ours, nil)
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
	server, err := Server(theirs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go func() {
		if st, err := server.AcceptStream(); err == nil {
			io.Copy(st, st)
			st.Close()
		}
	}()
	s, err := Client(ours, nil)
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
	fmt.Println(err == ErrTimeout)

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
	a := NewAllocator()
	b := a.Get(1000)
	fmt.Println(len(*b), cap(*b))
	fmt.Println(a.Put(b))
	// Output:
	// 1000 1024
	// <nil>
}
