package wasm

// imm is the shape of what follows an opcode.
type imm uint8

const (
	immUnknown     imm = iota // no such instruction
	immUnsupported            // an instruction of a proposal that Saki does not run
	immNone
	immBlock  // block type; opens a block
	immElse   // turns an if into its other arm
	immEnd    // closes a block
	immLabel  // label index
	immTable  // br_table: vector of labels and one more
	immFunc   // function index
	immCallee // call_indirect: type index, table index
	immLocal
	immGlobal
	immTableIdx // table.get, table.set and the like
	immMemArg   // alignment and offset
	immMemory   // one zero byte: the memory
	immI32
	immI64
	immF32
	immF64
	immRefType
	immSelect // select with types
	immMisc   // 0xfc prefix
	immVec    // 0xfd prefix
	immV128   // 16 bytes
	immShuffle
	immLane    // one lane byte
	immMemLane // memarg and one lane byte
	immMemInit // data index, memory
	immMemCopy // two memories
	immData    // data index
	immTabInit // element index, table index
	immTabCopy // two table indices
	immElem    // element index
)

// feature is a bit per part of WebAssembly 2.0 that a module may use.
type feature uint16

const (
	featSignExt feature = 1 << iota
	featSatFloat
	featMultiValue
	featBulk
	featRefTypes
	featSIMD
)

// featureNames are in the order of the bits.
var featureNames = [...]string{
	"sign_extension", "saturating_float_to_int", "multi_value", "bulk_memory", "reference_types", "simd",
}

// op describes one opcode.
type op struct {
	imm   imm
	feat  feature
	arg   uint8 // natural alignment (log 2) of a memory access; number of lanes; index into proposals
	lanes uint8 // number of lanes when arg is the alignment
	free  bool  // costs no fuel
}

// proposals name what an unsupported opcode belongs to.
var proposals = [...]string{
	"exception handling", "tail calls", "typed function references", "garbage collection", "threads", "relaxed SIMD",
}

const (
	propExceptions = iota
	propTailCalls
	propFuncRefs
	propGC
	propThreads
	propRelaxedSIMD
)

var (
	ops     = makeOps()
	miscOps = makeMiscOps()
	vecOps  = makeVecOps()
)

func makeOps() (t [256]op) {
	for c := 0x45; c <= 0xbf; c++ {
		t[c] = op{imm: immNone}
	}
	for c := 0xc0; c <= 0xc4; c++ {
		t[c] = op{imm: immNone, feat: featSignExt}
	}
	for _, c := range []byte{0x00, 0x01, 0x0f, 0x1a} { // unreachable nop return drop
		t[c] = op{imm: immNone, free: true}
	}
	t[0x02] = op{imm: immBlock, free: true}
	t[0x03] = op{imm: immBlock}
	t[0x04] = op{imm: immBlock}
	t[0x05] = op{imm: immElse, free: true}
	t[0x0b] = op{imm: immEnd, free: true}
	t[0x0c] = op{imm: immLabel}
	t[0x0d] = op{imm: immLabel}
	t[0x0e] = op{imm: immTable}
	t[0x10] = op{imm: immFunc}
	t[0x11] = op{imm: immCallee}
	t[0x1b] = op{imm: immNone}
	t[0x1c] = op{imm: immSelect, feat: featRefTypes}
	t[0x20] = op{imm: immLocal}
	t[0x21] = op{imm: immLocal}
	t[0x22] = op{imm: immLocal}
	t[0x23] = op{imm: immGlobal}
	t[0x24] = op{imm: immGlobal}
	t[0x25] = op{imm: immTableIdx, feat: featRefTypes}
	t[0x26] = op{imm: immTableIdx, feat: featRefTypes}
	for i, align := range []uint8{2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 3, 2, 3, 0, 1, 0, 1, 2} {
		t[0x28+i] = op{imm: immMemArg, arg: align}
	}
	t[0x3f] = op{imm: immMemory}
	t[0x40] = op{imm: immMemory}
	t[0x41] = op{imm: immI32}
	t[0x42] = op{imm: immI64}
	t[0x43] = op{imm: immF32}
	t[0x44] = op{imm: immF64}
	t[0xd0] = op{imm: immRefType, feat: featRefTypes}
	t[0xd1] = op{imm: immNone, feat: featRefTypes}
	t[0xd2] = op{imm: immFunc, feat: featRefTypes}
	t[0xfc] = op{imm: immMisc}
	t[0xfd] = op{imm: immVec, feat: featSIMD}
	for c, prop := range map[byte]uint8{
		0x06: propExceptions, 0x07: propExceptions, 0x08: propExceptions, 0x09: propExceptions, 0x0a: propExceptions,
		0x18: propExceptions, 0x19: propExceptions, 0x1f: propExceptions,
		0x12: propTailCalls, 0x13: propTailCalls,
		0x14: propFuncRefs, 0x15: propFuncRefs, 0xd4: propFuncRefs, 0xd5: propFuncRefs, 0xd6: propFuncRefs,
		0xd3: propGC, 0xfb: propGC, 0xfe: propThreads,
	} {
		t[c] = op{imm: immUnsupported, arg: prop}
	}
	return t
}

func makeMiscOps() (t [18]op) {
	for c := range 8 {
		t[c] = op{imm: immNone, feat: featSatFloat}
	}
	t[8] = op{imm: immMemInit, feat: featBulk}
	t[9] = op{imm: immData, feat: featBulk}
	t[10] = op{imm: immMemCopy, feat: featBulk}
	t[11] = op{imm: immMemory, feat: featBulk}
	t[12] = op{imm: immTabInit, feat: featBulk}
	t[13] = op{imm: immElem, feat: featBulk}
	t[14] = op{imm: immTabCopy, feat: featBulk}
	t[15] = op{imm: immTableIdx, feat: featRefTypes}
	t[16] = op{imm: immTableIdx, feat: featRefTypes}
	t[17] = op{imm: immTableIdx, feat: featRefTypes}
	return t
}

func makeVecOps() (t [256]op) {
	for c := 14; c < 256; c++ {
		t[c] = op{imm: immNone}
	}
	for _, c := range []byte{
		0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4,
		0xe2, 0xee,
	} {
		t[c] = op{} // never assigned
	}
	for c, align := range []uint8{4, 3, 3, 3, 3, 3, 3, 0, 1, 2, 3, 4} {
		t[c] = op{imm: immMemArg, arg: align}
	}
	t[12] = op{imm: immV128}
	t[13] = op{imm: immShuffle, arg: 32}
	for i, lanes := range []uint8{16, 16, 16, 8, 8, 8, 4, 4, 2, 2, 4, 4, 2, 2} {
		t[21+i] = op{imm: immLane, arg: lanes}
	}
	for i := range 8 {
		align := uint8(i % 4)
		t[84+i] = op{imm: immMemLane, arg: align, lanes: 16 >> align}
	}
	t[92] = op{imm: immMemArg, arg: 2}
	t[93] = op{imm: immMemArg, arg: 3}
	return t
}
