package httpapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
)

// metrics is what Prometheus is told of the API and the state.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	tasks    *prometheus.GaugeVec
	nodes    *prometheus.GaugeVec
	memos    prometheus.Gauge
	leading  prometheus.Gauge
	index    prometheus.Gauge
}

func newMetrics(r *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saki_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "saki_http_request_seconds", Help: "Time from request to answer, by route; waiting is part of it.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
		}, []string{"route"}),
		tasks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "saki_tasks", Help: "Tasks that are remembered, by state.",
		}, []string{"state"}),
		nodes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "saki_nodes", Help: "Nodes, by state.",
		}, []string{"state"}),
		memos:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "saki_memos", Help: "Results of memo tasks that are remembered."}),
		leading: prometheus.NewGauge(prometheus.GaugeOpts{Name: "saki_leading", Help: "1 while this master leads."}),
		index:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "saki_applied_index", Help: "Index of the last log entry that is part of the state."}),
	}
	r.MustRegister(m.requests, m.seconds, m.tasks, m.nodes, m.memos, m.leading, m.index)
	return m
}

func (m *metrics) served(rt route, code int, took time.Duration) {
	name := rt.method + " " + rt.path
	m.requests.WithLabelValues(name, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(name).Observe(took.Seconds())
}

// observe sets the gauges to the state as it is now.
func (m *metrics) observe(v core.View, leading bool) {
	for _, s := range []api.State{api.Pending, api.Placed, api.Running, api.Finished, api.Failed, api.Killed, api.Lost} {
		m.tasks.WithLabelValues(string(s)).Set(float64(v.Count(s)))
	}
	nodes := map[api.NodeState]int{}
	for n := range v.Nodes() {
		nodes[n.State]++
	}
	for _, s := range []api.NodeState{api.NodeReady, api.NodeDraining, api.NodeAway, api.NodeLost} {
		m.nodes.WithLabelValues(string(s)).Set(float64(nodes[s]))
	}
	m.memos.Set(float64(v.MemoCount()))
	m.index.Set(float64(v.Index()))
	m.leading.Set(0)
	if leading {
		m.leading.Set(1)
	}
}
