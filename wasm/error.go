package wasm

import (
	"fmt"
	"strconv"
)

// Codes of Error. They are part of the public surface: clients match on them.
const (
	CodeInvalid     = "invalid_module"          // not a well-formed WebAssembly module
	CodeComponent   = "component_not_supported" // a component, where a core module is needed
	CodeTooLarge    = "module_too_large"        // more bytes than Limits.Size
	CodeLimit       = "limit_exceeded"          // well formed, but beyond one of Limits
	CodeFeature     = "unsupported_feature"     // uses a proposal that Saki does not run
	CodeUnmeterable = "meter_unsupported"       // Meter cannot rewrite it; run it under another kind of watch
)

// Error says why a module was refused. It is what every error of this package is.
type Error struct {
	Code   string // one of the Code constants
	Msg    string // a sentence for the person who built the module; names in it are escaped
	Offset int    // byte offset in the module at which the fault was seen
}

// Error gives the sentence and the offset.
func (e *Error) Error() string {
	return fmt.Sprintf("%s (at byte %d)", e.Msg, e.Offset)
}

// Escape returns a name from a module in a form that is safe on a terminal: control and formatting characters and
// invalid UTF-8 become Go escapes such as \x1b. Names without such characters come back unchanged.
func Escape(name string) string {
	q := strconv.Quote(name)
	return q[1 : len(q)-1]
}

// quoted is Escape for messages: in quotes, and cut when it is long.
func quoted(name []byte) string {
	const most = 80
	if len(name) > most {
		return strconv.Quote(string(name[:most])) + "..."
	}
	return strconv.Quote(string(name))
}
