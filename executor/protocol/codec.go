package protocol

import (
	"fmt"

	"github.com/saki-run/saki/wire"
)

// Send sends m. It is safe for concurrent use.
func Send(c *wire.Conn, m Message) error { return c.Send(m.frameType(), m) }

// Recv receives the next message. A frame of a type that this version does not know is an error. One goroutine receives.
func Recv(c *wire.Conn) (Message, error) {
	t, body, err := c.Recv()
	if err != nil {
		return nil, err
	}
	return Decode(t, body)
}

// Decode reads the message of a frame. It never panics, whatever body holds.
func Decode(t wire.Type, body []byte) (Message, error) {
	m := empty(t)
	if m == nil {
		return nil, fmt.Errorf("frame of unknown type %d", t)
	}
	if err := wire.Unmarshal(body, m); err != nil {
		return nil, err
	}
	return m, nil
}

func empty(t wire.Type) Message {
	switch t {
	case TypeHello:
		return new(Hello)
	case TypeWelcome:
		return new(Welcome)
	case TypeRefused:
		return new(Refused)
	case TypeLoad:
		return new(Load)
	case TypeLoaded:
		return new(Loaded)
	case TypeInvoke:
		return new(Invoke)
	case TypeStarted:
		return new(Started)
	case TypeResult:
		return new(Result)
	case TypeAck:
		return new(Ack)
	case TypeCancel:
		return new(Cancel)
	case TypePing:
		return new(Ping)
	case TypePong:
		return new(Pong)
	case TypeKill:
		return new(Kill)
	case TypeExited:
		return new(Exited)
	case TypeExtra:
		return new(Extra)
	}
	return nil
}
