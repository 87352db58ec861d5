// Smuxdump shows the frames of the smux protocol as tcpdump shows packets: from a capture, or of the connections that
// pass through it.
//
//	smuxdump capture.pcap
//	smuxdump -listen :9000 -to host:8000
//
// In a clone, this installs it, in the folder wire/smuxdump:
//
//	GOWORK=$PWD/../../.ci/go.work go install .
//
// Once there is a release, go install github.com/smuxkit/smuxkit/wire/smuxdump@latest does.
//
// smuxdump -help explains the flags and the output.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	// The first Ctrl-C ends the program cleanly; a second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes. 130 is what a shell reports for a program that Ctrl-C has ended.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// run runs the program until it is done, or ctx ends. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "smuxdump: %v (-help lists the flags)\n", err)
		return exitUsage
	}
	err = dump(ctx, opts, stdin, stdout, stderr)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "smuxdump: interrupted")
		return exitInterrupted
	default:
		fmt.Fprintf(stderr, "smuxdump: %v\n", err)
		return exitFailed
	}
}
