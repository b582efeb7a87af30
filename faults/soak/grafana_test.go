package soak

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"eostop/runtime/metrics"

	"github.com/prometheus/client_golang/prometheus/collectors"
)

// dashboard is what the tests read of deploy/grafana/eostop.json.
type dashboard struct {
	Title         string  `json:"title"`
	UID           string  `json:"uid"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []struct {
			Name       string     `json:"name"`
			Type       string     `json:"type"`
			Definition string     `json:"definition"`
			Datasource datasource `json:"datasource"`
		} `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int } `json:"gridPos"`
	Targets     []struct {
		RefID      string     `json:"refId"`
		Expr       string     `json:"expr"`
		Datasource datasource `json:"datasource"`
	} `json:"targets"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/eostop.json")
	if err != nil {
		t.Fatal(err)
	}
	d := &dashboard{}
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries returns every query of the dashboard by where it is.
func (d *dashboard) queries() map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all[p.Title+" "+target.RefID] = target.Expr
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			all["variable "+v.Name] = v.Definition
		}
	}
	for i, a := range d.Annotations.List {
		if a.Expr != "" {
			all[fmt.Sprint("annotation ", i)] = a.Expr
		}
	}
	return all
}

// allMetrics returns the labels of every metric that a session can export, by name. That the registries export what Families
// says is tested there.
func allMetrics(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, f := range metrics.Families() {
		names := []string{f.Name}
		if f.Type == "histogram" {
			names = []string{f.Name + "_sum", f.Name + "_count", f.Name + "_bucket"}
		}
		for _, name := range names {
			all[name] = f.Labels
		}
	}
	process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	_, text := get(t, metricsHandler(busy, discarded(), showing{busy}, collectors.NewGoCollector(), process), "/metrics")
	for name, f := range parse(t, text) {
		if all[name] != nil {
			t.Errorf("%s comes from two places", name)
		}
		labels := []string{"instance", "job"} // which Prometheus adds
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		all[name] = labels
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(?:kafka|eostop|go|process)_[a-z0-9_]+`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping   = regexp.MustCompile(`\bby\s*\(([a-z_, ]*)\)`)
	variable   = regexp.MustCompile(`\$([a-zA-Z_]+)`)
)

func TestDashboardShowsWhatIsExported(t *testing.T) {
	d := readDashboard(t)
	known := allMetrics(t)
	shown := map[string]bool{}
	for place, query := range d.queries() {
		names := metricName.FindAllString(query, -1)
		if len(names) == 0 {
			t.Errorf("%s: no metric in %s", place, query)
		}
		var labels []string
		for _, name := range names {
			if known[name] == nil {
				t.Errorf("%s: %s is not exported", place, name)
			}
			labels = append(labels, known[name]...)
			shown[name] = true
		}
		// Grafana asks for names by a label, too, and label_replace makes labels of its own.
		labels = append(labels, "__name__", "subtopology")
		used := matcher.FindAllStringSubmatch(query, -1)
		for _, by := range grouping.FindAllStringSubmatch(query, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				used = append(used, []string{"", strings.TrimSpace(label)})
			}
		}
		for _, label := range used {
			if !slices.Contains(labels, label[1]) {
				t.Errorf("%s: no metric in %s has the label %s", place, query, label[1])
			}
		}
		if n := strings.Count(query, "("); n != strings.Count(query, ")") || strings.Count(query, "{") != strings.Count(query, "}") {
			t.Errorf("%s: brackets of %s", place, query)
		}
	}
	for _, name := range []string{ // What the dashboard is for.
		"kafka_streams_stream_metrics_alive_stream_threads", "kafka_streams_stream_metrics_failed_stream_threads",
		"kafka_streams_stream_metrics_client_state", "kafka_streams_stream_thread_metrics_thread_state",
		"kafka_streams_stream_thread_metrics_process_rate", "kafka_streams_stream_thread_metrics_commit_rate",
		"kafka_streams_stream_thread_metrics_commit_latency_avg", "kafka_streams_stream_thread_metrics_commit_latency_max",
		"kafka_streams_stream_task_metrics_restore_remaining_records_total",
		"kafka_streams_stream_thread_metrics_task_created_total", "kafka_streams_stream_thread_metrics_task_closed_total",
		"eostop_migrations_total", "eostop_corruptions_total", "eostop_fenced_producers_total", "eostop_transactions_total",
		"eostop_thread_deaths_total", "eostop_task_lag_records", "eostop_store_entries", "eostop_store_bytes", "eostop_verify_verdict",
	} {
		if !shown[name] {
			t.Errorf("%s is not shown", name)
		}
	}
}

func TestDashboardIsWellMade(t *testing.T) {
	d := readDashboard(t)
	if d.Title == "" || d.UID != "eostop" || d.SchemaVersion < 41 {
		t.Errorf("title %q, uid %q, schema %d", d.Title, d.UID, d.SchemaVersion)
	}
	variables := map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	if want := []string{"__rate_interval", "datasource", "instance", "thread"}; !slices.Equal(slices.Sorted(maps.Keys(variables)), want) {
		t.Errorf("variables %v, want %v", variables, want)
	}
	for place, query := range d.queries() {
		// What label_replace puts in is no variable: it is a number.
		for _, name := range variable.FindAllStringSubmatch(query, -1) {
			if !variables[name[1]] {
				t.Errorf("%s: there is no variable %s", place, name[1])
			}
		}
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.GridPos.H == 0 {
			t.Errorf("%s: %+v", p.Title, p.GridPos)
		}
		if p.Type == "row" {
			continue
		}
		source := datasource{"prometheus", "${datasource}"}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.Datasource != source {
				t.Errorf("%s: target %s of %v", p.Title, target.RefID, target.Datasource)
			}
			refs[target.RefID] = true
		}
		if len(p.Targets) == 0 || p.Datasource != source || !strings.HasSuffix(p.Description, ".") {
			t.Errorf("%s: %d targets of %v, description %q", p.Title, len(p.Targets), p.Datasource, p.Description)
		}
	}
}

// TestEverythingHasHelp looks at what a session and instances that have done everything export.
func TestEverythingHasHelp(t *testing.T) {
	r := metrics.New(metrics.Config{ClientID: "i1", Level: metrics.Trace})
	thread := r.Thread("i1-StreamThread-1")
	thread.Migrated("fenced")
	thread.Task("0_1").Store(metrics.KeyValueStore, "rocksdb", "counts").Put.Record(1)
	code, text := get(t, metricsHandler(busy, discarded(), showing{busy}, r), "/metrics")
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	all := parse(t, text) // which checks the help
	if got := all.values("eostop_migrations_total")["fenced i1 i1-StreamThread-1"]; got != 1 {
		t.Errorf("%v migrations", got)
	}
	for _, f := range metrics.Families() {
		if f.Help == "" {
			t.Errorf("%s has no help", f.Name)
		}
	}
}
