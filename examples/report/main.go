// Report sends what it reads from its standard input to a collector, and exits once that has arrived:
//
//	go run ./examples/report -listen 127.0.0.1:7000
//	df -h | go run ./examples/report -connect 127.0.0.1:7000
//
// The exit code of the second one is 0 if the collector's machine has everything, and 1 if that is not known. The
// connection is neither encrypted nor authenticated: see Example_tls of package session.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// timeout limits how long the program waits for the collector after it has read everything.
const timeout = 30 * time.Second

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	listen := flag.String("listen", "", "collect reports at this `address`")
	connect := flag.String("connect", "", "send a report to the collector at this `address`")
	flag.Parse()
	if (*listen == "") == (*connect == "") || flag.NArg() != 0 {
		log.Fatal("give either -listen or -connect")
	}
	if *connect != "" {
		if err := send(*connect, os.Stdin); err != nil {
			log.Fatal(err)
		}
		return
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fmt.Println("listening on", l.Addr())
	collect(ctx, l, os.Stdout)
}

// send sends a report, and waits until it has arrived.
func send(addr string, report io.Reader) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	s, err := session.Client(conn, nil)
	if err != nil {
		conn.Close()
		return err
	}
	defer s.CloseNow() // sends nothing more; after Flush, there is nothing
	st, err := s.OpenStream(context.Background())
	if err != nil {
		return err
	}
	if _, err := io.Copy(st, report); err != nil {
		return err
	}
	if err := st.Close(); err != nil { // the collector reads io.EOF; Close does not wait for that
		return err
	}
	// Without Flush, the program would exit before all was sent. A program that has many streams to wait
	// for, and needs the session no more, calls s.Close instead.
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return st.Flush(ctx)
}

// collect writes reports to w until ctx ends. A report whose program failed before its end is not written.
func collect(ctx context.Context, l net.Listener, w io.Writer) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var mu sync.Mutex // guards w
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s, err := session.Server(conn, nil)
		if err != nil {
			conn.Close()
			log.Print(err)
			continue
		}
		stop := context.AfterFunc(ctx, func() { s.Close() })
		go func() {
			defer stop()
			defer s.Close()
			for {
				st, err := s.AcceptStream(ctx)
				if err != nil {
					return
				}
				report, err := io.ReadAll(st)
				st.Close()
				if err != nil {
					log.Printf("a report from %v is not complete: %v", st.RemoteAddr(), err)
					continue
				}
				mu.Lock()
				w.Write(report)
				mu.Unlock()
			}
		}()
	}
}
