package session_test

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// dialTCP returns the Dial function of a Dialer.
func dialTCP(addr net.Addr) func(context.Context) (io.ReadWriteCloser, error) {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	}
}

// get returns the body of a page.
func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// A Dialer is the dialer of an http.Client, and a Listener is the net.Listener of an http.Server. All requests go
// over few connections, which the Dialer replaces when they end.
func ExampleDialer() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := &session.Listener{Listener: tcp}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	})}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()

	d := &session.Dialer{Dial: dialTCP(tcp.Addr())}
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	fmt.Println(get(client, "http://server/tea"))
	fmt.Println(get(client, "http://server/milk"))
	client.CloseIdleConnections()
	fmt.Println(d.Shutdown(context.Background())) // waits until all streams are closed

	// A graceful stop of the server: clients are told to open no more streams, those that are open are served to
	// the end, and idle ones are closed.
	server.SetKeepAlivesEnabled(false)
	fmt.Println(l.Shutdown(context.Background()))
	fmt.Println(errors.Is(<-served, net.ErrClosed))
	fmt.Println(server.Shutdown(context.Background()))
	// Output:
	// you asked for /tea <nil>
	// you asked for /milk <nil>
	// <nil>
	// <nil>
	// true
	// <nil>
}

// serveGreeting answers the streams of all sessions, until l is closed.
func serveGreeting(l *session.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			question, err := io.ReadAll(conn)
			if err != nil {
				log.Print(err)
				return
			}
			fmt.Fprintf(conn, "%s to you, too", question)
		}()
	}
}

// A server may refuse a stream, for instance because it has too many. No application has seen such a stream, so a request
// that failed with stream.ErrRefused can be sent again. A Dialer does not do that by itself: it cannot know the request.
func ExampleDialer_OpenStream() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := &session.Listener{Listener: tcp}
	defer l.CloseNow()
	go serveGreeting(l)
	d := &session.Dialer{Dial: dialTCP(tcp.Addr())}
	defer d.Close()

	once := func(ctx context.Context, question string) ([]byte, error) {
		st, err := d.OpenStream(ctx)
		if err != nil {
			return nil, err
		}
		defer st.Close()
		if _, err := io.WriteString(st, question); err != nil {
			return nil, err
		}
		st.CloseWrite()
		return io.ReadAll(st)
	}
	var answer []byte
	for range 3 {
		answer, err = once(context.Background(), "hello")
		if !errors.Is(err, stream.ErrRefused) {
			break
		}
	}
	fmt.Printf("%s %v\n", answer, err)
	// Output:
	// hello to you, too <nil>
}

// A Dialer can be set to fail soon. By default it goes on dialing, so that a server that restarts costs no call.
func ExampleDialer_settings() {
	down := errors.New("the server is down")
	d := &session.Dialer{
		Dial:              func(context.Context) (io.ReadWriteCloser, error) { return nil, down },
		Config:            &session.Config{StreamIdleTimeout: time.Hour}, // of all sessions
		MaxSessions:       4,
		StreamsPerSession: 100,                   // then another session is dialed
		MaxAge:            time.Hour,             // so that sessions move to new servers
		MinBackoff:        time.Millisecond,      // the first pause after a dial that has failed
		MaxBackoff:        30 * time.Second,      // the longest
		DialTimeout:       5 * time.Second,       // of one dial
		WaitTimeout:       10 * time.Millisecond, // of a call, however many dials fail
	}
	defer d.Close()
	_, err := d.OpenStream(context.Background())
	fmt.Println(errors.Is(err, session.ErrNoSession))

	impatient := &session.Dialer{Dial: d.Dial, FailFast: true}
	defer impatient.Close()
	_, err = impatient.OpenStream(context.Background())
	fmt.Println(errors.Is(err, session.ErrNoSession), errors.Is(err, down))

	fmt.Println((&session.Dialer{MaxAge: -1}).Validate())
	// Output:
	// true
	// false true
	// session: bad Dialer: Dial is nil, must be set
	// MaxAge is -1ns, must not be negative
}

// Stats say whether a Dialer reaches its server.
func ExampleDialerStats() {
	d := &session.Dialer{
		Dial:     func(context.Context) (io.ReadWriteCloser, error) { return nil, errors.New("the server is down") },
		FailFast: true,
	}
	defer d.Close()
	if _, err := d.OpenStream(context.Background()); err != nil {
		s := d.Stats()
		fmt.Printf("%d sessions, %d of %d dials have failed, lately: %v\n", s.Sessions, s.DialErrors, s.Dials, s.LastError)
	}
	// Output:
	// 0 sessions, 1 of 1 dials have failed, lately: the server is down
}

// askForPassword is an OnSession: it accepts a session whose client sends the password over a stream of its own.
func askForPassword(ctx context.Context, s *session.Session) error {
	st, err := s.AcceptStream(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	password, err := io.ReadAll(io.LimitReader(st, 100))
	if err != nil || subtle.ConstantTimeCompare(password, []byte("sesame")) != 1 {
		return errors.New("wrong password")
	}
	return nil
}

// sendPassword returns the OnSession of a client.
func sendPassword(password string) func(context.Context, *session.Session) error {
	return func(ctx context.Context, s *session.Session) error {
		st, err := s.OpenStream(ctx)
		if err != nil {
			return err
		}
		defer st.Close()
		_, err = io.WriteString(st, password)
		return err
	}
}

// OnSession authenticates each transport before its streams are accepted, here by a password on a stream of its own.
// From leads from a request to the session that it came over.
func ExampleListener() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	type key struct{}
	l := &session.Listener{
		Listener:    tcp,
		MaxSessions: 1000,
		OnSession:   askForPassword,
		OnError:     func(err error) { log.Print(err) },
	}
	server := &http.Server{
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			s, _ := session.From(conn)
			return context.WithValue(ctx, key{}, s)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := r.Context().Value(key{}).(*session.Session)
			fmt.Fprintf(w, "this session has opened %d streams", s.Stats().StreamsAccepted)
		}),
	}
	go server.Serve(l)
	defer l.CloseNow()

	d := &session.Dialer{Dial: dialTCP(tcp.Addr()), OnSession: sendPassword("sesame")}
	defer d.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	fmt.Println(get(client, "http://server/"))
	// Output:
	// this session has opened 2 streams <nil>
}

// Stats count the transports that become no session, for instance because their clients do not know the password.
func ExampleListenerStats() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	failed := make(chan error, 1)
	l := &session.Listener{
		Listener:         tcp,
		Config:           &session.Config{MaxStreams: 100}, // of each session
		OnSession:        askForPassword,
		HandshakeTimeout: 5 * time.Second, // with OnSession
		OnError:          func(err error) { failed <- err },
	}
	defer l.CloseNow()
	go l.Accept() // starts it

	conn, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	client, err := session.Client(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := sendPassword("guessed")(context.Background(), client); err != nil {
		log.Fatal(err)
	}
	<-failed
	s := l.Stats()
	fmt.Printf("%d transports, %d failed, %d sessions\n", s.Accepted, s.Failed, s.Sessions)
	// Output:
	// 1 transports, 1 failed, 0 sessions
}
