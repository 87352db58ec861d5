package flow_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// A pair is a protocol of its own: one end sends blocks of data, each behind its length, and the other end sends
// window updates. The two buffers are the directions of its transport.
type pair struct {
	begin              time.Time
	toReader, toWriter bytes.Buffer
	out                flow.SendWindow
	in                 flow.ReceiveWindow
	allocator          flow.Allocator
}

// send sends as much of n bytes as the window allows. It returns how many.
func (p *pair) send(n int) (sent int) {
	for sent < n && p.out.Available() > 0 {
		size := min(n-sent, p.out.Available(), 16<<10)
		block := binary.BigEndian.AppendUint16(nil, uint16(size))
		p.toReader.Write(append(block, make([]byte, size)...))
		p.out.AddSent(size)
		sent += size
	}
	return sent
}

// receive reads all blocks, and sends an update when one is due.
func (p *pair) receive() (received int, err error) {
	for p.toReader.Len() > 0 {
		size := int(binary.BigEndian.Uint16(p.toReader.Next(2)))
		if err := p.in.AddReceived(size, time.Since(p.begin), 0); err != nil {
			return received, err // the peer ignores its window
		}
		p.toReader.Next(size) // the application reads
		received += size
		if p.in.AddRead(size, time.Since(p.begin)) {
			consumed, window := p.in.Update(p.allocator, time.Since(p.begin))
			p.toWriter.Write(binary.BigEndian.AppendUint32(nil, consumed))
			p.toWriter.Write(binary.BigEndian.AppendUint32(nil, window))
		}
	}
	return received, nil
}

// handleUpdates applies the updates that have arrived.
func (p *pair) handleUpdates() error {
	for p.toWriter.Len() > 0 {
		update := p.toWriter.Next(8)
		if err := p.out.Update(binary.BigEndian.Uint32(update), binary.BigEndian.Uint32(update[4:])); err != nil {
			return err
		}
	}
	return nil
}

// Windows work in any protocol in which one end sends blocks, and the other end tells it how
// many more bytes it may send.
func Example_underAnotherProtocol() {
	p := &pair{begin: time.Now(), allocator: flow.MaxWindow(4 << 20)}
	p.in.Open(p.allocator)
	left, total := 1<<20, 0
	for left > 0 {
		left -= p.send(left)
		received, err := p.receive()
		if err != nil {
			fmt.Println(err)
			return
		}
		total += received
		if err := p.handleUpdates(); err != nil {
			fmt.Println(err)
			return
		}
	}
	p.in.Finish(p.allocator)
	fmt.Println(total, "bytes")
	// Output: 1048576 bytes
}

// A peer that sends more than its window allows is detected. Some overrun can be tolerated.
func ExampleReceiveWindow_AddReceived() {
	var w flow.ReceiveWindow
	fmt.Println(w.AddReceived(flow.InitialWindow, 0, 0))
	fmt.Println(w.AddReceived(100, 0, 100))
	fmt.Println(w.AddReceived(1, 0, 100))
	// Output:
	// <nil>
	// <nil>
	// flow: peer sent beyond its window
}

// Two connections share a megabyte of memory for unread data.
func ExampleBudget() {
	budget := flow.NewBudget(1 << 20)
	unread, read := budget.NewAccount(), budget.NewAccount()
	defer unread.Close()
	defer read.Close()

	for !unread.Full() {
		unread.Charge(32 << 10) // data arrives, and nobody reads it
	}
	fmt.Println("unread:", unread.Used()>>10, "KiB")
	fmt.Println("the other one must wait:", read.Full())

	done := make(chan struct{})
	close(done) // as when the connection ends meanwhile
	fmt.Println("room:", unread.Wait(done))
	unread.Release(512 << 10)
	fmt.Println("room:", unread.Wait(done))
	// Output:
	// unread: 832 KiB
	// the other one must wait: false
	// room: false
	// room: true
}

// Wait blocks; Reserve returns how long to wait.
func ExampleLimiter() {
	limit := flow.NewLimiter(flow.Rate{BytesPerSecond: 1e6, Burst: 50_000})
	if err := limit.Wait(context.Background(), 50_000); err != nil {
		fmt.Println(err)
	}

	limit = flow.NewLimiter(flow.Rate{BytesPerSecond: 1e6, Burst: 50_000})
	now := time.Now()
	fmt.Println(limit.Reserve(50_000, now))
	fmt.Println(limit.Reserve(50_000, now))

	var none *flow.Limiter
	fmt.Println(none.Reserve(1<<30, time.Now()))
	// Output:
	// 0s
	// 50ms
	// 0s
}
