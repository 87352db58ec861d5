// Hello is the quick start of README.md: a server and its client in one program:
//
//	go run ./examples/hello
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/smuxkit/smuxkit/session"
)

func main() {
	flag.Parse() // it has no flags but -h
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go serve(tcp)
	fmt.Println("saying hello to a server on", tcp.Addr())
	answer, err := ask(tcp.Addr().String(), "hello")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("it answers:", answer)
}

// serve sends back what it reads.
func serve(tcp net.Listener) {
	l := &session.Listener{Listener: tcp} // of the streams of all connections
	defer l.Close()
	for {
		stream, err := l.Accept() // a net.Conn
		if err != nil {
			return
		}
		go func() {
			defer stream.Close()
			if _, err := io.Copy(stream, stream); err != nil {
				log.Print(err)
			}
		}()
	}
}

// ask opens a connection and a stream on it, writes the question, and reads the answer.
func ask(addr, question string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		conn.Close() // it is still ours
		return "", err
	}
	defer s.Close() // and conn with it
	stream, err := s.OpenStream(context.Background())
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(stream, question); err != nil {
		return "", err
	}
	stream.CloseWrite() // the server reads io.EOF, and can still answer
	answer, err := io.ReadAll(stream)
	return string(answer), err
}
