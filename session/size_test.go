package session

import (
	"testing"
	"unsafe"
)

// A stream with what its session knows of it fits the size class of 320 bytes.
func TestStreamFitsItsSizeClass(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("for 64 bits")
	}
	if n := unsafe.Sizeof(sessionStream{}); n > 320 {
		t.Errorf("a sessionStream has %d bytes, want at most 320", n)
	}
}

// A Session fits the size class of 896 bytes, of which the allocator takes 8.
func TestSessionFitsItsSizeClass(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("for 64 bits")
	}
	if n := unsafe.Sizeof(Session{}); n > 888 {
		t.Errorf("a Session has %d bytes, want at most 888", n)
	}
}
