package gossip

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// maxMeta is what memberlist carries per member, in bytes.
const maxMeta = 512

// ErrMeta says that what a member says of itself is too long or not understood.
var ErrMeta = errors.New("bad gossip metadata")

// Member is what one process says of itself. None of it is proven: treat it as a hint.
type Member struct {
	Name         string `cbor:"-"`          // unique in the cluster
	Addr         string `cbor:"-"`          // gossip address
	Role         string `cbor:"1,keyasint"` // "master" or "agent"
	ID           string `cbor:"2,keyasint,omitempty"`
	API          string `cbor:"3,keyasint,omitempty"` // HTTP address
	Raft         string `cbor:"4,keyasint,omitempty"` // raft address, masters only
	Cluster      string `cbor:"5,keyasint,omitempty"`
	Bootstrapped bool   `cbor:"6,keyasint,omitempty"` // a master that is in a raft group
}

func (m Member) encode() ([]byte, error) {
	if m.Role != "master" && m.Role != "agent" {
		return nil, fmt.Errorf("%w: role %q", ErrMeta, m.Role)
	}
	b, err := cbor.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(b) > maxMeta {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMeta, len(b), maxMeta)
	}
	return b, nil
}

func decodeMeta(b []byte) (Member, error) {
	var m Member
	if len(b) > maxMeta {
		return m, fmt.Errorf("%w: %d bytes", ErrMeta, len(b))
	}
	if err := cbor.Unmarshal(b, &m); err != nil {
		return Member{}, fmt.Errorf("%w: %w", ErrMeta, err)
	}
	if m.Role != "master" && m.Role != "agent" {
		return Member{}, fmt.Errorf("%w: role %q", ErrMeta, m.Role)
	}
	return m, nil
}
