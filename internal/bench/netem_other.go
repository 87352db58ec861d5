//go:build !linux

package main

import (
	"errors"
	"os"
)

type emulated struct{ files [2]*os.File }

func (*netem) missing() string                 { return "needs Linux" }
func (*netem) open() (*emulated, error)        { return nil, errors.ErrUnsupported }
func (*emulated) Close()                       {}
func within(_ *os.File, do func() error) error { return do() }
