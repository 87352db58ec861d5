package main

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"

	hashicorp "github.com/hashicorp/yamux"
	libp2p "github.com/libp2p/go-yamux/v5"
	xtaci "github.com/xtaci/smux"
	"golang.ngrok.com/muxado/v2"
)

// A mux is one end of a session, whoever implements it.
type mux interface {
	Open() (net.Conn, error)
	Accept() (net.Conn, error)
	Close() error
}

// A peer is one implementation under test, in its default configuration.
type peer struct {
	name   string // in tables and for -peers
	module string // whose version the report names; empty: the standard library
	ours   bool
	// program, if not empty, is the program that measures this peer, instead of this one, and args are its arguments.
	program string
	args    []string
	// aside: it is measured in rows that name it, and no target refers to it.
	aside bool

	// client and server start a session over conn. Both are nil for raw TCP,
	// where a stream is a connection of its own.
	client, server func(conn net.Conn) (mux, error)
	// dial and listen are in place of client and server if the peer makes its own connections.
	dial   func(addr string) (mux, error)
	listen func() (addr string, accept func() (mux, error), err error)

	// maxStreams is how many streams the default configuration allows on one
	// session; 0 is no limit that a row reaches.
	maxStreams int
}

func (p *peer) raw() bool { return p.name == "raw" }

var peers = slices.Concat([]*peer{
	{name: "raw"},
	{
		name: "xtaci-v1", module: "github.com/xtaci/smux",
		client: func(c net.Conn) (mux, error) { return wrapXtaci(xtaci.Client(c, xtaciConfig(1))) },
		server: func(c net.Conn) (mux, error) { return wrapXtaci(xtaci.Server(c, xtaciConfig(1))) },
	},
	{
		name: "xtaci-v2", module: "github.com/xtaci/smux",
		client: func(c net.Conn) (mux, error) { return wrapXtaci(xtaci.Client(c, xtaciConfig(2))) },
		server: func(c net.Conn) (mux, error) { return wrapXtaci(xtaci.Server(c, xtaciConfig(2))) },
	},
	{
		name: "yamux", module: "github.com/hashicorp/yamux",
		client: func(c net.Conn) (mux, error) { return hashicorp.Client(c, hashicorpConfig()) },
		server: func(c net.Conn) (mux, error) { return hashicorp.Server(c, hashicorpConfig()) },
	},
	{
		name: "go-yamux", module: "github.com/libp2p/go-yamux/v5",
		client:     func(c net.Conn) (mux, error) { return wrapLibp2p(libp2p.Client(c, libp2pConfig(), nil)) },
		server:     func(c net.Conn) (mux, error) { return wrapLibp2p(libp2p.Server(c, libp2pConfig(), nil)) },
		maxStreams: int(libp2p.DefaultConfig().MaxIncomingStreams),
	},
	{
		name: "muxado", module: "golang.ngrok.com/muxado/v2",
		client: func(c net.Conn) (mux, error) { return muxado.Client(c, nil), nil },
		server: func(c net.Conn) (mux, error) { return muxado.Server(c, nil), nil },
	},
}, ours, oursTraced, orientation, crates)

func findPeer(name string) *peer {
	for _, p := range peers {
		if p.name == name {
			return p
		}
	}
	return nil
}

func peerNames() string {
	var names []string
	for _, p := range peers {
		names = append(names, p.name)
	}
	return strings.Join(names, ",")
}

func xtaciConfig(version int) *xtaci.Config {
	cfg := xtaci.DefaultConfig()
	cfg.Version = version
	return cfg
}

func hashicorpConfig() *hashicorp.Config {
	cfg := hashicorp.DefaultConfig()
	cfg.LogOutput = io.Discard
	return cfg
}

func libp2pConfig() *libp2p.Config {
	cfg := libp2p.DefaultConfig()
	cfg.LogOutput = io.Discard
	return cfg
}

// xtaciMux gives an xtaci session the method types of net.
type xtaciMux struct{ *xtaci.Session }

func wrapXtaci(s *xtaci.Session, err error) (mux, error) { return xtaciMux{s}, err }
func (m xtaciMux) Open() (net.Conn, error)               { return m.OpenStream() }
func (m xtaciMux) Accept() (net.Conn, error)             { return m.AcceptStream() }

// libp2pMux opens streams without a context.
type libp2pMux struct{ *libp2p.Session }

func wrapLibp2p(s *libp2p.Session, err error) (mux, error) { return libp2pMux{s}, err }
func (m libp2pMux) Open() (net.Conn, error)                { return m.OpenStream(context.Background()) }
