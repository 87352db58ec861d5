//go:build !self

package interop

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// The recipes of docs/migration.md: a fleet leaves the original, and changes from version 1 to 2, one side at a time.

// A member of a fleet is a program with one configuration.
type member struct {
	name  string
	ours  bool
	start startFunc
}

// theirMember is a program with the original that speaks this version.
func theirMember(p *peer, version int) member {
	return member{"theirs of version " + string(rune('0'+version)), false, func(conn net.Conn, client bool, _ int, _ theirConfig) (muxSession, error) {
		return p.start(conn, client, version, nil)
	}}
}

// ourMember is a program with smuxkit. Version 0 is the default.
func ourMember(name string, cfg ourConfig) member {
	return member{name, true, func(conn net.Conn, client bool, _ int, _ theirConfig) (muxSession, error) {
		return newOurs(conn, client, cfg)
	}}
}

// A stage is a server and the clients that it serves at the same time.
type stage struct {
	name    string
	server  member
	clients []member
	// halfCloses says that clients mark the end of a request by CloseWrite; all members are ours.
	halfCloses bool
}

// A fleet of each version of the original leaves it and goes to version 2. Servers are replaced first, or clients first.
// In each stage, each request of each client gets its whole answer, and a server of ours stops an answer whose client
// has closed the stream.
func TestFleetChangesOneSideAtATime(t *testing.T) {
	checkGoroutines(t)
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			record(t, p, 1, true)
			record(t, p, 1, false)
			record(t, p, 2, true)
			record(t, p, 2, false)
			old, old2 := theirMember(p, 1), theirMember(p, 2)
			server := ourMember("our server", ourConfig{NoHalfClose: true})
			client := ourMember("our client of version 1", ourConfig{Version: 1, NoHalfClose: true})
			client2 := ourMember("our client of version 2", ourConfig{NoHalfClose: true})
			last := ourMember("ours with the defaults", ourConfig{})
			for _, s := range []stage{
				{name: "before", server: old, clients: []member{old}},
				{name: "clients first", server: old, clients: []member{old, client}},
				{name: "the server", server: server, clients: []member{old, client}},
				{name: "clients go to version 2", server: server, clients: []member{old, old2, client, client2}},
				{name: "all are ours", server: server, clients: []member{client2, last}},
				{name: "NoHalfClose goes", server: last, clients: []member{client2, last}},
				{name: "CloseWrite may be used", server: last, clients: []member{last}, halfCloses: true},
				{name: "version 1 is refused", server: ourMember("our server of version 2", ourConfig{Version: 2}), clients: []member{last}, halfCloses: true},
			} {
				t.Run(s.name, s.run)
			}
		})
	}
}

// run connects each client to the server, and lets it make calls.
func (s stage) run(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var serving, calling sync.WaitGroup
	var servers, clients []muxSession
	for _, c := range s.clients {
		dialed, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		watch(t, dialed, accepted)
		server, err := s.server.start(accepted, false, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		client, err := c.start(dialed, true, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		servers, clients = append(servers, server), append(clients, client)
		stopped := make(chan struct{}, 1)
		serving.Go(func() { s.serve(t, server, stopped) })
		calling.Go(func() {
			s.call(t, c.name, client)
			if s.server.ours { // the original never learns in version 1
				s.wantStops(t, c.name, client, stopped)
			}
		})
	}
	calling.Wait()
	for i := range clients {
		_, _ = clients[i].Close(), servers[i].Close()
	}
	serving.Wait()
}

const (
	fleetCalls  = 20      // of each client at once
	endless     = 1 << 31 // asks for an answer without end
	largestCall = 300_000 // more than the first window
)

// call makes calls: a request is its length and the length of its answer.
func (s stage) call(t *testing.T, name string, client muxSession) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for n := range fleetCalls {
		st, err := client.Open()
		if err != nil {
			t.Errorf("%s: open: %v", name, err)
			return
		}
		calls.Go(func() {
			size := newPayload(uint64(n), uint32(n), true, largestCall).size
			mustWrite(t, name, st, request(uint32(size)))
			if s.halfCloses {
				mustCloseWrite(t, name, st)
			}
			if got, err := io.CopyN(io.Discard, st, int64(size)); err != nil {
				t.Errorf("%s: %d bytes of an answer of %d: %v", name, got, size, err)
			}
			if err := wantEOF(st); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			mustClose(t, name, st)
		})
	}
}

// request asks for an answer of a size.
func request(size uint32) []byte { return binary.LittleEndian.AppendUint32(nil, size) }

// serve answers the calls of a session until it ends.
func (s stage) serve(t *testing.T, server muxSession, stopped chan<- struct{}) {
	var answers sync.WaitGroup
	defer answers.Wait()
	for {
		st, err := server.Accept()
		if err != nil {
			return
		}
		answers.Go(func() {
			var size [4]byte
			if _, err := io.ReadFull(st, size[:]); err != nil {
				t.Errorf("%s: read: %v", s.server.name, err)
			}
			if s.halfCloses {
				if err := wantEOF(st); err != nil {
					t.Errorf("%s: %v", s.server.name, err)
				}
			}
			left := binary.LittleEndian.Uint32(size[:])
			for err := error(nil); left > 0 && err == nil; {
				var n int
				n, err = st.Write(make([]byte, min(left, 16<<10)))
				if left < endless {
					left -= uint32(n)
				}
				if err != nil && (left < endless || s.server.ours && !errors.Is(err, peerClosed)) {
					t.Errorf("%s: write: %v", s.server.name, err)
				}
			}
			_ = st.Close() // once the client has read the end, its session may end
			if left > 0 {
				stopped <- struct{}{}
			}
		})
	}
}

// wantStops checks that the server stops an endless answer when the client closes the stream.
func (s stage) wantStops(t *testing.T, name string, client muxSession, stopped <-chan struct{}) {
	st, err := client.Open()
	if err != nil {
		t.Errorf("%s: open: %v", name, err)
		return
	}
	mustWrite(t, name, st, request(endless))
	if s.halfCloses {
		mustCloseWrite(t, name, st)
	}
	if n, err := io.CopyN(io.Discard, st, largestCall); err != nil {
		t.Errorf("%s: %d bytes of an endless answer: %v", name, n, err)
	}
	mustClose(t, name, st)
	<-stopped
}
