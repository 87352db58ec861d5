package heartbeat

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// ErrProtocol ends a heartbeat whose peer has sent anything but the answer to the beat that is on its way.
var ErrProtocol = errors.New("heartbeat: the peer has sent something that is no answer")

// beatSize is the size of a beat, in bytes.
const beatSize = 8

// echoes is a Pinger over a conn whose other end echoes. One beat at a time is on its way. So nothing piles up, and an
// answer belongs to that beat.
type echoes struct {
	conn net.Conn
	done chan struct{} // closed when conn has failed

	mu      sync.Mutex // guards the fields below
	err     error      // why conn has failed
	number  uint64     // of the last beat
	sentAt  time.Time  // when that beat was handed to conn
	current *round     // its calls; nil if no beat is on its way
	next    *round     // calls that wait for the beat after it
}

// A round is one beat and the calls of Ping that wait for its answer.
type round struct {
	answered chan struct{}
	rtt      time.Duration // valid once answered is closed
}

func newEchoes(conn net.Conn) *echoes {
	e := &echoes{conn: conn, done: make(chan struct{})}
	go e.read()
	return e
}

func (e *echoes) Done() <-chan struct{} { return e.done }

// Ping implements Pinger.
func (e *echoes) Ping(ctx context.Context) (time.Duration, error) {
	r := e.join()
	select {
	case <-r.answered:
		return r.rtt, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-e.done:
		return 0, e.failure()
	}
}

// failure returns why conn has failed.
func (e *echoes) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// join returns the round that a call of Ping waits for. It sends its beat if none is on its way.
func (e *echoes) join() *round {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		e.current = newRound()
		e.send()
		return e.current
	}
	if e.next == nil {
		e.next = newRound()
	}
	return e.next
}

func newRound() *round { return &round{answered: make(chan struct{})} }

// send sends the beat of current, in a goroutine because conn's Write may block. The caller holds e.mu.
func (e *echoes) send() {
	e.number++
	e.sentAt = time.Now()
	beat := binary.BigEndian.AppendUint64(nil, e.number)
	go func() {
		err := errGone // if Write ends this goroutine
		defer func() {
			if err != nil {
				e.fail(err)
			}
		}()
		_, err = e.conn.Write(beat)
	}()
}

// read reads the answers until conn fails.
func (e *echoes) read() {
	err := errGone // if Read ends this goroutine
	defer func() { e.fail(err) }()
	err = e.readAnswers()
}

// readAnswers is read without its end.
func (e *echoes) readAnswers() error {
	var b [beatSize]byte
	for {
		if _, err := io.ReadFull(e.conn, b[:]); err != nil {
			return err
		}
		if !e.handleAnswer(binary.BigEndian.Uint64(b[:])) {
			return ErrProtocol
		}
	}
}

// handleAnswer ends the current round, and begins the next one if there is one. It returns false if number is not that of
// a beat which is on its way.
func (e *echoes) handleAnswer(number uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil || number != e.number {
		return false
	}
	e.current.rtt = max(1, time.Since(e.sentAt)) // 0 would mean unknown; some systems' clocks are coarse
	close(e.current.answered)
	e.current, e.next = e.next, nil
	if e.current != nil {
		e.send()
	}
	return true
}

// fail notes the first error, and closes conn, which ends the other goroutine.
func (e *echoes) fail(err error) {
	if e.noteFailure(err) {
		_ = e.conn.Close()
	}
}

// noteFailure notes err, and reports whether it is the first error.
func (e *echoes) noteFailure(err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return false
	}
	e.err = err
	close(e.done)
	return true
}

// Serve answers the beats of a [Heartbeat] at the other end of conn: it writes back what it reads, until conn ends. It
// returns nil if the peer has closed conn, and otherwise conn's error. It closes conn before it returns. To end Serve
// early, close conn.
//
// Serve sets no deadlines. It holds 64 bytes, and reads no more while the peer does not read the answers.
func Serve(conn net.Conn) error {
	defer conn.Close()
	var buf [8 * beatSize]byte
	for {
		n, err := conn.Read(buf[:])
		if n > 0 {
			if _, err := conn.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}
