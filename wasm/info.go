package wasm

import (
	"slices"
	"strconv"
	"strings"
)

// What a module is to the host that runs it.
const (
	KindCommand = "command" // exports _start: runs once, from start to end
	KindReactor = "reactor" // exports _initialize: is set up once, then called
	KindLibrary = "library" // neither: its exports can be called as they are
)

// Info says what a module is made of. Its JSON form is what people see.
type Info struct {
	Kind     string   `json:"kind"`           // one of the Kind constants
	Name     string   `json:"name,omitempty"` // from the name section, escaped
	Size     int      `json:"size"`           // bytes
	Start    bool     `json:"has_start"`      // has a start function, which runs while it is instantiated
	Features []string `json:"features"`       // parts of WebAssembly 2.0 it uses, sorted
	Counts   Counts   `json:"counts"`
	Imports  []Import `json:"imports"`
	Exports  []Export `json:"exports"`
	Memories []Memory `json:"memories"`
	Tables   []Table  `json:"tables"`
	Custom   []Custom `json:"custom_sections"`
}

// Counts are how many of each thing the module defines. Imported ones are not included.
type Counts struct {
	Types        int `json:"types"`
	Functions    int `json:"functions"`
	Globals      int `json:"globals"`
	ElemSegments int `json:"element_segments"`
	DataSegments int `json:"data_segments"`
	CodeBytes    int `json:"code_bytes"`
	DataBytes    int `json:"data_bytes"`
}

// Import is something the module needs from its host.
type Import struct {
	Module    string `json:"module"`
	Name      string `json:"name"`
	Kind      string `json:"kind"`      // func, table, memory or global
	Signature string `json:"signature"` // such as "(i32, i32) -> i32", "mut i64", "memory 1..16 pages"
}

// Export is something the module offers to its host.
type Export struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Signature string `json:"signature"`
}

// Memory is a linear memory. Pages are 64 KiB.
type Memory struct {
	Min      uint32   `json:"min_pages"`
	Max      uint32   `json:"max_pages"` // meaningful when HasMax
	HasMax   bool     `json:"has_max"`
	Imported bool     `json:"imported"`
	Exports  []string `json:"exports"` // the names it is exported under
}

// Table is a table of references.
type Table struct {
	Type     string   `json:"type"` // funcref or externref
	Min      uint32   `json:"min"`
	Max      uint32   `json:"max"` // meaningful when HasMax
	HasMax   bool     `json:"has_max"`
	Imported bool     `json:"imported"`
	Exports  []string `json:"exports"`
}

// Custom is a custom section, whose content the module does not need in order to run.
type Custom struct {
	Name string `json:"name"` // escaped, and cut at 64 bytes
	Size int    `json:"size"` // bytes, name included
}

func featureList(f feature) []string {
	names := []string{}
	for i, name := range featureNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// limitsText shows bounds the way Import and Export do.
func limitsText(kind string, lo, hi uint32, hasMax bool, unit string) string {
	var s strings.Builder
	s.WriteString(kind)
	s.WriteByte(' ')
	s.WriteString(strconv.FormatUint(uint64(lo), 10))
	s.WriteString("..")
	if hasMax {
		s.WriteString(strconv.FormatUint(uint64(hi), 10))
	}
	s.WriteString(unit)
	return s.String()
}

func memoryText(m Memory) string { return limitsText("memory", m.Min, m.Max, m.HasMax, " pages") }
func tableText(t Table) string   { return limitsText(t.Type, t.Min, t.Max, t.HasMax, " entries") }

// typeName names a value type, or gives "" for a byte that is none.
func typeName(c byte) string {
	switch c {
	case 0x7f:
		return "i32"
	case 0x7e:
		return "i64"
	case 0x7d:
		return "f32"
	case 0x7c:
		return "f64"
	case 0x7b:
		return "v128"
	case 0x70:
		return "funcref"
	case 0x6f:
		return "externref"
	}
	return ""
}
