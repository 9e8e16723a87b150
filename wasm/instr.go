package wasm

// instr is one instruction of a body that Check has passed.
type instr struct {
	code  uint16 // the opcode; for prefixed ones the prefix is the high byte
	free  bool   // costs no fuel
	arg   uint32 // the first index that follows; the number of targets of br_table less its default
	argAt int    // where what follows the opcode begins
	next  int    // where the next instruction begins
}

// decode reads the instruction at b[p:]. It relies on Check having seen it: it does not look for errors.
func decode(b []byte, p int) instr {
	o := &ops[b[p]]
	in := instr{code: uint16(b[p]), argAt: p + 1}
	if o.imm == immMisc || o.imm == immVec {
		v, q := uleb32(b, p+1)
		in.code, in.argAt = in.code<<8|uint16(v), q
		if o.imm == immMisc {
			o = &miscOps[v]
		} else {
			o = &vecOps[v]
		}
	}
	in.free = o.free
	q := in.argAt
	switch o.imm {
	case immNone, immElse, immEnd:
	case immLabel, immFunc, immLocal, immGlobal, immTableIdx, immData, immElem:
		in.arg, q = uleb32(b, q)
	case immTable:
		in.arg, q = uleb32(b, q)
		for range in.arg + 1 {
			q = skipNumber(b, q)
		}
	case immCallee, immMemArg, immTabInit, immTabCopy:
		in.arg, q = uleb32(b, q)
		q = skipNumber(b, q)
	case immBlock, immI32, immI64:
		q = skipNumber(b, q)
	case immMemory, immRefType, immLane:
		q++
	case immMemCopy, immSelect:
		q += 2
	case immMemInit:
		q = skipNumber(b, q) + 1
	case immMemLane:
		q = skipNumber(b, skipNumber(b, q)) + 1
	case immF32:
		q += 4
	case immF64:
		q += 8
	case immV128, immShuffle:
		q += 16
	}
	in.next = q
	return in
}

func skipNumber(b []byte, p int) int {
	for b[p] >= 0x80 {
		p++
	}
	return p + 1
}

// Opcodes that Meter looks at. Those above 0xff have the prefix 0xfc.
const (
	opUnreachable = 0x00
	opBlock       = 0x02
	opLoop        = 0x03
	opIf          = 0x04
	opElse        = 0x05
	opEnd         = 0x0b
	opBr          = 0x0c
	opBrIf        = 0x0d
	opBrTable     = 0x0e
	opReturn      = 0x0f
	opCall        = 0x10
	opCallIndir   = 0x11
	opSelect      = 0x1b
	opLocalGet    = 0x20
	opLocalTee    = 0x22
	opGlobalGet   = 0x23
	opGlobalSet   = 0x24
	opMemorySize  = 0x3f
	opMemoryGrow  = 0x40
	opI32Const    = 0x41
	opI64Const    = 0x42
	opI32LeU      = 0x4d
	opI64LtS      = 0x53
	opI64GeS      = 0x59
	opI32Sub      = 0x6b
	opI64Sub      = 0x7d
	opI64Shl      = 0x86
	opI64ShrU     = 0x88
	opI64ExtendU  = 0xad
	opRefFunc     = 0xd2
	opMemoryInit  = 0xfc08
	opMemoryCopy  = 0xfc0a
	opMemoryFill  = 0xfc0b
	opTableInit   = 0xfc0c
	opTableCopy   = 0xfc0e
	opTableGrow   = 0xfc0f
	opTableSize   = 0xfc10
	opTableFill   = 0xfc11
)

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for v < -0x40 || v >= 0x40 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}
