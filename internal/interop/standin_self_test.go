//go:build self

package interop

import "io"

// standIn reports whether the original takes our place.
const standIn = true

// newOurs starts a session of the original with the settings of ours.
func newOurs(conn io.ReadWriteCloser, client bool, cfg ourConfig) (muxSession, error) {
	return newest.start(asNetConn(conn), client, max(cfg.Version, 1), func(c *theirSettings) {
		c.KeepAliveDisabled = cfg.NoKeepAlive
		if cfg.MaxFrameSize != 0 {
			c.MaxFrameSize = cfg.MaxFrameSize
		}
		if cfg.Timeout != 0 {
			c.KeepAliveInterval, c.KeepAliveTimeout = cfg.Interval, cfg.Timeout
		}
		if cfg.MaxStreamWindow != 0 {
			c.MaxStreamBuffer = cfg.MaxStreamWindow
		}
		if cfg.MaxReceiveBuffer != 0 {
			c.MaxReceiveBuffer = cfg.MaxReceiveBuffer
			c.MaxStreamBuffer = min(c.MaxStreamBuffer, c.MaxReceiveBuffer)
		}
	})
}

// peerClosed has no counterpart in the original.
var peerClosed error

var errNotFlushed, errKeepAlive error

// runChild does nothing: no process is killed.
func runChild() {}
