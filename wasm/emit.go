package wasm

// The units of the cost model. An instruction costs 1.
const (
	bytesShift = 3  // a bulk operation on memory costs 1 per 8 bytes: what a loop of i64.store would move in one
	pagesShift = 13 // so a page of 64 KiB costs 8,192
)

// code writes the body of function fn.
func (m *meter) code(r *reader, fn int) {
	size := int(r.u32(""))
	end := r.p + size
	body := reader{b: r.b[:end], p: r.p}
	r.p = end

	groups := body.u32("")
	from := body.p
	declared := 0
	for range groups {
		declared += int(body.u32(""))
		body.p++
	}
	m.costs.plan(body.b, body.p, declared, m.yield)
	if m.costs.bulk {
		groups++
	}
	m.body = append(appendU32(m.body[:0], groups), body.b[from:body.p]...)
	if m.costs.bulk {
		m.body = append(m.body, 1, 0x7f) // holds the length while it is being charged
	}
	m.instructions(&body, uint32(declared)+uint32(m.types[m.funcs[fn]].params))
	m.out = appendU32(m.out, uint32(len(m.body)))
	m.out = append(m.out, m.body...)
}

// instructions copies the code of a body and carries out its edits. temp is the local that holds lengths.
func (m *meter) instructions(r *reader, temp uint32) {
	for _, e := range m.costs.edits {
		if e.n == 0 && e.kind == editCharge {
			continue
		}
		m.body = append(m.body, r.b[r.p:e.at]...)
		r.p = e.at
		switch e.kind {
		case editFunc:
			m.body = appendU32(append(m.body, r.b[r.p]), e.n)
			r.p = skipNumber(r.b, r.p+1)
		case editBulk:
			m.bulk(decode(r.b, r.p), temp)
		default:
			m.body = appendU32(append(m.body, opGlobalGet), m.fuel)
			m.body = appendS64(append(m.body, opI64Const), int64(e.n))
			m.charge(e.kind)
		}
	}
	m.body = append(m.body, r.b[r.p:]...)
}

// charge takes the amount on top of the stack from the counter below it, and looks at the counter if kind says so. In
// loops the call stands in the else arm: wazero lays that arm out of the way (1.55 times the time of a tight loop instead
// of 1.83), while at the heads of functions the shorter form is a little faster.
func (m *meter) charge(kind editKind) {
	m.body = appendU32(append(m.body, opI64Sub, opGlobalSet), m.fuel)
	if kind == editCharge {
		return
	}
	m.body = appendU32(append(m.body, opGlobalGet), m.fuel)
	if kind == editLoop {
		m.body = append(m.body, opI64Const, 0, opI64GeS, opIf, 0x40, opElse, opCall)
	} else {
		m.body = append(m.body, opI64Const, 0, opI64LtS, opIf, 0x40, opCall)
	}
	m.body = append(appendU32(m.body, m.yield), opEnd)
}

// bulk charges for a bulk instruction by the length on top of the stack, which stays there. A grow that would go beyond
// the maximum fails at once, and is not charged for its length.
func (m *meter) bulk(in instr, temp uint32) {
	m.body = appendU32(append(m.body, opLocalTee), temp)
	m.body = appendU32(append(m.body, opGlobalGet), m.fuel)
	m.body = appendU32(append(m.body, opLocalGet), temp)
	switch in.code {
	case opMemoryGrow:
		hi := uint32(maxPages)
		if mem := m.info.Memories[0]; mem.HasMax {
			hi = mem.Max
		}
		m.unlessBeyond(hi, temp, opMemorySize, 0)
	case opTableGrow:
		t := m.info.Tables[in.arg]
		hi := uint32(1<<32 - 1)
		if t.HasMax {
			hi = t.Max
		}
		if !t.Imported {
			hi = min(hi, max(t.Min, m.opt.TableMax))
		}
		m.unlessBeyond(hi, temp, opTableSize>>8, appendU32([]byte{opTableSize & 0xff}, in.arg)...)
	}
	m.body = append(m.body, opI64ExtendU)
	switch in.code {
	case opMemoryGrow:
		m.body = append(m.body, opI64Const, pagesShift, opI64Shl)
	case opMemoryInit, opMemoryCopy, opMemoryFill:
		m.body = append(m.body, opI64Const, bytesShift, opI64ShrU)
	}
	m.charge(editCheck)
}

// unlessBeyond replaces the length on top of the stack by 0 when it is more than hi less the present size.
func (m *meter) unlessBeyond(hi, temp uint32, size byte, sizeArg ...byte) {
	m.body = append(m.body, opI32Const, 0)
	m.body = appendU32(append(m.body, opLocalGet), temp)
	m.body = appendS64(append(m.body, opI32Const), int64(int32(hi)))
	m.body = append(append(m.body, size), sizeArg...)
	m.body = append(m.body, opI32Sub, opI32LeU, opSelect)
}
