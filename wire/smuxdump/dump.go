package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/printer"
	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/source"
)

// dump prints what the options ask for. The error is what has failed, or says how many problems were found.
func dump(ctx context.Context, opts options, stdin io.Reader, stdout, stderr io.Writer) error {
	out := bufio.NewWriterSize(stdout, 1<<16)
	set := conversation.NewSet(conversation.Options{Handle: handler(opts, out), Payloads: opts.data, Keep: kept(opts), KeepStream: uint32(opts.stream)})
	var err error
	if opts.listen != "" {
		err = proxy(ctx, opts, set, stderr)
	} else {
		for _, name := range opts.files {
			progress := stderr
			if isTerminal(stdout) && !opts.summary {
				progress = io.Discard // the frames show it
			}
			err = errors.Join(err, file(ctx, opts, name, set, stdin, stderr, progress))
		}
	}
	if ferr := out.Flush(); ferr != nil {
		return ferr
	}
	if err != nil {
		return err
	}
	return judge(opts, set, stderr)
}

// judge returns an error if the exit code must tell what was found.
func judge(opts options, set *conversation.Set, stderr io.Writer) error {
	if set.Unfollowed > 0 {
		fmt.Fprintf(stderr, "smuxdump: %d streams were not followed, because too many were open\n", set.Unfollowed)
	}
	switch {
	case set.Problems == 1:
		return errors.New("1 problem was found")
	case set.Problems > 0:
		return fmt.Errorf("%d problems were found", set.Problems)
	case set.Smux == 0 && set.NotSmux > 0:
		return errors.New("no connection is smux; if it is encrypted, capture above TLS")
	case set.Smux == 0 && opts.listen == "":
		return errors.New("no frames were found")
	}
	return nil
}

func kept(opts options) int {
	if opts.summary {
		return opts.top
	}
	return 0
}

// handler returns what prints the events.
func handler(opts options, out *bufio.Writer) func(*conversation.Event) {
	sel := printer.Select{Stream: uint32(opts.stream), Conn: opts.conn, Data: opts.data}
	handle := (&printer.Text{W: out, Select: sel, Times: map[string]printer.TimeFormat{"utc": printer.UTC, "none": printer.None}[opts.time]}).Handle
	if opts.json {
		handle = (&printer.JSON{W: out, Select: sel}).Handle
	}
	if opts.summary {
		handle = (&printer.Summary{W: out, Select: sel, JSON: opts.json}).Handle
	}
	if opts.listen == "" {
		return handle
	}
	return func(e *conversation.Event) {
		handle(e)
		out.Flush() // live; an error stays in out
	}
}

// proxy shows what passes until ctx ends.
func proxy(ctx context.Context, opts options, set *conversation.Set, stderr io.Writer) (err error) {
	l, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "smuxdump: %v passes connections on to %s, Ctrl-C ends\n", l.Addr(), opts.to)
	var mu sync.Mutex // guards stderr
	p := &source.Proxy{To: opts.to, Set: set, Log: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(stderr, "smuxdump: %v\n", err)
	}}
	if opts.write != "" {
		f, ferr := os.Create(opts.write)
		if ferr != nil {
			l.Close()
			return ferr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if p.Capture, err = source.NewWriter(f); err != nil {
			l.Close()
			return err
		}
	}
	return p.Serve(ctx, l)
}

// file shows a capture or a dump.
func file(ctx context.Context, opts options, name string, set *conversation.Set, stdin io.Reader, stderr, progress io.Writer) error {
	in, size := stdin, int64(0)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		in = f
	}
	in, stop := withProgress(progress, in, size)
	defer stop()
	if opts.raw {
		return named(name, source.Raw(ctx, in, name, set))
	}
	res, err := source.Capture(ctx, in, set, source.Filter{Port: opts.port})
	stop()
	for _, w := range warnings(res) {
		fmt.Fprintf(stderr, "smuxdump: %s: %s\n", name, w)
	}
	return named(name, err)
}

func named(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// warnings says what of a capture could not be used.
func warnings(r source.Result) []string {
	var w []string
	add := func(n int64, format string) {
		if n > 0 {
			w = append(w, fmt.Sprintf(format, n))
		}
	}
	add(r.Truncated, "%d packets were captured only in part; tcpdump -s 0 captures all of them")
	add(r.Fragments, "%d fragments of IP packets are left out")
	add(r.GivenUp, "%d connections were not followed to their end, because too many were open")
	if r.TCP == 0 {
		w = append(w, fmt.Sprintf("no TCP in %d packets", r.Packets))
	}
	return w
}
