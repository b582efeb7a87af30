package ui

import (
	"strconv"
	"time"

	"eostop/faults/soak"
)

// cutRow is a cut of the past or the present; the next planned one stands in the title.
type cutRow struct {
	number int
	cut    *soak.Cut
}

func newCuts() *table[cutRow] {
	type row = cutRow
	return &table[row]{
		name: "cuts", sort: -1,
		empty: "no cut yet: p cuts the selected instance off from the brokers",
		rows: func(v *view, into []row) []row {
			for i := len(v.snap.Cuts) - 1; i >= 0; i-- { // Newest first: it is the one that moves.
				into = append(into, row{i + 1, &v.snap.Cuts[i]})
			}
			return into
		},
		size: func(v *view) string {
			text := strconv.Itoa(len(v.snap.Cuts))
			if next := nextCut(v.snap); next != "" {
				text += ", next " + next
			}
			return text
		},
		id:     func(r *row) string { return strconv.Itoa(r.number) },
		owner:  func(r *row) string { return r.cut.Instance },
		detail: explainCut,
		columns: []column[row]{
			{title: "#", min: 3, max: 4, right: true, drop: 5, cell: func(v *view, r *row, _ int) (string, sgr) {
				return strconv.Itoa(r.number), v.styles.dim
			}},
			{title: "INSTANCE", min: 8, max: 10, order: by(func(r *row) string { return r.cut.Instance }), cell: func(v *view, r *row, _ int) (string, sgr) {
				if r.cut.Healed.IsZero() {
					return r.cut.Instance + " " + v.glyphs.cut, v.styles.bad
				}
				return r.cut.Instance, sgr{}
			}},
			{title: "DIR", min: 4, max: 4, drop: 1, cell: func(_ *view, r *row, _ int) (string, sgr) { return r.cut.Direction, sgr{} }},
			{title: "START", min: 8, max: 8, drop: 2, order: byTime(func(r *row) time.Time { return r.cut.Start }), cell: func(_ *view, r *row, _ int) (string, sgr) {
				return r.cut.Start.Format(time.TimeOnly), sgr{}
			}},
			{title: "LENGTH", min: 7, max: 7, right: true, cell: func(v *view, r *row, _ int) (string, sgr) {
				if r.cut.Healed.IsZero() {
					return tick(v.now().Sub(r.cut.Start)), v.styles.bad
				}
				return span(r.cut.Healed.Sub(r.cut.Start)), sgr{}
			}},
			{title: "EXPELLED", min: 8, max: 8, drop: 3, cell: func(v *view, r *row, _ int) (string, sgr) {
				if r.cut.Expelled {
					return "yes", sgr{}
				}
				return "no", v.styles.dim
			}},
			{title: "TAKEOVER", min: 8, max: 8, right: true, order: by(func(r *row) time.Duration { return r.cut.Takeover }), cell: func(v *view, r *row, _ int) (string, sgr) {
				return v.measured(r.cut.Takeover, r.cut.Expelled && r.cut.Healed.IsZero())
			}},
			{title: "RECOVERED", min: 9, max: 9, right: true, order: by(func(r *row) time.Duration { return r.cut.Recovered }), cell: func(v *view, r *row, _ int) (string, sgr) {
				return v.measured(r.cut.Recovered, !r.cut.Healed.IsZero())
			}},
			{title: "RESTORED", min: 8, max: 9, right: true, drop: 4, order: by(func(r *row) int64 { return r.cut.RestoredRecords }), cell: func(_ *view, r *row, width int) (string, sgr) {
				return fitCount(r.cut.RestoredRecords, width), sgr{}
			}},
			{title: "ABORTED", min: 7, max: 7, right: true, drop: 2, order: by(func(r *row) int64 { return r.cut.AbortedTransactions }), cell: func(_ *view, r *row, width int) (string, sgr) {
				return fitCount(r.cut.AbortedTransactions, width), sgr{}
			}},
		},
	}
}

// measured shows a duration, or that it is being waited for.
func (v *view) measured(d time.Duration, due bool) (string, sgr) {
	switch {
	case d >= 0:
		return span(d), sgr{}
	case due:
		return "waiting", v.styles.warn
	}
	return none, v.styles.dim
}

// nextCut words the next planned cut; empty when there is none.
func nextCut(s *soak.Snapshot) string {
	if s.NextCut == nil {
		return ""
	}
	n := s.NextCut
	text := n.Instance + " " + n.Direction + " in " + span(n.In.Truncate(time.Second))
	if n.Length > 0 {
		text += " for " + span(n.Length)
	}
	return text
}
