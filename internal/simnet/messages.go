package simnet

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// ErrMessageTooLong is the error of a Write of more bytes than a message may have.
var ErrMessageTooLong = errors.New("simnet: message too long")

// Messages returns a transport over conn that carries messages, as a WebSocket does. A Write sends a message. If p has
// more than limit bytes, Write fails with ErrMessageTooLong and sends nothing. A Read returns bytes of one message only,
// and the rest of it later. The other end must be made with Messages, too.
//
// Log, if not nil, is called with each message before it is sent. It must not keep the message.
func Messages(conn net.Conn, limit int, log func(message []byte)) net.Conn {
	return &messages{Conn: conn, limit: limit, log: log}
}

type messages struct {
	net.Conn
	limit int
	log   func([]byte)

	reading sync.Mutex
	left    uint32 // bytes of the message that is read
}

const messageHeader = 4

func (m *messages) Write(p []byte) (int, error) {
	if len(p) > m.limit {
		return 0, ErrMessageTooLong
	}
	if m.log != nil {
		m.log(p)
	}
	n, err := m.Conn.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(p))), p...))
	return max(0, n-messageHeader), err
}

func (m *messages) Read(p []byte) (int, error) {
	m.reading.Lock()
	defer m.reading.Unlock()
	for m.left == 0 {
		var head [messageHeader]byte
		if _, err := io.ReadFull(m.Conn, head[:]); err != nil {
			return 0, err
		}
		m.left = binary.LittleEndian.Uint32(head[:])
	}
	n, err := m.Conn.Read(p[:min(len(p), int(m.left))])
	m.left -= uint32(n)
	return n, err
}
