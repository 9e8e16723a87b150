package api

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortRange is the ports from First to Last, both included.
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// Ports is a set of ports as sorted ranges that neither overlap nor touch.
type Ports []PortRange

// Resources is a vector of what an agent has, or what a task holds. The zero value is nothing.
type Resources struct {
	CPUs  Milli `json:"cpus"`
	Mem   Bytes `json:"mem"`
	Disk  Bytes `json:"disk"`
	Ports Ports `json:"ports,omitempty"`
}

// Add gives the sum of both vectors.
func (r Resources) Add(o Resources) Resources {
	return Resources{r.CPUs + o.CPUs, r.Mem + o.Mem, r.Disk + o.Disk, r.Ports.Union(o.Ports)}
}

// Sub takes o away from r. Amounts may become negative; ports that r does not hold are ignored.
func (r Resources) Sub(o Resources) Resources {
	return Resources{r.CPUs - o.CPUs, r.Mem - o.Mem, r.Disk - o.Disk, r.Ports.Minus(o.Ports)}
}

// Negative reports whether any amount is below zero.
func (r Resources) Negative() bool { return r.CPUs < 0 || r.Mem < 0 || r.Disk < 0 }

// String gives the text that [ParseResources] reads, with mem and disk in MiB.
func (r Resources) String() string {
	s := fmt.Sprintf("cpus:%s;mem:%s;disk:%s", r.CPUs, mib(r.Mem), mib(r.Disk))
	if len(r.Ports) > 0 {
		s += ";ports:" + r.Ports.String()
	}
	return s
}

func mib(b Bytes) string { return Milli(b * 1000 / MiB).String() }

// ParseResources reads the text of --resources: "cpus:4;mem:4096;disk:10000;ports:[8000-8100,9000-9010]". mem and disk are
// in MiB unless they carry a unit. An entry that is left out is left zero; given tells which were named.
func ParseResources(s string) (r Resources, given map[string]bool, err error) {
	given = map[string]bool{}
	bad := func(format string, args ...any) (Resources, map[string]bool, error) { //nolint:unparam // shaped as the caller's results
		return Resources{}, nil, Errorf(CodeInvalidResources, format, args...).
			WithHint("for example cpus:4;mem:4096;disk:10000;ports:[8000-8100]")
	}
	for entry := range strings.SplitSeq(s, ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, val, ok := strings.Cut(entry, ":")
		if !ok {
			return bad("resource %s has no value", Quote(entry))
		}
		if given[name] {
			return bad("resource %s is given twice", name)
		}
		given[name] = true
		switch name {
		case "cpus":
			r.CPUs, err = ParseMilli(val)
		case "mem":
			r.Mem, err = parseMiB(val)
		case "disk":
			r.Disk, err = parseMiB(val)
		case "ports":
			r.Ports, err = ParsePorts(val)
		default:
			return bad("unknown resource %s; known are cpus, mem, disk and ports", Quote(name))
		}
		if err != nil {
			return bad("resource %s: %v", name, err)
		}
	}
	return r, given, nil
}

func parseMiB(s string) (Bytes, error) {
	if strings.Trim(s, "0123456789.") == "" {
		s += "Mi"
	}
	return ParseBytes(s)
}

// ParsePorts reads "[8000-8100,9000]"; the brackets may be left out.
func ParsePorts(s string) (Ports, error) {
	list, open := strings.CutPrefix(s, "[")
	list, closed := strings.CutSuffix(list, "]")
	if open != closed {
		return nil, fmt.Errorf("%s has an unbalanced bracket", Quote(s))
	}
	var p Ports
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		lo, hi, isRange := strings.Cut(part, "-")
		if !isRange {
			hi = lo
		}
		a, err1 := strconv.ParseUint(strings.TrimSpace(lo), 10, 16)
		b, err2 := strconv.ParseUint(strings.TrimSpace(hi), 10, 16)
		switch {
		case err1 != nil || err2 != nil || a == 0:
			return nil, fmt.Errorf("%s is not a port or a range of ports from 1 to 65535", Quote(part))
		case b < a:
			return nil, fmt.Errorf("range %s ends before it begins", Quote(part))
		}
		p = append(p, PortRange{uint16(a), uint16(b)})
	}
	return p.normal(), nil
}

// PortsOf makes a set of single ports.
func PortsOf(ports ...uint16) Ports {
	p := make(Ports, len(ports))
	for i, n := range ports {
		p[i] = PortRange{n, n}
	}
	return p.normal()
}

// normal sorts and merges p in place.
func (p Ports) normal() Ports {
	if len(p) < 2 {
		return p
	}
	slices.SortFunc(p, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	out := p[:1]
	for _, r := range p[1:] {
		last := &out[len(out)-1]
		if int(r.First) <= int(last.Last)+1 {
			last.Last = max(last.Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Union gives the ports of either set.
func (p Ports) Union(o Ports) Ports {
	if len(o) == 0 {
		return p
	}
	return slices.Concat(p, o).normal()
}

// Minus gives the ports of p that o does not have.
func (p Ports) Minus(o Ports) Ports {
	if len(o) == 0 {
		return p
	}
	var out Ports
	for _, r := range p {
		first := int(r.First)
		for _, cut := range o {
			if int(cut.Last) < first || cut.First > r.Last {
				continue
			}
			if int(cut.First) > first {
				out = append(out, PortRange{uint16(first), cut.First - 1})
			}
			first = int(cut.Last) + 1
		}
		if first <= int(r.Last) {
			out = append(out, PortRange{uint16(first), r.Last})
		}
	}
	return out
}

// Len counts the ports.
func (p Ports) Len() int {
	n := 0
	for _, r := range p {
		n += int(r.Last) - int(r.First) + 1
	}
	return n
}

// Take gives the n lowest ports, or nil when there are fewer.
func (p Ports) Take(n int) []uint16 {
	if n < 0 || p.Len() < n {
		return nil
	}
	out := make([]uint16, 0, n)
	for _, r := range p {
		for port := int(r.First); port <= int(r.Last) && len(out) < n; port++ {
			out = append(out, uint16(port))
		}
	}
	return out
}

// Contains reports whether every port of o is in p.
func (p Ports) Contains(o Ports) bool { return len(o.Minus(p)) == 0 }

// String gives "[8000-8100,9000-9000]".
func (p Ports) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, r := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d-%d", r.First, r.Last)
	}
	b.WriteByte(']')
	return b.String()
}
