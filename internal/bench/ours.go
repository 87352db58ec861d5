package main

import (
	"net"

	"github.com/smuxkit/smuxkit/session"
)

var ours = []*peer{ourPeer("ours-v1", 1), ourPeer("ours-v2", 2)}

func ourPeer(name string, version int) *peer {
	return &peer{
		name: name, ours: true,
		client: func(c net.Conn) (mux, error) {
			return session.Client(c, &session.Config{Version: version, MaxStreams: 1 << 20})
		},
		server: func(c net.Conn) (mux, error) {
			return session.Server(c, &session.Config{Version: version, MaxStreams: 1 << 20})
		},
	}
}
