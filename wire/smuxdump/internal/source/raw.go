package source

import (
	"context"
	"io"
	"time"

	"github.com/smuxkit/smuxkit/wire/smuxdump/internal/conversation"
)

// Raw reads the bytes of one direction of a connection, and feeds them to set. They have no times.
func Raw(ctx context.Context, r io.Reader, name string, set *conversation.Set) error {
	if name == "-" {
		name = "stdin"
	}
	c := set.Open(name, "(the other side)", time.Time{})
	c.Middle(conversation.Backward) // nothing of it will be seen
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		c.Data(conversation.Forward, time.Time{}, buf[:n])
		if err == nil {
			err = ctx.Err()
		}
		switch {
		case err == io.EOF:
			c.Close(time.Time{})
			return nil
		case err != nil:
			c.Close(time.Time{})
			return err
		}
	}
}
