package session_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/session"
)

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
