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
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		serve(tcp)
		close(served)
	}()
	answer, err := ask(tcp.Addr().String(), "hello")
	if err != nil || answer != "hello" {
		t.Errorf("ask = %q, %v; want %q", answer, err, "hello")
	}
	tcp.Close()
	<-served
}

// Whoever copies the program from README.md can run it.
func TestTheREADMEShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(program), "\npackage main\n")
	if !ok {
		t.Fatal("main.go has no package clause")
	}
	if want := "```go\npackage main\n" + shown + "```\n"; !strings.Contains(string(readme), want) {
		t.Errorf("README.md does not show main.go as it is:\n%s", want)
	}
}
