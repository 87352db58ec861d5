package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Every measurement runs in processes of its own: one with both ends and two
// cores, or one for each end with a core each. So no peer inherits another's heap,
// and one that hangs or spins can be killed without spoiling what comes after.

// orderVar is the environment variable that makes this program a child.
const orderVar = "SMUXKIT_BENCH_ORDER"

// An order says what a child measures.
type order struct {
	Row, Peer string
	Ends      ends
	Link      string        // the address of the link, if the row has one
	Size      int           // bytes a write, or idle streams, when not the row's own
	Warmup    time.Duration // before figures are taken
	Window    time.Duration // over which they are taken
}

// ends says which ends of the conversation a child plays.
type ends string

const (
	bothEnds  ends = "both"
	dialEnd   ends = "dial"
	acceptEnd ends = "accept"
)

// figures is what a measurement yields, by name.
type figures map[string]float64

// exitOrphan is how a child ends whose other end is gone: the other one has
// something to say about why, this one has not.
const exitOrphan = 3

// runChild plays the part that the order asks for, prints its figures as JSON, and
// exits. It never returns.
func runChild(text string) {
	var o order
	check(json.Unmarshal([]byte(text), &o))
	r, p := findRow(o.Row), findPeer(o.Peer)
	if r == nil || p == nil {
		check(fmt.Errorf("no row %q or no peer %q", o.Row, o.Peer))
	}

	// The parent holds our standard input open for as long as it lives.
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(exitOrphan)
	}()

	result := figures{}
	switch o.Ends {
	case dialEnd:
		result = r.dial(newEnd(o, r, p, os.NewFile(3, "from"), os.NewFile(4, "to")))
	case acceptEnd:
		result = r.accept(newEnd(o, r, p, os.NewFile(3, "from"), os.NewFile(4, "to")))
	case bothEnds:
		fromDial, toAccept, err := os.Pipe()
		check(err)
		fromAccept, toDial, err := os.Pipe()
		check(err)
		var accepted figures
		var done sync.WaitGroup
		done.Go(func() { accepted = r.accept(newEnd(o, r, p, fromDial, toDial)) })
		result = r.dial(newEnd(o, r, p, fromAccept, toAccept))
		done.Wait()
		result = merge(result, accepted)
	}
	check(json.NewEncoder(os.Stdout).Encode(result))
	os.Exit(0)
}

// check ends a child whose measurement failed. The parent reports the error, and a
// process that is gone leaves nothing to clean up.
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func merge(all ...figures) figures {
	sum := figures{}
	for _, f := range all {
		for name, value := range f {
			sum[name] = value
		}
	}
	if send, ok := sum["send CPU-s/GB"]; ok && len(all) > 1 {
		sum["CPU-s/GB"] = send + sum["receive CPU-s/GB"]
	}
	return sum
}

// measure runs one row with one peer once, within limit.
func measure(ctx context.Context, cpus []int, r *row, p *peer, o order) (figures, error) {
	limit := r.limit
	if limit == 0 {
		limit = 15 * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("hung: no result after %v", limit))
	defer cancel()

	way := r.way()
	if way.relayed {
		l, err := newLink()
		if err != nil {
			return nil, err
		}
		defer l.Close()
		o.Link = l.Addr().String()
	}
	var spaces [2]*os.File
	if way.netem != nil {
		w, err := way.netem.open()
		if err != nil {
			return nil, err
		}
		defer w.Close()
		spaces = w.files
	}
	if r.processes == 1 {
		o.Ends = bothEnds
		return newChild(ctx, p, o, 2).run(cpus, nil)
	}

	fromDial, toAccept, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromAccept, toDial, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	pinned := func(end int) []int {
		if way.netem != nil || way.relayed {
			return cpus // the parent has work to do, too
		}
		return cpus[end : end+1]
	}
	var children [2]struct {
		figures figures
		err     error
	}
	var done sync.WaitGroup
	done.Go(func() {
		o := o
		o.Ends = dialEnd
		children[0].figures, children[0].err = newChild(ctx, p, o, 1, fromAccept, toAccept).run(pinned(0), spaces[0])
	})
	done.Go(func() {
		o := o
		o.Ends = acceptEnd
		children[1].figures, children[1].err = newChild(ctx, p, o, 1, fromDial, toDial).run(pinned(1), spaces[1])
	})
	done.Wait()
	if err := clearer(children[0].err, children[1].err); err != nil {
		return nil, err
	}
	return merge(children[0].figures, children[1].figures), nil
}

var errOrphan = errors.New("the other end is gone")

// clearer picks the error that says more.
func clearer(a, b error) error {
	if a == nil || errors.Is(a, errOrphan) && b != nil {
		return b
	}
	return a
}

// A child is a process that is about to run.
type child struct {
	ctx    context.Context
	cmd    *exec.Cmd
	stdout strings.Builder
	stderr strings.Builder
}

// newChild prepares a process with the given number of Go processors. It takes
// over files, which reach the other end's process.
func newChild(ctx context.Context, p *peer, o order, procs int, files ...*os.File) *child {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // plain data
	}
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	var args []string
	if p != nil && p.program != "" {
		self, args = p.program, p.args
		if args != nil {
			args = append(slices.Clip(args), fmt.Sprint(cmp.Or(o.Size, churnStreams)))
		}
	}
	c := &child{ctx: ctx, cmd: exec.CommandContext(ctx, self, args...)}
	c.cmd.Env = append(os.Environ(), orderVar+"="+string(text), fmt.Sprintf("GOMAXPROCS=%d", procs))
	c.cmd.Stdout = &c.stdout
	c.cmd.Stderr = &c.stderr
	c.cmd.ExtraFiles = files
	// SIGQUIT makes a child that hangs print its goroutines, for -v; if it is too
	// far gone for that, WaitDelay kills it.
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGQUIT) }
	c.cmd.WaitDelay = time.Second
	return c
}

// run starts the child on cpus, in the network namespace space if there is one, and waits for its figures.
func (c *child) run(cpus []int, space *os.File) (figures, error) {
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	start := func() error { return startOn(cpus, c.cmd) }
	if space == nil {
		err = start()
	} else {
		err = within(space, start)
	}
	for _, f := range c.cmd.ExtraFiles {
		f.Close()
	}
	if err != nil {
		return nil, err
	}
	err = c.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case c.ctx.Err() != nil:
		return nil, &childError{context.Cause(c.ctx), c.stderr.String()}
	case errors.As(err, &exit) && exit.ExitCode() == exitOrphan:
		return nil, errOrphan
	case err != nil:
		first, _, _ := strings.Cut(strings.TrimSpace(c.stderr.String()), "\n")
		return nil, &childError{fmt.Errorf("failed: %s (%w)", first, err), c.stderr.String()}
	}
	var f figures
	if err := json.Unmarshal([]byte(c.stdout.String()), &f); err != nil {
		return nil, fmt.Errorf("failed: reading figures: %w", err)
	}
	return f, nil
}

// A childError is why a child gave no figures, with all it said about it.
type childError struct {
	error
	stderr string
}

func (e *childError) Unwrap() error { return e.error }
