package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

func TestTheClientGetsItsWordsBack(t *testing.T) {
	testutil.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go server(l)
	answer, err := client(l.Addr().String())
	if err != nil || answer != "hello" {
		t.Errorf("client = %q, %v; want %q", answer, err, "hello")
	}
}

func TestTheREADMEShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(program), "func server(")
	if !ok {
		t.Fatal("main.go has no func server")
	}
	for _, part := range strings.Split(shown, "\nfunc ") {
		if !strings.Contains(string(readme), strings.TrimSpace(part)) {
			t.Errorf("README.md does not show this as it is in main.go:\n%s", part)
		}
	}
}
