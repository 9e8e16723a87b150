// Package wire carries messages between Saki's processes: frames of a type and a body on a byte stream, and the one codec
// (CBOR, deterministic) for bodies, log entries, journals and snapshots.
package wire

import (
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

var enc, dec = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	eo := cbor.CoreDetEncOptions() // equal values make equal bytes
	eo.Time = cbor.TimeRFC3339NanoUTC
	em, err := eo.EncMode()
	if err != nil {
		panic(err)
	}
	dm, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  32,
		MaxArrayElements: 1 << 20,
		MaxMapPairs:      1 << 20,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return em, dm
}

// Marshal encodes v. Equal values give equal bytes. It is safe for concurrent use.
func Marshal(v any) ([]byte, error) {
	b, err := enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b, nil
}

// Unmarshal decodes b into v, a pointer. Fields that v does not know are ignored, so that an older peer understands a newer
// one. It is safe for concurrent use and never panics, whatever b holds.
func Unmarshal(b []byte, v any) error {
	if err := dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}

// Encoder writes values one after the other to a stream.
type Encoder = cbor.Encoder

// Decoder reads them back.
type Decoder = cbor.Decoder

// NewEncoder makes an Encoder with the encoding of [Marshal].
func NewEncoder(w io.Writer) *Encoder { return enc.NewEncoder(w) }

// NewDecoder makes a Decoder with the rules of [Unmarshal].
func NewDecoder(r io.Reader) *Decoder { return dec.NewDecoder(r) }
