package engine

import (
	"math/bits"
	"sync"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// clearBelow is how much of a used block is cleared by writing zeros; what lies above goes back to the kernel, which is slower
// per page and cheaper per megabyte.
const clearBelow = 2 << 20

// smallestBlock is the least that a block reserves: one wasm page.
const smallestBlock = 64 << 10

// block is a reserved range of addresses outside of the Go heap. All of it reads as zero while it lies in the pool. Only what
// was touched costs memory.
type block struct {
	mem   []byte
	dirty int // bytes from the start that may be other than zero
}

// pool keeps blocks for the next task, by size class: a power of two. It is safe for concurrent use.
type pool struct {
	mu   sync.Mutex
	free [64][]*block
	held int // bytes of memory that free blocks still occupy, at most
	max  int // of held
}

// get gives a block of at least size bytes of address space, or nil when the kernel has none.
func (p *pool) get(size uint64) *block {
	class := bits.Len64(max(size, smallestBlock) - 1)
	p.mu.Lock()
	if n := len(p.free[class]); n > 0 {
		b := p.free[class][n-1]
		p.free[class] = p.free[class][:n-1]
		p.held -= b.resident()
		p.mu.Unlock()
		return b
	}
	p.mu.Unlock()
	mem, err := unix.Mmap(-1, 0, 1<<class, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	return &block{mem: mem}
}

// put clears b and keeps it, or returns it to the kernel when enough is kept already.
func (p *pool) put(b *block) {
	head := min(b.dirty, clearBelow)
	p.mu.Lock()
	keep := p.held+head <= p.max
	if keep {
		p.held += head
	}
	p.mu.Unlock()
	if keep && b.dirty > head {
		keep = unix.Madvise(b.mem[head:], unix.MADV_DONTNEED) == nil
		if !keep {
			p.mu.Lock()
			p.held -= head
			p.mu.Unlock()
		}
	}
	if !keep {
		_ = unix.Munmap(b.mem)
		return
	}
	clear(b.mem[:head])
	b.dirty = head
	class := bits.Len64(uint64(len(b.mem)) - 1)
	p.mu.Lock()
	p.free[class] = append(p.free[class], b)
	p.mu.Unlock()
}

// resident bounds the memory that a free block occupies.
func (b *block) resident() int { return min(b.dirty, clearBelow) }

// drop returns every free block to the kernel.
func (p *pool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for class, list := range p.free {
		for _, b := range list {
			_ = unix.Munmap(b.mem)
		}
		p.free[class] = nil
	}
	p.held = 0
}

// taskMemory hands out the linear memories of one task and holds them to the task's limit. It belongs to the task's goroutine.
type taskMemory struct {
	pool    *pool
	limit   uint64
	size    uint64 // of all memories together
	peak    uint64
	denied  bool // a memory was refused for the limit
	starved bool // a memory was refused because the machine had none
	all     []*linear
}

// linear is one linear memory. It never moves: its whole range is reserved when it is made.
type linear struct {
	task    *taskMemory
	reserve uint64
	size    uint64
	block   *block
}

// Allocate implements [experimental.MemoryAllocator].
func (t *taskMemory) Allocate(_, most uint64) experimental.LinearMemory {
	l := &linear{task: t, reserve: min(most, t.limit)}
	t.all = append(t.all, l)
	return l
}

// Reallocate implements [experimental.LinearMemory]. It gives nil where the task's limit or the machine's memory ends.
func (l *linear) Reallocate(size uint64) []byte {
	t := l.task
	total := t.size - l.size + size
	if total > t.limit || size > l.reserve {
		t.denied = true
		return nil
	}
	if l.block == nil {
		if l.block = t.pool.get(l.reserve); l.block == nil {
			t.denied, t.starved = true, true
			return nil
		}
	}
	t.size, l.size = total, size
	t.peak = max(t.peak, total)
	l.block.dirty = max(l.block.dirty, int(size))
	return l.block.mem[:size:size]
}

// Free implements [experimental.LinearMemory]. The memory goes back with the task's end: an instance that failed halfway is
// never closed, and one that was closed may still be on the stack.
func (*linear) Free() {}

// release gives everything back. The instance must not run any longer.
func (t *taskMemory) release() {
	for _, l := range t.all {
		if l.block != nil {
			t.pool.put(l.block)
		}
	}
	t.all = nil
}
