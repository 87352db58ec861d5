package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/session/service"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// In this file, a round with named services and relays, in place of plain streams. There are two sessions in a row:
//
//	user --session 0--> gateway --session 1--> server
//
// The user opens streams for services of the gateway, among them "relay", which joins a stream with one for a service of
// the server, and "socket", which joins it with a TCP connection to the same. Some streams are aborted, and some have a
// header that is malformed or cut off.

// serviceCode is the code of the services that refuse.
const serviceCode = 77

// drawServices draws a round of services.
func (p *plan) drawServices(d draw, small bool) {
	p.Services = 1 + int(d.upTo(500))
	if small || testutil.Race {
		p.Services = 1 + p.Services/8
	}
	p.AtOnce = 1 + int(d.upTo(int64(min(100, p.Services))))
	p.Disturbance = pick(d, calm, calm, closing, closeNow, cut)
	for i := range p.Ends {
		p.Ends[i].CloseTimeout = time.Second
		if forgets(p.Transport) {
			p.Ends[i].Probe, p.Ends[i].GiveUp = 100*time.Millisecond, 3*time.Second
		}
		p.Ends[i].MaxFrameSize = pick(d, session.DefaultMaxFrameSize, 1000)
		p.Ends[i].MaxReceiveBuffer = pick(d, session.DefaultMaxReceiveBuffer, 1<<20)
		p.Ends[i].MaxSendBuffer = pick(d, session.DefaultMaxSendBuffer, 1<<10)
		p.Ends[i].MaxStreamWindow = session.DefaultMaxStreamWindow
	}
}

// A serviceRound is a round of services.
type serviceRound struct {
	r        *round
	calm     bool
	links    [2]*link
	sessions [2][2]*session.Session // of each link: the client and the server
	muxes    [2]*service.Mux        // of the gateway and of the server
	socket   net.Listener           // of the server

	serving sync.WaitGroup // calls of Serve, handlers of sockets
	relays  sync.WaitGroup
	hostile atomic.Int64 // streams with a header that is none
}

// playServices runs a round of services.
func (r *round) playServices() error {
	x := &serviceRound{r: r, calm: r.p.Disturbance == calm}
	if err := x.start(); err != nil {
		return err
	}
	d := r.p.drawFor(0)
	var calls sync.WaitGroup
	slots := make(chan struct{}, r.p.AtOnce)
	for i := range r.p.Services {
		seed := d.Uint64()
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			x.call(draw{randFrom(seed, uint64(i))}, seed)
		})
		if i == r.p.Services/2 && !x.calm {
			x.disturb(d)
		}
	}
	calls.Wait()
	if x.calm {
		x.settle()
	}
	x.end()
	return nil
}

// start makes the sessions and services.
func (x *serviceRound) start() (err error) {
	if x.socket, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	for i := range x.links {
		if x.links[i], err = newLink(x.r.p, false); err != nil {
			return err
		}
		ends := x.links[i].ends
		if x.sessions[i][0], err = session.Client(ends[0], x.r.p.config(0, nil)); err != nil {
			return err
		}
		if x.sessions[i][1], err = session.Server(ends[1], x.r.p.config(1, nil)); err != nil {
			return err
		}
		m := &service.Mux{HeaderTimeout: 2 * time.Second}
		m.Handle("echo", func(st *service.Stream) { echo(st) })
		m.Handle("source", func(st *service.Stream) { sendSource(st, st.Metadata()) })
		m.Handle("refuse", func(st *service.Stream) { st.Refuse(serviceCode, "no") })
		l := m.Listen("listen")
		x.serving.Go(func() { x.accept(l) })
		x.muxes[i] = m
	}
	x.muxes[0].Handle("relay", x.relay)
	x.muxes[0].Handle("socket", x.relaySocket)
	for i, m := range x.muxes {
		x.serving.Go(func() { m.Serve(context.Background(), x.sessions[i][1]) })
	}
	x.serving.Go(func() { x.accept(x.socket) })
	return nil
}

// accept echoes over each conn of l.
func (x *serviceRound) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		x.serving.Go(func() {
			defer conn.Close()
			echo(conn)
		})
	}
}

// echo answers with what it reads, and half-closes.
func echo(c net.Conn) {
	if _, err := io.Copy(c, c); err == nil {
		_ = c.(closeWriter).CloseWrite()
	}
}

// sendSource sends as many bytes as the metadata says.
func sendSource(c net.Conn, metadata map[string]string) {
	n, _ := strconv.ParseInt(metadata["n"], 10, 64)
	seed, _ := strconv.ParseUint(metadata["seed"], 10, 64)
	_, _ = testutil.Pattern(seed).Send(c, n, 10_000)
}

// relay joins st with a stream for a service of the server.
func (x *serviceRound) relay(st *service.Stream) {
	to, err := service.Open(context.Background(), x.sessions[1][0], st.Metadata()["to"], st.Metadata())
	if err != nil {
		_ = st.Refuse(service.CodeUnavailable, err.Error())
		return
	}
	x.join(st, to)
}

// relaySocket joins st with a connection to the server.
func (x *serviceRound) relaySocket(st *service.Stream) {
	to, err := net.Dial("tcp", x.socket.Addr().String())
	if err != nil {
		_ = st.Refuse(service.CodeUnavailable, err.Error())
		return
	}
	x.join(to, st)
}

// join joins a and b. It must end when the user's call has ended.
func (x *serviceRound) join(a, b net.Conn) {
	x.relays.Add(1)
	defer x.relays.Done()
	_, _ = relay.Join(context.Background(), a, b, &relay.Options{IdleTimeout: time.Hour})
}

// call is one stream of the user.
func (x *serviceRound) call(d draw, seed uint64) {
	totals.streams.Add(1)
	if d.chance(0.1) {
		x.callHostile(d)
		return
	}
	name, to := pick(d, "echo", "source", "listen", "refuse", "nobody", "relay", "relay", "relay", "socket"), ""
	final := name
	switch name {
	case "relay":
		to = pick(d, "echo", "source", "listen")
		final = to
	case "socket":
		final = "echo"
	}
	n := d.upTo(1 << 20)
	metadata := map[string]string{"to": to, "n": strconv.FormatInt(n, 10), "seed": strconv.FormatUint(seed, 10)}
	st, err := service.Open(context.Background(), x.sessions[0][0], name, metadata)
	if err != nil {
		x.failed("Open", err)
		return
	}
	defer st.Close()
	p := testutil.Pattern(seed)
	if final == "echo" || final == "listen" {
		sent := make(chan struct{})
		defer func() { <-sent }()
		defer st.Close()
		chunk := 1 + int(d.upTo(50_000))
		go func() {
			defer close(sent)
			if _, err := p.Send(st, n, chunk); err == nil {
				_ = st.CloseWrite()
			}
		}()
	}
	if part := randFrom(seed, 1).Int64N(2*n + 1); part < n && final != "refuse" && final != "nobody" {
		_, _ = io.CopyN(io.Discard, st, part) // an aborted download
		_ = st.Close()
		return
	}
	switch final {
	case "refuse", "nobody":
		var refused *service.RefusedError
		_, err := io.ReadAll(st)
		if !errors.As(err, &refused) || final == "refuse" && refused.Code != serviceCode || final == "nobody" && refused.Code != service.CodeUnknown {
			x.failed("a stream for "+name, err)
		}
	default:
		totals.bytes.Add(n)
		if err := p.Receive(st, n); err != nil {
			x.failed(fmt.Sprintf("%s %s, %d bytes", name, to, n), err)
		}
	}
}

// failed records an error, unless a disturbance explains it.
func (x *serviceRound) failed(what string, err error) {
	if x.calm {
		x.r.fail("services: %s: %v", what, err)
	}
}

// callHostile opens a stream and sends a header that is none.
func (x *serviceRound) callHostile(d draw) {
	st, err := x.sessions[0][0].OpenStream(context.Background())
	if err != nil {
		x.failed("OpenStream", err)
		return
	}
	x.hostile.Add(1)
	defer st.Close()
	b := []byte{0xd1, 0, 0, 1, 'x', byte(d.Uint32()), byte(d.Uint32()), byte(d.Uint32())}
	binary.LittleEndian.PutUint16(b[1:], uint16(d.upTo(1<<16-1)))
	if d.chance(0.3) {
		b[d.IntN(len(b))] = byte(d.Uint32())
	}
	_, _ = st.Write(b[:d.IntN(len(b)+1)])
	if d.chance(0.5) {
		_ = st.CloseWrite()
	}
	if d.chance(0.5) {
		return // closes it
	}
	answer, err := io.ReadAll(st) // whatever the header is, the stream ends after HeaderTimeout at the latest
	if err != nil || len(answer) > 0 && answer[0] != 1 {
		x.failed("a stream with a bad header", fmt.Errorf("answered by %q, %w", answer, err))
	}
}

// disturb ends one of the sessions.
func (x *serviceRound) disturb(d draw) {
	s := x.sessions[d.IntN(2)][d.IntN(2)]
	switch x.r.p.Disturbance {
	case cut, vanish:
		x.links[d.IntN(2)].cut(d)
	case closeNow:
		_ = s.CloseNow()
	default:
		x.serving.Go(func() { _ = s.Close() })
	}
}

// settle waits until all streams have ended, and checks that each that was accepted was counted once.
func (x *serviceRound) settle() {
	x.relays.Wait()
	for i, m := range x.muxes {
		for x.sessions[i][0].NumStreams()+x.sessions[i][1].NumStreams() > 0 {
			time.Sleep(time.Millisecond) // what hangs here, hung ends
		}
		// A handler whose stream has ended may still be about to return.
		got := m.Stats()
		counted := got.Served + got.Unknown + got.Malformed + got.TimedOut + got.Broken
		if accepted := x.sessions[i][1].Stats().StreamsAccepted; got.Waiting != 0 || counted != accepted {
			x.r.fail("services: %d streams were accepted, and the Mux has %+v", accepted, got)
		}
		if bad := got.Malformed + got.TimedOut + got.Broken + got.Unknown; i == 1 && bad > 0 {
			x.r.fail("services: the server has %+v", got)
		}
	}
}

// end ends the sessions and waits for all goroutines.
func (x *serviceRound) end() {
	for i := range x.sessions {
		for _, s := range x.sessions[i] {
			_ = s.CloseNow()
		}
		x.muxes[i].Remove("listen")
	}
	x.socket.Close()
	x.serving.Wait()
	x.relays.Wait()
	for _, l := range x.links {
		l.close()
	}
}
