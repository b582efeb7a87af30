package metrics

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape serves registries as a program would, and returns what a scraper reads. That it can be served and read is checked: two
// series with the same labels, or two helps for a name, would fail it.
func scrape(t *testing.T, registries ...*Registry) scraped {
	t.Helper()
	all := prometheus.NewPedanticRegistry()
	for _, r := range registries {
		all.MustRegister(r)
	}
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(all, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != 200 {
		t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(answer.Body.Bytes()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, answer.Body)
	}
	for name, f := range families {
		if f.GetHelp() == "" || f.GetType() == dto.MetricType_UNTYPED {
			t.Errorf("%s: help %q, type %s", name, f.GetHelp(), f.GetType())
		}
	}
	return scraped{t, families}
}

type scraped struct {
	t        *testing.T
	families map[string]*dto.MetricFamily
}

// find returns the metrics of a family whose labels contain all of the given ones: name, value, name, value, ..
func (s scraped) find(name string, labels ...string) []*dto.Metric {
	var found []*dto.Metric
	for _, m := range s.families[name].GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		matches := true
		for i := 0; i < len(labels); i += 2 {
			matches = matches && has[labels[i]] == labels[i+1]
		}
		if matches {
			found = append(found, m)
		}
	}
	return found
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	default:
		return m.Histogram.GetSampleSum()
	}
}

// is checks the value of the one metric of that name with those labels.
func (s scraped) is(name string, want float64, labels ...string) {
	s.t.Helper()
	found := s.find(name, labels...)
	if len(found) != 1 {
		s.t.Errorf("%d metrics %s %v, want one", len(found), name, labels)
		return
	}
	if got := value(found[0]); got < want-1e-9 || got > want+1e-9 {
		s.t.Errorf("%s %v = %v, want %v", name, labels, got, want)
	}
}

// absent checks that there is no metric of that name with those labels.
func (s scraped) absent(name string, labels ...string) {
	s.t.Helper()
	if found := s.find(name, labels...); len(found) > 0 {
		s.t.Errorf("%s %v = %v, want none", name, labels, found)
	}
}

// with returns the names of all families with a metric that has the label.
func (s scraped) with(label, value string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.families)) {
		if len(s.find(name, label, value)) > 0 {
			names = append(names, name)
		}
	}
	return names
}

const (
	threadPrefix = "kafka_streams_stream_thread_metrics_"
	taskPrefix   = "kafka_streams_stream_task_metrics_"
	storePrefix  = "kafka_streams_stream_state_metrics_"
)

// named counts how many of the names have the prefix.
func named(names []string, prefix string) int {
	n := 0
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}
