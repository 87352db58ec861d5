// Hello runs the client and the server of README.md in one program:
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
	flag.Parse() // it has no flags
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("saying hello to a server on", l.Addr())
	go server(l)
	answer, err := client(l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}

func server(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s, err := session.Server(conn, nil) // version 1 or 2, as the client has it
		if err != nil {
			conn.Close() // it is still ours
			log.Print(err)
			continue
		}
		go func() {
			defer s.Close()
			serve(s.Listener()) // a net.Listener of the streams that the client opens
		}()
	}
}

func serve(l net.Listener) {
	for {
		stream, err := l.Accept() // a net.Conn
		if err != nil {
			return
		}
		go echo(stream)
	}
}

func echo(stream net.Conn) {
	defer stream.Close()
	if _, err := io.Copy(stream, stream); err != nil {
		log.Print(err)
	}
}

func client(addr string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		conn.Close()
		return "", err
	}
	defer s.Close() // and conn with it
	stream, err := s.OpenStream(context.Background())
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(stream, "hello"); err != nil {
		return "", err
	}
	stream.CloseWrite() // the server reads io.EOF, and can still answer
	answer, err := io.ReadAll(stream)
	return string(answer), err
}
