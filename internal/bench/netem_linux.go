package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An emulated is a netem that is set up.
type emulated struct {
	*netem
	spaces [2]string   // the namespaces
	files  [2]*os.File // the namespaces
	tuns   [2]*os.File
}

// missing says why there can be no netem here; empty: there can.
func (w *netem) missing() string {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		missing = append(missing, "the program ip")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		missing = append(missing, "/dev/net/tun")
	}
	if len(missing) == 0 {
		return ""
	}
	return "needs " + strings.Join(missing, ", ")
}

// socketBuffers lets the kernel fill a path of 1 Gbit/s and 100 ms: some kernels' default ends at 4 MiB.
const socketBuffers = "4096 131072 67108864"

// open makes the namespaces and starts to carry packets.
func (w *netem) open() (_ *emulated, err error) {
	link := &emulated{netem: w}
	defer func() {
		if err != nil {
			link.Close()
		}
	}()
	for i := range link.spaces {
		space := fmt.Sprintf("smuxkit-bench-%d-%d", os.Getpid(), i)
		if err := ip("netns", "add", space); err != nil {
			return nil, err
		}
		link.spaces[i] = space
		if link.files[i], err = os.Open("/var/run/netns/" + space); err != nil {
			return nil, err
		}
		err = within(link.files[i], func() error {
			if link.tuns[i], err = openTun("bench0"); err != nil {
				return err
			}
			return errors.Join(
				os.WriteFile("/proc/sys/net/ipv4/tcp_rmem", []byte(socketBuffers), 0),
				os.WriteFile("/proc/sys/net/ipv4/tcp_wmem", []byte(socketBuffers), 0))
		})
		if err != nil {
			return nil, err
		}
		for _, args := range []string{
			"link set lo up",
			fmt.Sprintf("link set bench0 mtu %d txqueuelen 10000 up", w.mtu),
			fmt.Sprintf("addr add %s peer %s dev bench0", netemAddrs[i], netemAddrs[1-i]),
		} {
			if err := ip(append([]string{"-n", space}, strings.Fields(args)...)...); err != nil {
				return nil, err
			}
		}
	}
	go link.carry(link.tuns[0], link.tuns[1])
	go link.carry(link.tuns[1], link.tuns[0])
	return link, nil
}

func (l *emulated) Close() {
	for i := range l.spaces {
		if l.tuns[i] != nil {
			l.tuns[i].Close()
		}
		if l.files[i] != nil {
			l.files[i].Close()
		}
		if l.spaces[i] != "" {
			_ = ip("netns", "del", l.spaces[i])
		}
	}
}

// carry takes packets from one end to the other until the link is closed. A packet leaves when those before it
// have been sent at the link's rate, and arrives after its delay.
func (l *emulated) carry(from, to *os.File) {
	type packet struct {
		data []byte
		due  time.Time
	}
	way := make(chan packet, 1<<16)
	defer close(way)
	go func() {
		for p := range way {
			sleepUntil(p.due)
			_, _ = to.Write(p.data) // fails once the link is closed
		}
	}()
	var free time.Time // when the link has sent what came before
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > queueTime || l.loss > 0 && rand.Float64() < l.loss {
			continue // lost
		}
		free = free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
		select {
		case way <- packet{append([]byte(nil), buf[:n]...), free.Add(l.delay)}:
		default:
		}
	}
}

// sleepUntil sleeps if t is far enough that the timer does not make it later. Packets that are due within half a
// millisecond go together.
func sleepUntil(t time.Time) {
	if d := time.Until(t); d > 500*time.Microsecond {
		time.Sleep(d)
	}
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// openTun makes a TUN device in the namespace of this thread.
func openTun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("a TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// within runs do on a thread that is in the network namespace space.
func within(space *os.File, do func() error) error {
	result := make(chan error)
	go func() {
		// The thread is not unlocked, and so ends with this goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("entering a network namespace: %w", err)
			return
		}
		result <- do()
	}()
	return <-result
}
