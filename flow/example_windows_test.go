package flow_test

import (
	"errors"
	"fmt"

	"github.com/smuxkit/smuxkit/flow"
)

// A sender sends what its window allows. Each update of the peer moves the window.
func ExampleSendWindow() {
	var w flow.SendWindow
	fmt.Println("a new stream may carry", w.Available(), "bytes")
	w.AddSent(w.Available())
	fmt.Println("then", w.Available())

	// The peer has read 100,000 of these bytes, and allows 300,000 beyond those.
	if err := w.Update(100_000, 300_000); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("after an update", w.Available())
	// Output:
	// a new stream may carry 262144 bytes
	// then 0
	// after an update 137856
}

// A peer that acknowledges what was never sent breaks the protocol: the session should end.
func ExampleConsumedError() {
	var w flow.SendWindow
	w.AddSent(1000)
	err := w.Update(1500, flow.InitialWindow)
	var bad *flow.ConsumedError
	if errors.As(err, &bad) {
		fmt.Println("bytes too many:", bad.Consumed-bad.Sent)
	}
	fmt.Println(err)
	// Output:
	// bytes too many: 500
	// flow: peer consumed more than was sent: 1500 of 1000 bytes (modulo 2^32)
}

// A session whose budget is short takes the windows of idle streams back. The first call marks a stream, and a later one
// takes its window if no data has arrived in between.
func ExampleReceiveWindow_Reclaim() {
	account := flow.NewAccount(1 << 20)
	defer account.Close()
	var idle flow.ReceiveWindow
	idle.Open(account)
	fmt.Println("committed:", account.Committed() > 0)

	for range 2 {
		switch idle.Reclaim(account) {
		case flow.ReclaimLater:
			fmt.Println("not yet")
		case flow.Reclaimed:
			fmt.Println("reclaimed: send an update")
		case flow.NothingToReclaim:
			fmt.Println("nothing to reclaim")
		}
	}
	fmt.Println("committed:", account.Committed() > 0)
	// Output:
	// committed: true
	// not yet
	// reclaimed: send an update
	// committed: false
}

// A reader charges the data that arrives, and pauses while the account is full.
func ExampleAccount() {
	account := flow.NewAccount(64 << 10)
	defer account.Close()
	ended := make(chan struct{}) // closed when the session ends

	account.Charge(64 << 10) // data has arrived
	fmt.Println("full:", account.Full())
	go account.Release(32 << 10) // the application reads some of it
	fmt.Println("goes on:", account.Wait(ended))

	// What a session need not hold, such as a copy, it charges only if there is room.
	fmt.Println(account.TryCharge(16<<10), account.TryCharge(32<<10))
	fmt.Println("holds:", account.Used())
	// Output:
	// full: true
	// goes on: true
	// true false
	// holds: 49152
}

// 8 Mbit/s, in pieces of a tenth of a second by default.
func ExampleRate() {
	limit := flow.NewLimiter(flow.Rate{BytesPerSecond: 8e6 / 8})
	fmt.Printf("%.0f bytes per second, %d at once\n", limit.Rate().BytesPerSecond, limit.Burst())
	// Output:
	// 1000000 bytes per second, 100000 at once
}
