package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// minProgress is the size of the smallest file whose progress is shown.
const minProgress = 64 << 20

// A counter counts what is read.
type counter struct {
	r io.Reader
	n atomic.Int64
}

// Read reads.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// withProgress shows how much of the returned reader was read, in a line on w, until stop is called, which removes the
// line. It does nothing unless w is a terminal and the file is large.
func withProgress(w io.Writer, r io.Reader, size int64) (counted io.Reader, stop func()) {
	if size < minProgress || !isTerminal(w) {
		return r, func() {}
	}
	const clearLine = "\r\x1b[K"
	c := &counter{r: r}
	stopped := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				n := c.n.Load()
				fmt.Fprintf(w, clearLine+"%.0f of %.0f MB (%.0f %%)", float64(n)/1e6, float64(size)/1e6, 100*float64(n)/float64(size))
			case <-stopped:
				fmt.Fprint(w, clearLine)
				return
			}
		}
	})
	var once sync.Once
	return c, func() {
		once.Do(func() {
			close(stopped)
			wg.Wait()
		})
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
