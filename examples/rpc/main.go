// Rpc makes calls in both directions over one connection, with net/rpc. A worker dials the
// office. The office can then call the worker without knowing its address:
//
//	go run ./examples/rpc
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/rpc"
	"os"
	"strings"

	"github.com/smuxkit/smuxkit/session"
)

// Worker has the methods that the office calls.
type Worker struct{}

// Upper returns text in capitals.
func (Worker) Upper(text string, result *string) error {
	*result = strings.ToUpper(text)
	return nil
}

// Office has the methods that workers call.
type Office struct{}

// Job returns the text that the worker should work on.
func (Office) Job(worker string, job *string) error {
	*job = "hello, " + worker
	return nil
}

func main() {
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "Rpc makes calls in both directions over one connection, with net/rpc. It has no flags.")
	}
	flag.Parse()
	fmt.Println("a worker and its office call each other over one connection")
	atOffice, atWorker := net.Pipe() // in place of the two ends of a TCP connection
	job, result, err := run(atOffice, atWorker)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("the worker fetched %q, the office got %q\n", job, result)
}

// run makes two calls: the worker gets a job from the office, and the office lets the
// worker do it.
func run(atOffice, atWorker net.Conn) (job, result string, err error) {
	office, err := session.Server(atOffice, nil)
	if err != nil {
		return "", "", err
	}
	defer office.Close()
	worker, err := session.Client(atWorker, nil)
	if err != nil {
		return "", "", err
	}
	defer worker.Close()
	go serve(office.Listener(), Office{})
	go serve(worker.Listener(), Worker{})

	if err := call(worker, "Office.Job", "worker 1", &job); err != nil {
		return "", "", err
	}
	err = call(office, "Worker.Upper", job, &result)
	return job, result, err
}

// serve answers the calls on the streams that l accepts, until the session ends.
func serve(l net.Listener, methods any) {
	server := rpc.NewServer()
	if err := server.Register(methods); err != nil {
		log.Fatal(err)
	}
	for {
		st, err := l.Accept()
		if err != nil {
			return
		}
		go server.ServeConn(st)
	}
}

// call makes one call, over a new stream.
func call(s *session.Session, method string, args, reply any) error {
	st, err := s.OpenStream(context.Background())
	if err != nil {
		return err
	}
	c := rpc.NewClient(st)
	defer c.Close() // closes st as well
	return c.Call(method, args, reply)
}
