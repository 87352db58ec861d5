package main

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
)

// spinCommand is the argument that makes this program keep one processor busy until its standard input ends. It
// ends with the parent process.
const spinCommand = "spin"

func spinUntilClosed(in io.Reader) {
	go spin(nil)
	_, _ = io.Copy(io.Discard, in)
}

// spin computes until stop is true.
func spin(stop *atomic.Bool) {
	for stop == nil || !stop.Load() {
		for range 1000 {
		}
	}
}

// startSpinning starts n processes that spin. The function that it returns ends them.
func startSpinning(n int) (stop func()) {
	if n == 0 {
		return func() {}
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	var ends []func()
	for range n {
		cmd := exec.Command(self, spinCommand)
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			panic(err)
		}
		ends = append(ends, func() {
			in.Close()
			_ = cmd.Wait()
		})
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// spinners starts n goroutines that spin. The function that it returns ends them.
func spinners(n int) (stop func()) {
	var over atomic.Bool
	var all sync.WaitGroup
	for range n {
		all.Go(func() { spin(&over) })
	}
	return func() {
		over.Store(true)
		all.Wait()
	}
}
