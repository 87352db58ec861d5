package simnet_test

import (
	"fmt"
	"io"
	"syscall"

	"github.com/smuxkit/smuxkit/internal/simnet"
)

func Example() {
	a, b := simnet.Pair(simnet.Link{Rate: 10 * simnet.Mbit, Delay: 1000})
	defer a.Close()
	defer b.Close()

	// The connection is reset after 5 bytes in the direction from a to b.
	a.Out().Cut(simnet.Cut{After: 5, Err: syscall.ECONNRESET})
	fmt.Fprint(a, "hello, world")
	got, err := io.ReadAll(b)
	fmt.Printf("%q, %v\n", got, err != nil)
	// Output: "hello", true
}
