package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// startPair starts a client and a server on the two ends of a pipe, which is in place of a connection.
func startPair(clientConfig, serverConfig *session.Config) (client, server *session.Session) {
	ours, theirs := net.Pipe()
	client, err := session.Client(ours, clientConfig)
	if err != nil {
		log.Fatal(err)
	}
	server, err = session.Server(theirs, serverConfig)
	if err != nil {
		log.Fatal(err)
	}
	return client, server
}

// openStreamPair opens a stream from client to server, and returns its two ends.
func openStreamPair(client, server *session.Session) (opened, accepted *stream.Stream) {
	opened, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	accepted, err = server.AcceptStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	return opened, accepted
}

// A messageConn is a transport that carries messages of at most 1,000 bytes, as some WebSocket gateways do. It knows no
// addresses.
type messageConn struct{ io.ReadWriteCloser }

func (c messageConn) Write(p []byte) (int, error) {
	if len(p) > 1000 {
		return 0, fmt.Errorf("a message of %d bytes is too long", len(p))
	}
	return c.ReadWriteCloser.Write(p)
}

// Over a transport that carries messages, MaxWriteSize limits what one Write gets. A transport without addresses can be
// given some, for logs and for servers that look at RemoteAddr.
func ExampleConfig_messages() {
	ours, theirs := net.Pipe()
	config := session.Config{
		MaxWriteSize: 1000,
		LocalAddr:    &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443},
		RemoteAddr:   &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 50000}, // of the request that became a WebSocket
	}
	server, err := session.Server(messageConn{ours}, &config)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := session.Client(messageConn{theirs}, &session.Config{MaxWriteSize: 1000})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	go func() {
		st, err := client.Open()
		if err != nil {
			log.Fatal(err)
		}
		st.Write(make([]byte, 100_000))
		st.Close()
	}()
	st, err := server.AcceptStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	n, err := io.Copy(io.Discard, st)
	fmt.Println(n, err, "from", server.RemoteAddr())
	// Output:
	// 100000 <nil> from 198.51.100.7:50000
}

// The rates of a session can be changed while it runs, here to leave room for others during the day.
func ExampleSession_SetSendRate() {
	ours, theirs := net.Pipe()
	s, err := session.Client(ours, &session.Config{SendRate: flow.Rate{BytesPerSecond: 10e6}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.CloseNow()
	defer theirs.Close()
	day := flow.Rate{BytesPerSecond: 1e6, Burst: 64 << 10}
	fmt.Println(s.SetSendRate(day))
	fmt.Println(s.SetSendRate(flow.Rate{})) // no limit
	fmt.Println(s.SetSendRate(flow.Rate{BytesPerSecond: -1}))
	// Output:
	// <nil>
	// <nil>
	// session: bad rate: SendRate.BytesPerSecond is -1, must not be negative; 0 is no limit
}

// xtaci/smux speaks version 1 by default, and closes both directions of a stream with one FIN. NoHalfClose takes a FIN for
// that.
func ExampleConfig_xtaci() {
	ours, theirs := startPair(&session.Config{Version: 1, NoHalfClose: true}, nil)
	defer ours.Close()
	defer theirs.Close()
	st, peer := openStreamPair(ours, theirs)
	peer.CloseWrite() // sends one FIN, as Close of xtaci/smux does

	_, err := io.ReadAll(st)
	fmt.Println(err)
	_, err = st.Write([]byte("anybody there?"))
	fmt.Println(errors.Is(err, stream.ErrPeerClosed))
	fmt.Println(errors.Is(st.CloseWrite(), errors.ErrUnsupported))
	// Output:
	// <nil>
	// true
	// true
}

// A peer that hangs is given up when nothing was received from it for the Timeout.
func ExampleConfig_keepAlive() {
	ours, theirs := net.Pipe()
	go io.Copy(io.Discard, theirs) // reads, and never says anything
	s, err := session.Client(ours, &session.Config{
		KeepAlive: keepalive.Periodic{Interval: 5 * time.Millisecond, Timeout: 20 * time.Millisecond}, // usually seconds
	})
	if err != nil {
		log.Fatal(err)
	}
	<-s.Done()
	fmt.Println(errors.Is(s.Err(), session.ErrKeepAlive))
	// Output:
	// true
}

// A device with little memory holds 64 KiB in each direction, whatever its peer sends.
func ExampleConfig_smallDevice() {
	small := &session.Config{
		MaxFrameSize:        4 << 10,
		MaxReceiveBuffer:    64 << 10, // unread data of all streams
		MaxStreamWindow:     16 << 10, // of one stream, in version 2
		MaxSendBuffer:       64 << 10, // unsent data of all streams
		MaxStreamSendBuffer: 16 << 10, // of one stream
		MaxStreams:          16,       // that the peer may open
	}
	server, device := startPair(nil, small)
	defer server.Close()
	defer device.Close()
	st, accepted := openStreamPair(server, device)
	go func() {
		st.Write(make([]byte, 1<<20)) // the device shows whether it arrives
		st.Close()
	}()
	n, err := io.Copy(io.Discard, accepted)
	fmt.Println(n, err)
	// Output:
	// 1048576 <nil>
}

// Streams beyond a limit are refused, and their opener finds out.
func ExampleConfig_limits() {
	client, server := startPair(nil, &session.Config{
		MaxStreams:    100, // open at the same time
		AcceptBacklog: 1,   // waiting for AcceptStream
	})
	defer client.Close()
	defer server.Close()
	first, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	second, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer second.Close()
	_, err = second.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, stream.ErrRefused)) // safe to try again, later or elsewhere
	fmt.Println("refused:", server.Stats().StreamsRefused)
	// Output:
	// true
	// refused: 1
}

// In version 1, a stream that nobody reads stops the others once the receive buffer is full. StallTimeout aborts it.
func ExampleConfig_stallTimeout() {
	client, server := startPair(&session.Config{Version: 1}, &session.Config{
		MaxReceiveBuffer: 64 << 10,
		StallTimeout:     10 * time.Millisecond, // usually some seconds
	})
	defer client.Close()
	defer server.Close()
	unread, forgotten := openStreamPair(client, server)
	go unread.Write(make([]byte, 1<<20))

	opened, accepted := openStreamPair(client, server)
	if _, err := io.WriteString(opened, "I come through"); err != nil {
		log.Fatal(err)
	}
	opened.Close()
	message, err := io.ReadAll(accepted)
	fmt.Println(string(message), err)
	<-forgotten.Done()
	_, err = forgotten.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, stream.ErrStalled))
	// Output:
	// I come through <nil>
	// true
}

// A session may leave room for others on its path, in each direction. The rates count headers, too.
func ExampleConfig_rates() {
	slow := &session.Config{
		SendRate:    flow.Rate{BytesPerSecond: 10e6, Burst: 64 << 10}, // 80 Mbit/s
		ReceiveRate: flow.Rate{BytesPerSecond: 5e6, Burst: 64 << 10},
	}
	client, server := startPair(slow, nil)
	defer client.Close()
	defer server.Close()
	st, accepted := openStreamPair(client, server)
	go io.Copy(accepted, accepted) // an echo
	go st.Write(make([]byte, 200_000))
	begin := time.Now()
	n, err := io.ReadFull(st, make([]byte, 200_000))
	fmt.Println(n, err, time.Since(begin) >= 20*time.Millisecond)
	// Output:
	// 200000 <nil> true
}

// Two times limit how long data waits for a transport that takes nothing: LingerTimeout that of a closed stream, and
// CloseTimeout that of a session which is being closed.
func ExampleConfig_lingerTimeout() {
	conn, _ := net.Pipe() // nobody reads the other end
	dropped := make(chan int, 1)
	s, err := session.Client(conn, &session.Config{
		LingerTimeout: 20 * time.Millisecond, // usually a minute
		CloseTimeout:  20 * time.Millisecond, // usually some seconds
		Trace:         &session.Trace{DataDropped: func(s *session.Session, streams int) { dropped <- streams }},
	})
	if err != nil {
		log.Fatal(err)
	}
	st, err := s.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for range 25 {
		if _, err := st.Write(make([]byte, 4_000)); err != nil { // returns when the data was copied
			log.Fatal(err)
		}
	}
	st.Close()
	fmt.Println("streams whose data was thrown away:", <-dropped)
	fmt.Println(errors.Is(st.Flush(context.Background()), stream.ErrLingerTimeout))
	fmt.Println(errors.Is(s.Close(), session.ErrNotFlushed))
	// Output:
	// streams whose data was thrown away: 1
	// true
	// true
}

// WriteTimeout ends a session whose peer stops reading.
func ExampleConfig_writeTimeout() {
	conn, _ := net.Pipe()                                                                // nobody reads the other end
	s, err := session.Client(conn, &session.Config{WriteTimeout: 20 * time.Millisecond}) // usually some minutes
	if err != nil {
		log.Fatal(err)
	}
	<-s.Done()
	fmt.Println(errors.Is(s.Err(), session.ErrWriteTimeout))
	// Output:
	// true
}

// With WriteThrough, Write returns when the transport has taken the data, so the program may close the transport itself.
func ExampleConfig_writeThrough() {
	ours, theirs := net.Pipe()
	server, err := session.Server(theirs, nil)
	if err != nil {
		log.Fatal(err)
	}
	s, err := session.Client(ours, &session.Config{WriteThrough: true})
	if err != nil {
		log.Fatal(err)
	}
	st, accepted := openStreamPair(s, server)
	if _, err := io.WriteString(st, "that is all"); err != nil {
		log.Fatal(err)
	}
	st.CloseWrite() // waits, too
	ours.Close()    // without Session.Close
	message, err := io.ReadAll(accepted)
	fmt.Println(string(message), err)
	// Output:
	// that is all <nil>
}

// A scheduler with a smaller quantum lets messages wait less beside bulk data. Portable uses a socket by its methods
// alone, for a program that traces or replaces system calls.
func ExampleConfig_newScheduler() {
	cfg := &session.Config{
		NewScheduler: func() shaper.Scheduler { return shaper.NewFair(shaper.WithQuantum(8 << 10)) },
		MaxFrameSize: 8<<10 - wire.HeaderSize, // a frame fits
		Portable:     true,
	}
	client, server := startPair(cfg, nil)
	defer client.Close()
	defer server.Close()
	st, accepted := openStreamPair(client, server)
	st.SetWeight(2)
	go st.Write(make([]byte, 100_000))
	n, err := io.ReadFull(accepted, make([]byte, 100_000))
	fmt.Println(n, err)
	// Output:
	// 100000 <nil>
}
