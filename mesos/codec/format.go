// Package codec writes Mesos messages as Mesos' own JSON or as protobuf, and
// reads them as leniently as Mesos does.
//
// The JSON is not that of the protobuf project: names stay in snake case,
// 64-bit integers are numbers, nothing is null, and a field that is not set
// but declares a default is printed with it. Reading takes what clients in the
// field send: nulls, numbers as text, one object where a list is meant, enum
// names from a later version, keys that nobody knows.
package codec

import (
	"strconv"
	"strings"
)

// Format is one of the two encodings of a message.
type Format uint8

// The formats. JSON is the zero value, as it is Mesos' default.
const (
	JSON Format = iota
	Protobuf
)

// The media types of the formats, and of a stream of records in either.
const (
	TypeJSON     = "application/json"
	TypeProtobuf = "application/x-protobuf"
	TypeRecordIO = "application/recordio"
)

// ContentType is the exact media type to answer with. Some clients refuse the
// answer if a parameter such as charset is added.
func (f Format) ContentType() string {
	if f == Protobuf {
		return TypeProtobuf
	}
	return TypeJSON
}

// String is the name of the format.
func (f Format) String() string {
	if f == Protobuf {
		return "protobuf"
	}
	return "JSON"
}

// ParseContentType reads a Content-Type header. Parameters are ignored. It is
// false for a type that is neither format.
func ParseContentType(header string) (Format, bool) {
	switch mediaType(header) {
	case TypeJSON:
		return JSON, true
	case TypeProtobuf:
		return Protobuf, true
	}
	return 0, false
}

// Negotiate picks the format of an answer from the values of the Accept
// headers, of which there may be several. JSON wins if it is acceptable at
// all, which it is when there is no header. It is false if neither is: 406.
func Negotiate(accept []string) (Format, bool) {
	switch {
	case Accepts(accept, TypeJSON):
		return JSON, true
	case Accepts(accept, TypeProtobuf):
		return Protobuf, true
	}
	return 0, false
}

// Accepts tells whether the values of the Accept headers allow the media type.
// The most specific range decides, and q=0 forbids. No value at all allows
// everything.
func Accepts(accept []string, typ string) bool {
	major, _, _ := strings.Cut(typ, "/")
	best, allowed, stated := 0, false, false
	for _, header := range accept {
		for item := range strings.SplitSeq(header, ",") {
			var rank int
			switch mediaType(item) {
			case "":
				continue
			case typ:
				rank = 3
			case major + "/*":
				rank = 2
			case "*/*", "*":
				rank = 1
			}
			stated = true
			ok := quality(item) > 0
			switch {
			case rank > best:
				best, allowed = rank, ok
			case rank == best && rank > 0:
				allowed = allowed || ok
			}
		}
	}
	return allowed || !stated
}

func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(s))
}

// quality is the q parameter of an Accept item; 1 if it has none that makes
// sense.
func quality(item string) float64 {
	_, params, _ := strings.Cut(item, ";")
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(k), "q") {
			continue
		}
		if q, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			return q
		}
	}
	return 1
}
