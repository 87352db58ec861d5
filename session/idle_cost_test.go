package session

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A session without idle time-outs has no timer for them, however many streams it has. With them it has one.
func TestIdleTimeoutsHaveOneTimerASession(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want bool
	}{
		{"none", Config{}, false},
		{"StreamIdleTimeout", Config{StreamIdleTimeout: time.Hour}, true},
		{"IdleTimeout", Config{IdleTimeout: time.Hour}, true},
		{"both", Config{StreamIdleTimeout: time.Hour, IdleTimeout: time.Minute}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				s, err := Client(a, &tt.cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer s.CloseNow()
				go func() { _, _ = io.Copy(io.Discard, b) }()
				for range 100 {
					st, err := s.OpenStream(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					if _, err := st.Write([]byte("x")); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				s.mu.Lock()
				w := s.idle
				s.mu.Unlock()
				if got := w != nil; got != tt.want {
					t.Errorf("there is a watch: %v, want %v", got, tt.want)
				}
				if w != nil {
					w.mu.Lock()
					defer w.mu.Unlock()
					if w.timer == nil || w.state != watchSet {
						t.Errorf("the watch is in state %d, timer %v", w.state, w.timer)
					}
				}
			})
		})
	}
}
