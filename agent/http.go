package agent

import (
	"net/http"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/saki-run/saki/agent/logs"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire/link"
)

// Handler is the agent's HTTP API: the output of attempts, /healthz, /readyz and /metrics.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(logs.Pattern, logs.Handler(a.findOutput))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.reports.isUp() {
			http.Error(w, "no stream to a master", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

// endedOutside is the outcome of an attempt that this process did not see the end of; its files are all there is.
var endedOutside api.Outcome

// closed is the ended channel of such an attempt.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// findOutput tells where an attempt's output is: in its folder, as long as that exists.
func (a *Agent) findOutput(id api.TaskID, n uint32) (logs.Attempt, bool) {
	a.mu.Lock()
	at := link.Attempt{Task: id, Number: n}
	x, o := a.live[at], a.table.Outcome(at)
	a.mu.Unlock()
	if x != nil {
		return logs.Attempt{Dir: x.dir, Ended: x.ended, Outcome: x.outcome}, true
	}
	if o != nil && o.Inline { // it has ended, and the masters do not know yet
		return logs.Attempt{Ended: closed, Outcome: func() *api.Outcome { return o }}, true
	}
	if api.CheckName("task", string(id)) != nil { // it becomes part of a path
		return logs.Attempt{}, false
	}
	dirs, err := filepath.Glob(a.cfg.Home.AttemptDir("*", id, n))
	if err != nil || len(dirs) != 1 {
		return logs.Attempt{}, false
	}
	return logs.Attempt{Dir: dirs[0], Ended: closed, Outcome: func() *api.Outcome { return &endedOutside }}, true
}

// metrics is what Prometheus is told.
type metrics struct {
	registry  *prometheus.Registry
	attempts  *prometheus.CounterVec
	connected prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saki_agent_attempts_total", Help: "Attempts that have ended, by kind of task and state.",
		}, []string{"kind", "state"}),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "saki_agent_connected", Help: "1 while the agent has a stream to the leading master.",
		}),
	}
	m.registry.MustRegister(m.attempts, m.connected, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) ended(k api.Kind, o *api.Outcome) {
	m.attempts.WithLabelValues(string(k), string(o.State)).Inc()
}
