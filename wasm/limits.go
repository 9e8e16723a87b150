package wasm

// Limits bound what Check accepts. A field that is zero stands for its default, so the zero Limits is DefaultLimits.
// The defaults hold every program we know of and refuse the shapes that take an engine minutes or gigabytes to compile.
type Limits struct {
	Size           int // bytes of the module; 64 MiB
	Body           int // bytes of one function body; 1 MiB
	Types          int // function types; 100,000
	Params         int // parameters or results of one function type; 1,000
	Functions      int // functions, imported ones included; 100,000
	Imports        int // imports of all kinds; 10,000
	Exports        int // exports of all kinds; 10,000
	Globals        int // globals, imported ones included; 100,000
	Locals         int // locals of one function, parameters included; 50,000
	Nesting        int // blocks open at once in one function; 10,000
	Branches       int // blocks, loops, ifs and branches in one function; 20,000
	BrTable        int // br_table targets in one function, all its tables together; 32,768
	Tables         int // tables, imported ones included; 100
	TableEntries   int // initial entries of one table, and of all element segments together; 10,000,000
	MemoryPages    int // initial pages of 64 KiB of a memory; 65,536, which is 4 GiB
	DataSegments   int // data segments; 100,000
	ElemSegments   int // element segments; 100,000
	Name           int // bytes of one import or export name; 4,096
	Names          int // bytes of all import and export names together; 2 MiB
	CustomSections int // custom sections; 1,000

	// ControlChars lets control characters stand in the names of imports and exports. WebAssembly allows them there;
	// terminals and logs do not forgive them.
	ControlChars bool
}

// DefaultLimits returns the limits with every default filled in.
func DefaultLimits() Limits { return Limits{}.filled() }

func (l Limits) filled() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.Size, 64 << 20},
		{&l.Body, 1 << 20},
		{&l.Types, 100_000},
		{&l.Params, 1_000},
		{&l.Functions, 100_000},
		{&l.Imports, 10_000},
		{&l.Exports, 10_000},
		{&l.Globals, 100_000},
		{&l.Locals, 50_000},
		{&l.Nesting, 10_000},
		{&l.Branches, 20_000},
		{&l.BrTable, 32_768},
		{&l.Tables, 100},
		{&l.TableEntries, 10_000_000},
		{&l.MemoryPages, maxPages},
		{&l.DataSegments, 100_000},
		{&l.ElemSegments, 100_000},
		{&l.Name, 4_096},
		{&l.Names, 2 << 20},
		{&l.CustomSections, 1_000},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}
