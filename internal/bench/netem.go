package main

import (
	"fmt"
	"time"
)

// A netem is a link between two network namespaces, each of which has one end. Real TCP runs over it. The parent
// process carries the packets between two TUN devices, because not every kernel has the qdisc netem.
type netem struct {
	rate  float64       // bytes a second, each way
	delay time.Duration // each way
	mtu   int
	loss  float64 // the share of packets that are lost, each way
}

// netemAddrs are the addresses of both ends.
var netemAddrs = [2]string{"10.99.0.1", "10.99.0.2"}

func (w *netem) String() string {
	text := fmt.Sprintf("%g Mbit/s, %d ms there and back", w.rate*8/1e6, (2 * w.delay).Milliseconds())
	if w.loss > 0 {
		text += fmt.Sprintf(", %g %% loss", w.loss*100)
	}
	return text
}

// queueTime bounds what waits for its turn on the link: a router's buffer.
const queueTime = 100 * time.Millisecond
