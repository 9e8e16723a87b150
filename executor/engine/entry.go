package engine

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	wapi "github.com/tetratelabs/wazero/api"

	"github.com/saki-run/saki/api"
)

// Entry points by convention.
const (
	startFunc = "_start"      // of a command
	initFunc  = "_initialize" // of a reactor, called once before anything else
)

// entry is how an invocation enters its module.
type entry struct {
	init   bool // call initFunc first
	name   string
	params []uint64
	types  []wapi.ValueType // of the results
}

// findEntry works out what to call. The outcome is set instead when the call cannot be made.
func findEntry(exports map[string]wapi.FunctionDefinition, fn string, args []string) (entry, *api.Outcome) {
	if fn == "" {
		fn = startFunc
	}
	def, ok := exports[fn]
	if !ok {
		o := api.Fail(api.ReasonEntryNotFound, missing(exports, fn))
		return entry{}, &o
	}
	e := entry{name: fn, types: def.ResultTypes()}
	_, reactor := exports[initFunc]
	e.init = reactor && fn != initFunc && fn != startFunc
	if len(def.ParamTypes()) == 0 {
		return e, nil // args are the program's, if it looks
	}
	params, err := parseParams(def.ParamTypes(), args)
	if err != nil {
		o := api.Fail(api.ReasonLaunchFailed, fmt.Sprintf("function %s: %v", fn, err))
		return entry{}, &o
	}
	e.params = params
	return e, nil
}

// missing says that fn is not exported and what is.
func missing(exports map[string]wapi.FunctionDefinition, fn string) string {
	var have []string
	for name := range exports {
		if name != initFunc {
			have = append(have, name)
		}
	}
	if len(have) == 0 {
		return fmt.Sprintf("the module has no function %s: it exports none", api.Quote(fn))
	}
	slices.SortFunc(have, func(a, b string) int {
		if d := distance(a, fn) - distance(b, fn); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	more := ""
	if len(have) > 8 {
		have, more = have[:8], ", …"
	}
	for i, name := range have {
		have[i] = strings.Trim(api.Quote(name), `"`)
	}
	return fmt.Sprintf("the module has no function %s; it exports %s%s", api.Quote(fn), strings.Join(have, ", "), more)
}

// distance is a rough measure of how unlike two names are: the edits that make one of the other, of at most 32 letters each.
func distance(a, b string) int {
	a, b = a[:min(len(a), 32)], b[:min(len(b), 32)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diag+cost)
		}
	}
	return row[len(b)]
}

// parseParams reads one argument for each parameter.
func parseParams(types []wapi.ValueType, args []string) ([]uint64, error) {
	if len(args) != len(types) {
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = wapi.ValueTypeName(t)
		}
		return nil, fmt.Errorf("takes %d arguments (%s), got %d", len(types), strings.Join(names, ", "), len(args))
	}
	out := make([]uint64, len(args))
	for i, t := range types {
		v, err := parseParam(t, args[i])
		if err != nil {
			return nil, fmt.Errorf("argument %d: %s is not a valid %s", i+1, api.Quote(args[i]), wapi.ValueTypeName(t))
		}
		out[i] = v
	}
	return out, nil
}

func parseParam(t wapi.ValueType, s string) (uint64, error) {
	switch t {
	case wapi.ValueTypeI32:
		v, err := parseInt(s, 32)
		return uint64(uint32(v)), err
	case wapi.ValueTypeI64:
		return parseInt(s, 64)
	case wapi.ValueTypeF32:
		v, err := strconv.ParseFloat(s, 32)
		return uint64(math.Float32bits(float32(v))), err
	case wapi.ValueTypeF64:
		v, err := strconv.ParseFloat(s, 64)
		return math.Float64bits(v), err
	}
	return 0, fmt.Errorf("type %s cannot be given as text", wapi.ValueTypeName(t))
}

// parseInt reads a signed or an unsigned number of the given width.
func parseInt(s string, bits int) (uint64, error) {
	if v, err := strconv.ParseInt(s, 0, bits); err == nil {
		return uint64(v), nil
	}
	return strconv.ParseUint(s, 0, bits)
}

// formatResults gives one line for each result.
func formatResults(types []wapi.ValueType, vals []uint64) []byte {
	var b []byte
	for i, t := range types {
		switch t {
		case wapi.ValueTypeI32:
			b = strconv.AppendInt(b, int64(int32(vals[i])), 10)
		case wapi.ValueTypeI64:
			b = strconv.AppendInt(b, int64(vals[i]), 10)
		case wapi.ValueTypeF32:
			b = strconv.AppendFloat(b, float64(math.Float32frombits(uint32(vals[i]))), 'g', -1, 32)
		case wapi.ValueTypeF64:
			b = strconv.AppendFloat(b, math.Float64frombits(vals[i]), 'g', -1, 64)
		default:
			b = append(b, wapi.ValueTypeName(t)...)
		}
		b = append(b, '\n')
	}
	return b
}
