package flow_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// Windows work in any protocol in which one end sends blocks, and the other end tells it how
// many more bytes it may send.
func Example_underAnotherProtocol() {
	var toReader, toWriter bytes.Buffer // two directions of a transport
	start := time.Now()

	// The writer's side: as much as its window allows.
	var out flow.SendWindow
	left := 1 << 20
	write := func() {
		for left > 0 && out.Available() > 0 {
			n := min(left, out.Available(), 16<<10)
			block := binary.BigEndian.AppendUint16(nil, uint16(n))
			toReader.Write(append(block, make([]byte, n)...))
			out.AddSent(n)
			left -= n
		}
	}
	// The reader's side: it sends an update when one is due.
	var in flow.ReceiveWindow
	var granter flow.MaxWindow = 4 << 20
	in.Open(granter)
	total, updates := 0, 0
	read := func() error {
		for toReader.Len() > 0 {
			n := int(binary.BigEndian.Uint16(toReader.Next(2)))
			if err := in.AddReceived(n, time.Since(start), 0); err != nil {
				return err // the peer ignores its window
			}
			io.CopyN(io.Discard, &toReader, int64(n)) // the application reads
			total += n
			if in.AddRead(n, time.Since(start)) {
				consumed, window := in.Update(granter, time.Since(start))
				binary.Write(&toWriter, binary.BigEndian, []uint32{consumed, window})
				updates++
			}
		}
		return nil
	}
	for left > 0 {
		write()
		if err := read(); err != nil {
			fmt.Println(err)
			return
		}
		for toWriter.Len() > 0 {
			update := toWriter.Next(8)
			err := out.Update(binary.BigEndian.Uint32(update), binary.BigEndian.Uint32(update[4:]))
			if err != nil {
				fmt.Println(err)
				return
			}
		}
	}
	in.Finish(granter)
	fmt.Println(total, "bytes,", updates > 0 && updates <= 20)
	// Output: 1048576 bytes, true
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
