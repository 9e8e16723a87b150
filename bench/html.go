package bench

import (
	_ "embed"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var page string

// labels say what a path is.
var labels = map[string][2]string{
	PathRun:       {"Warm executor", "durable wasm task through the cluster"},
	PathShell:     {"Shell process", "a process per task through the cluster"},
	PathProcess:   {"Wasm process", "start, compile, run, exit; no cluster"},
	PathContainer: {"Container", "a container per task through the cluster"},
}

// HTML writes one page that needs nothing else: a plot of every path's latencies on a logarithmic axis, the table, and how it was measured.
func (r *Report) HTML(w io.Writer) error {
	out := strings.NewReplacer(
		"{{headline}}", html.EscapeString(r.headline()),
		"{{plot}}", r.plot(),
		"{{rows}}", r.rows(),
		"{{machine}}", html.EscapeString(r.Machine.String()),
		"{{command}}", html.EscapeString(r.Command),
		"{{date}}", r.Date.UTC().Format("2 January 2006, 15:04 UTC"),
		"{{version}}", html.EscapeString(r.Version),
	).Replace(page)
	_, err := io.WriteString(w, out)
	return err
}

// headline is the one sentence to remember.
func (r *Report) headline() string {
	var warm, worst *Result
	for i := range r.Results {
		x := &r.Results[i]
		if x.Path == PathRun && x.N > 0 {
			warm = x
		} else if x.N > 0 && (worst == nil || x.P50 > worst.P50) {
			worst = x
		}
	}
	switch {
	case warm != nil && worst != nil && worst.P50 > warm.P50:
		return fmt.Sprintf("A warm task takes %s. %s takes %s: %s times as long.", micros(warm.P50), article(worst.Path), micros(worst.P50), r.slower(*worst))
	case warm != nil:
		return fmt.Sprintf("A warm task takes %s.", micros(warm.P50))
	}
	return "Latency of a task, by the way it is started."
}

func article(path string) string {
	if path == PathRun {
		return "A warm task"
	}
	return "A " + strings.ToLower(labels[path][0])
}

func (r *Report) rows() string {
	var b strings.Builder
	for _, x := range r.Results {
		fmt.Fprintf(&b, "<tr class=%q><th scope=row>%s<small>%s</small></th>", x.Path, labels[x.Path][0], x.Path)
		for _, c := range []string{fmt.Sprint(x.N), rate(x.RPS), micros(x.P50), micros(x.P90), micros(x.P99), micros(x.Max), fmt.Sprint(x.Errors), r.slower(x)} {
			fmt.Fprintf(&b, "<td>%s</td>", c)
		}
		b.WriteString("</tr>\n")
	}
	return b.String()
}

// Sizes of the plot, in its own units.
const (
	plotWidth = 960
	plotLeft  = 210
	plotRight = 96
	laneTop   = 34
	laneStep  = 104
	laneHigh  = 58 // of the tallest hill
)

// axis maps microseconds to x, by their logarithm.
type axis struct{ lo, hi float64 } // powers of ten

func (a axis) x(us float64) float64 {
	return plotLeft + (math.Log10(us)-a.lo)/(a.hi-a.lo)*(plotWidth-plotLeft-plotRight)
}

func (r *Report) axis() axis {
	a := axis{math.Inf(1), math.Inf(-1)}
	for _, x := range r.Results {
		if x.N > 0 {
			a.lo = min(a.lo, math.Log10(max(1, float64(x.hist.Min())/1e3)))
			a.hi = max(a.hi, math.Log10(x.Max))
		}
	}
	if math.IsInf(a.lo, 0) {
		return axis{1, 6}
	}
	a.lo, a.hi = math.Floor(a.lo), math.Ceil(a.hi+1e-9)
	return a
}

// plot draws one hill per path: how often each latency was seen.
func (r *Report) plot() string {
	a := r.axis()
	high := laneTop + laneStep*len(r.Results)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="Latency of each path on a logarithmic axis">`, plotWidth, high+34)
	for d := a.lo; d <= a.hi; d++ {
		x := a.x(math.Pow(10, d))
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="tick" x="%.1f" y="%d">%s</text>`,
			x, x, laneTop-18, high, x, high+20, decade(d))
		for m := 2.0; m < 10 && d < a.hi; m++ {
			x := a.x(m * math.Pow(10, d))
			fmt.Fprintf(&b, `<line class="minor" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x, x, high-4, high)
		}
	}
	for i, res := range r.Results {
		r.lane(&b, a, res, float64(laneTop+laneStep*(i+1)-24))
	}
	b.WriteString("</svg>")
	return b.String()
}

func decade(d float64) string {
	us := math.Pow(10, d)
	switch {
	case d < 3:
		return fmt.Sprintf("%.0f µs", us)
	case d < 6:
		return fmt.Sprintf("%.0f ms", us/1e3)
	}
	return fmt.Sprintf("%.0f s", us/1e6)
}

func (r *Report) lane(b *strings.Builder, a axis, res Result, base float64) {
	label := labels[res.Path]
	fmt.Fprintf(b, `<g class=%q><text class="name" x="0" y="%.1f">%s</text><text class="what" x="0" y="%.1f">%s</text>`,
		res.Path, base-22, label[0], base-5, html.EscapeString(wrapAt(label[1])))
	fmt.Fprintf(b, `<line class="base" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, plotLeft, plotWidth-plotRight, base, base)
	if res.N > 0 {
		fmt.Fprintf(b, `<path class="hill" d="%s"/>`, hill(a, res, base))
		x50, x99 := a.x(res.P50), a.x(res.P99)
		fmt.Fprintf(b, `<line class="span" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x50, x99, base, base)
		fmt.Fprintf(b, `<circle class="p50" cx="%.1f" cy="%.1f" r="5.5"><title>p50 %s</title></circle>`, x50, base, micros(res.P50))
		fmt.Fprintf(b, `<circle class="p99" cx="%.1f" cy="%.1f" r="3.5"><title>p99 %s</title></circle>`, x99, base, micros(res.P99))
		fmt.Fprintf(b, `<text class="value" x="%.1f" y="%.1f">%s</text>`, x50, base+19, micros(res.P50))
		if x99-x50 > 64 {
			fmt.Fprintf(b, `<text class="far" x="%.1f" y="%.1f">p99 %s</text>`, x99, base+19, micros(res.P99))
		}
		if s := r.slower(res); s != "-" {
			fmt.Fprintf(b, `<text class="ratio" x="%d" y="%.1f">×%s</text>`, plotWidth, base-2, s)
		}
	}
	b.WriteString("</g>")
}

// wrapAt keeps a description short enough for the margin.
func wrapAt(s string) string {
	if first, _, ok := strings.Cut(s, " through"); ok {
		return first
	}
	if first, _, ok := strings.Cut(s, ";"); ok {
		return first
	}
	return s
}

// hill is the outline of a path's histogram over 160 equal steps of the axis, smoothed a little.
func hill(a axis, res Result, base float64) string {
	const steps = 160
	var raw [steps + 1]float64
	for _, bar := range res.hist.Distribution() {
		if bar.Count == 0 {
			continue
		}
		at := (math.Log10(max(1, float64(bar.From+bar.To)/2e3)) - a.lo) / (a.hi - a.lo) * steps
		raw[min(max(int(at+0.5), 0), steps)] += float64(bar.Count)
	}
	kernel := [...]float64{0.06, 0.12, 0.19, 0.26, 0.19, 0.12, 0.06}
	var smooth [steps + 1]float64
	top := 0.0
	for i := range smooth {
		for k, weight := range kernel {
			if j := i + k - len(kernel)/2; j >= 0 && j <= steps {
				smooth[i] += raw[j] * weight
			}
		}
		top = max(top, smooth[i])
	}
	var b strings.Builder
	width := float64(plotWidth-plotLeft-plotRight) / steps
	fmt.Fprintf(&b, "M%d %.1f", plotLeft, base)
	for i, v := range smooth {
		fmt.Fprintf(&b, "L%.1f %.1f", plotLeft+float64(i)*width, base-math.Sqrt(v/top)*laneHigh)
	}
	fmt.Fprintf(&b, "L%d %.1fZ", plotWidth-plotRight, base)
	return b.String()
}
