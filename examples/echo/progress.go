package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// showProgress shows the progress in a line on w until stop is called, which removes
// the line. It does nothing unless w is a terminal.
func showProgress(w io.Writer, done *atomic.Int64, total int64) (stop func()) {
	if !isTerminal(w) {
		return func() {}
	}
	const clearLine = "\r\x1b[K"
	stopped := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				n := done.Load()
				fmt.Fprintf(w, clearLine+"%.1f of %.1f MB (%.0f %%)",
					float64(n)/1e6, float64(total)/1e6, 100*float64(n)/float64(total))
			case <-stopped:
				fmt.Fprint(w, clearLine)
				return
			}
		}
	})
	return func() {
		close(stopped)
		wg.Wait()
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
