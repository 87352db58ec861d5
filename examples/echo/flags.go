package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// options are the values of the flags.
type options struct {
	listen, connect string // both empty: run the server and the client in this process
	version         int    // 0: the client uses 2, and the server takes the client's
	streams         int
	bytes           int64 // per stream

	bothEnds bool // no flag: both are in this process
}

func flags(o *options) *flag.FlagSet {
	f := flag.NewFlagSet("echo", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run prints the error
	f.StringVar(&o.listen, "listen", "", "run the server alone, on this `address`")
	f.StringVar(&o.connect, "connect", "", "run the client alone, against the server at this `address`")
	f.IntVar(&o.version, "version", 0, "protocol version, `1 or 2`; by default the client uses 2, and the server takes the client's")
	f.IntVar(&o.streams, "streams", 100, "open `N` streams, up to 256 of them at the same time")
	f.Int64Var(&o.bytes, "bytes", 1<<20, "send `N` bytes on each stream")
	return f
}

// parse returns the options, or an error of one line.
func parse(args []string) (options, error) {
	var o options
	f := flags(&o)
	if err := f.Parse(args); err != nil {
		return o, err
	}
	set := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case set["listen"] && set["connect"]:
		return o, errors.New("-listen and -connect exclude each other")
	case set["listen"] && o.listen == "", set["connect"] && o.connect == "":
		return o, errors.New("-listen and -connect need an address, such as 127.0.0.1:4000")
	case set["listen"] && (set["streams"] || set["bytes"]):
		return o, errors.New("-streams and -bytes are for the client, not for -listen")
	case set["version"] && o.version != 1 && o.version != 2:
		return o, fmt.Errorf("-version is %d, must be 1 or 2", o.version)
	case o.streams < 1:
		return o, fmt.Errorf("-streams is %d, must be 1 or more", o.streams)
	case o.bytes < 1:
		return o, fmt.Errorf("-bytes is %d, must be 1 or more", o.bytes)
	}
	return o, nil
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Echo sends data over many streams of one connection and checks the data that comes back.")
	fmt.Fprintln(w, "Without -listen and -connect it runs both ends, over loopback TCP.")
	fmt.Fprintln(w)
	f := flags(new(options))
	f.SetOutput(w)
	f.PrintDefaults()
	fmt.Fprintln(w)
	fmt.Fprint(w, explanation)
}

const explanation = `The client prints what it measured. The rate out counts until the session has taken the last byte, the rate
back until the last byte has come back and was checked. Round trips are those of pings, which wait behind
the data of others. The rate was limited by the processor if processors were busy; by the window if Writes
waited for the server to read; by the transport if Writes waited for the connection to take data; else by
the round trip, because each stream ended before it filled the path.
`
