package session

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"

	"github.com/smuxkit/smuxkit/wire"
)

// A gatherLog is a conn, and the TCP socket below it. It notes what is called.
type gatherLog struct {
	io.ReadWriteCloser
	tcpBelow
	calls []string
	fails error
	gone  bool // Write ends its goroutine
}

func (l *gatherLog) gather(on bool) {
	if on {
		l.calls = append(l.calls, "gather")
	} else {
		l.calls = append(l.calls, "release")
	}
}

func (l *gatherLog) Write(p []byte) (int, error) {
	l.calls = append(l.calls, "write")
	if l.gone {
		runtime.Goexit()
	}
	return len(p), l.fails
}

// The socket below a transport gathers what is written for a batch of more than a TLS record, and releases it however
// the Write ends.
func TestSocketBelowGathersLongBatches(t *testing.T) {
	gathered := []string{"gather", "write", "release"}
	for _, tt := range []struct {
		name string
		size int
		log  gatherLog
		want []string
	}{
		{"short", 100, gatherLog{}, []string{"write"}},
		{"a record", minGathered - wire.HeaderSize, gatherLog{}, []string{"write"}},
		{"more", minGathered, gatherLog{}, gathered},
		{"a failed write", minGathered, gatherLog{fails: errors.New("broken")}, gathered},
		{"a Write that ends its goroutine", minGathered, gatherLog{gone: true}, gathered},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := tt.log
			s := &Session{done: make(chan struct{})}
			// A Write that ends its goroutine ends the session: this one has ended before.
			s.phase = phaseEnded
			p := &portable{conn: &log, below: &log, r: &reader{s: s}}
			b := wire.NewBatch(false)
			b.Frame(wire.Header{}, make([]byte, tt.size))
			over := make(chan error, 1)
			go func() {
				defer close(over)
				_, err := p.write(b)
				over <- err
			}()
			if err := <-over; err != tt.log.fails {
				t.Errorf("write: %v, want %v", err, tt.log.fails)
			}
			<-over
			if !slices.Equal(log.calls, tt.want) {
				t.Errorf("calls: %v, want %v", log.calls, tt.want)
			}
		})
	}
}
