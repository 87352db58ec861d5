package simnet

import "io"

// Bare returns a transport that has only the methods Read, Write and Close of c: no deadlines and no addresses.
func Bare(c io.ReadWriteCloser) io.ReadWriteCloser { return bare{c} }

type bare struct{ c io.ReadWriteCloser }

func (b bare) Read(p []byte) (int, error)  { return b.c.Read(p) }
func (b bare) Write(p []byte) (int, error) { return b.c.Write(p) }
func (b bare) Close() error                { return b.c.Close() }
