package api

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TaskID names a task for the life of the cluster. It is made by the master that accepted the task: 12 characters of
// [idAlphabet], random, so that a short prefix is enough to type. Members of an array add "-" and their index.
type TaskID string

// NodeID names an agent for the life of its data directory, whatever its name or address.
type NodeID string

// Digest names content by its SHA-256: "sha256:" and 64 hex digits in lower case.
type Digest string

// DefaultNamespace is where tasks run that name no other.
const DefaultNamespace = "default"

// idAlphabet is Crockford's base 32 in lower case: no i, l, o or u to misread.
const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// taskIDLen is the number of characters of a fresh task id: 60 bits.
const taskIDLen = 12

// NewTaskID makes a task id of 60 of the given random bits.
func NewTaskID(random uint64) TaskID {
	var b [taskIDLen]byte
	for i := range b {
		b[i] = idAlphabet[random&31]
		random >>= 5
	}
	return TaskID(b[:])
}

// Member is the id of the i-th task of the array that this id names.
func (id TaskID) Member(i int) TaskID { return TaskID(fmt.Sprintf("%s-%d", id, i)) }

// DigestOf makes a Digest of a SHA-256 sum.
func DigestOf(sum [32]byte) Digest { return Digest("sha256:" + hex.EncodeToString(sum[:])) }

// ParseDigest checks that s is a full digest. The "sha256:" prefix is required.
func ParseDigest(s string) (Digest, error) {
	h, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(h) != 64 || strings.Trim(h, "0123456789abcdef") != "" {
		return "", Errorf(CodeInvalidArgument, "%s is not a digest", Quote(s)).WithHint("a digest is sha256: and 64 hex digits")
	}
	return Digest(s), nil
}

// Hex is the digest without its "sha256:" prefix: safe as a file name.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// Short is the digest cut to 12 hex digits, for people.
func (d Digest) Short() string {
	h := d.Hex()
	return h[:min(12, len(h))]
}

// maxName is the longest name in bytes.
const maxName = 63

// CheckName reports whether s can name a task, node, namespace, label key or module: 1 to 63 of a-z, 0-9, dot, dash and
// underscore, beginning with a letter or digit. what is put into the error.
func CheckName(what, s string) error {
	ok := len(s) >= 1 && len(s) <= maxName && isAlnum(s[0])
	for i := 0; ok && i < len(s); i++ {
		ok = isAlnum(s[i]) || s[i] == '.' || s[i] == '-' || s[i] == '_'
	}
	if ok {
		return nil
	}
	return Errorf(CodeInvalidName, "%s %s is not a valid name", what, Quote(s)).
		WithHint("use 1 to 63 of a-z 0-9 . - _ and begin with a letter or digit")
}

func isAlnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// Quote makes s safe to show in an error: quoted, control characters escaped, cut to 80 characters.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	n := 0
	for i, r := range s {
		if n == 80 {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		n++
	}
	b.WriteByte('"')
	return b.String()
}
