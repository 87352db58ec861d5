package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// options are the values of the flags.
type options struct {
	listen, to, write string // of the proxy
	raw               bool
	files             []string

	stream  uint
	conn    int
	port    int
	data    bool
	json    bool
	summary bool
	top     int
	time    string
}

func flags(o *options) *flag.FlagSet {
	f := flag.NewFlagSet("smuxdump", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run prints the error
	f.StringVar(&o.listen, "listen", "", "be a proxy: accept connections at this `address`")
	f.StringVar(&o.to, "to", "", "be a proxy: pass them on to this `address`")
	f.StringVar(&o.write, "w", "", "be a proxy: write what passes to this pcap `file`, too")
	f.BoolVar(&o.raw, "raw", false, "the files are the bytes of one direction, not captures")
	f.UintVar(&o.stream, "stream", 0, "show the frames of the stream with this `id` alone")
	f.IntVar(&o.conn, "conn", 0, "show the connection with this `number` alone")
	f.IntVar(&o.port, "port", 0, "read TCP connections of this `port` alone, from captures")
	f.BoolVar(&o.data, "data", false, "show the data, too")
	f.BoolVar(&o.json, "json", false, "print an object of JSON in each line")
	f.BoolVar(&o.summary, "summary", false, "print no frames, but a summary of each connection when it is over")
	f.IntVar(&o.top, "top", 50, "have `N` streams of each connection in the summary: those that were blocked for longest, then the largest")
	f.StringVar(&o.time, "time", "rel", "times are `rel, utc or none`: seconds since the first one, or the time of day")
	return f
}

// parse returns the options, or an error of one line.
func parse(args []string) (options, error) {
	var o options
	f := flags(&o)
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.files = f.Args()
	set := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	proxy := o.listen != "" || o.to != ""
	switch {
	case set["listen"] != set["to"], set["listen"] && (o.listen == "" || o.to == ""):
		return o, errors.New("-listen and -to are given together, each with an address, such as 127.0.0.1:9000")
	case proxy && (len(o.files) > 0 || o.raw || set["port"]):
		return o, errors.New("-listen takes neither files nor -raw nor -port")
	case set["w"] && !proxy:
		return o, errors.New("-w needs -listen")
	case !proxy && len(o.files) == 0:
		return o, errors.New("give a capture file (- for the standard input), or -listen and -to")
	case o.raw && set["port"]:
		return o, errors.New("-raw has no ports")
	case o.stream > 1<<32-1:
		return o, fmt.Errorf("-stream is %d, must be below 2^32", o.stream)
	case o.port < 0 || o.port > 65535:
		return o, fmt.Errorf("-port is %d, must be 1 to 65535", o.port)
	case o.conn < 0:
		return o, fmt.Errorf("-conn is %d, must be 1 or more", o.conn)
	case o.top < 0 || o.top > 1<<20:
		return o, fmt.Errorf("-top is %d, must be 0 to %d", o.top, 1<<20)
	case o.summary && o.data:
		return o, errors.New("-summary has no data")
	case o.time != "rel" && o.time != "utc" && o.time != "none":
		return o, fmt.Errorf("-time is %q, must be rel, utc or none", o.time)
	}
	return o, nil
}

func usage(w io.Writer) {
	fmt.Fprint(w, `Smuxdump shows the frames of the smux protocol as tcpdump shows packets.

    smuxdump capture.pcap                            pcap or pcapng, also from the standard input (-)
    smuxdump -listen :9000 -to host:8000             what passes between clients of port 9000 and host:8000
    smuxdump -raw bytes                              the bytes of one direction of a connection

A line is the time, the number of the connection, the direction and the frame:

       0.000120 #1 > PSH stream 1, length 5, room 262139

"room" is how much of the window of version 2 is left for the stream's data in that direction. "PROBLEM" stands
before what the peers must not do, and before what the capture lacks. Data is shown with -data alone.

With -json, each line is an object: time, event (begin, frame, note, problem, stall or end), conn, from, to; of a
frame offset, version, command, stream, length, consumed, window, room, missing (bytes of its data), took (seconds),
meaning, problem and data (base64); and text. With -summary, it is an object for each connection.

The exit code is 0; 1 if there was a problem or no frame at all; 2 if the flags are wrong; 130 after Ctrl-C,
except for a proxy, which it ends.

`)
	f := flags(new(options))
	f.SetOutput(w)
	f.PrintDefaults()
}
