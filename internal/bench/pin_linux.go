package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// twoCores picks two CPUs this process may use, on different physical cores
// where there is a choice: two hardware threads of one core share its caches and
// its units, and slow each other down.
func twoCores() ([]int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, fmt.Errorf("reading the CPU affinity: %w", err)
	}
	var cpus []int
	for cpu := range len(allowed) * 64 {
		if allowed.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) < 2 {
		return nil, fmt.Errorf("the benchmark needs two CPUs, this process may use %d", len(cpus))
	}
	first, second := cpus[0], cpus[1]
	for _, cpu := range cpus[1:] {
		if siblings(cpu) != siblings(first) {
			second = cpu
			break
		}
	}
	return []int{first, second}, nil
}

// siblings is the kernel's list of the hardware threads on cpu's core: the same
// text for all of them.
func siblings(cpu int) string {
	list, _ := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
	return string(list)
}

// startOn starts cmd on the given CPUs alone. A process inherits the affinity of
// the thread that forks it, and so do all its threads; a process that set its own
// would only move the calling thread and miss those the runtime had started.
func startOn(cpus []int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var before, pinned unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("reading the CPU affinity: %w", err)
	}
	for _, cpu := range cpus {
		pinned.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &pinned); err != nil {
		return fmt.Errorf("pinning to CPUs %v: %w", cpus, err)
	}
	defer unix.SchedSetaffinity(0, &before)
	return cmd.Start()
}
