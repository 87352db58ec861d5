package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// crateVersions are those in rust/Cargo.toml.
const crateVersions = "async_smux 0.4.0, smux (Rust) 0.2.0"

// Two Rust crates, in a program of their own (folder rust), each on a runtime of one thread and of two.

var (
	crateNames = []string{"async_smux-1", "async_smux-2", "smux-rust-1", "smux-rust-2"}
	crates     = []*peer{
		cratePeer(crateNames[0], "async_smux", "1"), cratePeer(crateNames[1], "async_smux", "2"),
		cratePeer(crateNames[2], "smux", "1"), cratePeer(crateNames[3], "smux", "2"),
	}
)

func cratePeer(name, crate, threads string) *peer {
	return &peer{name: name, args: []string{crate, threads}}
}

// buildCrates builds the program that measures crates, once for each state of its source. Where there is no cargo, it
// does nothing, and crates are not measured.
func buildCrates(ctx context.Context) error {
	if _, err := exec.LookPath("cargo"); err != nil {
		return nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	// Cargo.lock names a registry: it must not get into the repository.
	dir := filepath.Join(cache, "smuxkit-bench-rust")
	for _, name := range []string{"Cargo.toml", "src/main.rs"} {
		text, err := os.ReadFile(filepath.Join("rust", filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("the Rust program, which needs the directory internal/bench: %w", err)
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, text) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "cargo", "build", "--release", "--quiet")
	cmd.Dir = dir
	cmd.WaitDelay = time.Second // a compiler that outlives cargo ends by itself
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cargo build: %w\n%s", err, out)
	}
	for _, p := range crates {
		p.program = filepath.Join(dir, "target", "release", "smuxkit-bench-peer")
	}
	return nil
}
