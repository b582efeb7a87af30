package ui

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eostop/faults/soak"
)

// matrixTitles are the headings of the tables of a comparison, by their numbers.
var matrixTitles = []string{
	"One fault each, as a script",
	"The soak of KAFKA-9231: about once an hour one of three instances is cut off for up to 5 minutes",
	"Transactions that time out (KAFKA-20785): cuts, stalls and late answers, on the transaction protocol of Kafka 4",
}

// MatrixProgress tells of a cell that has ended.
func MatrixProgress(w io.Writer, r *soak.CellResult) {
	fmt.Fprintf(w, "%-14s %-16s %s\n", r.Profile, r.Guarantee, clean(died(r)))
}

// MatrixText writes the tables of a comparison, and what was seen of each cause.
func MatrixText(w io.Writer, m *soak.Matrix) error {
	var b strings.Builder
	table := -1
	for _, r := range m.Cells {
		if r.Table != table {
			table = r.Table
			fmt.Fprintf(&b, "\n%s\n\n%-15s %-17s %5s %7s %5s  %-8s %-60s %s\n", matrixTitles[table],
				"profile", "guarantee", "hours", "threads", "cuts", "verdict", "died of", "as stated")
		}
		as := "yes"
		if !r.AsStated {
			as = "NO, wanted " + wanted(r)
		}
		verdict := string(r.Verdict)
		if verdict == "" {
			verdict = "-"
		}
		fmt.Fprintf(&b, "%-15s %-17s %5s %7d %5d  %-8s %-60s %s\n", r.Profile, r.Guarantee,
			strconv.FormatFloat(r.Hours*float64(len(r.Seeds)), 'g', 3, 64), r.Threads, r.Cuts, verdict, died(r), as)
		if r.Note != "" {
			fmt.Fprintf(&b, "%-15s note: %s\n", "", r.Note)
		}
		if !r.AsStated {
			for _, reason := range r.Reasons {
				fmt.Fprintf(&b, "%-15s %s\n", "", clean(reason))
			}
		}
	}
	b.WriteString("\nWhat the threads died of\n")
	for _, r := range m.Cells {
		for _, cause := range slices.Sorted(maps.Keys(r.First)) {
			first := r.First[cause]
			fmt.Fprintf(&b, "\n%s, %s: %s\n  %s at %s of the simulation's day\n", r.Profile, r.Guarantee, cause, first.Thread, first.At.UTC().Format(time.TimeOnly))
			// In the words of 2019 the error is among what the thread said.
			if !strings.Contains(strings.Join(first.Log, "\n"), first.Error) {
				fmt.Fprintf(&b, "    %s\n", clean(first.Error))
			}
			for _, line := range first.Log {
				fmt.Fprintf(&b, "    %s\n", clean(line))
			}
		}
		if len(r.First) > 0 || !r.AsStated {
			fmt.Fprintf(&b, "  repeat  %s --seed %d\n", r.Repeat, r.Seeds[0])
		}
	}
	fmt.Fprintf(&b, "\n%s\n", injected(m))
	as := "as stated"
	if !m.AsStated {
		as = "NOT as stated"
	}
	fmt.Fprintf(&b, "%s, seed %d, in %s\n", as, m.Seed, span(time.Duration(m.RealMS)*time.Millisecond))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write matrix: %w", err)
	}
	return nil
}

// died says how many threads died of what.
func died(r *soak.CellResult) string {
	if len(r.Died) == 0 {
		return "none"
	}
	var parts []string
	for _, cause := range slices.Sorted(maps.Keys(r.Died)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Died[cause], cause))
	}
	return strings.Join(parts, ", ")
}

func wanted(r *soak.CellResult) string {
	if len(r.Wanted) == 0 {
		return "none dead, and clean"
	}
	parts := make([]string, len(r.Wanted))
	for i, cause := range r.Wanted {
		parts[i] = string(cause)
	}
	return strings.Join(parts, ", ")
}

// injected says what was done besides cuts and stalls, and how often it met somebody.
func injected(m *soak.Matrix) string {
	total := map[string]int64{}
	for _, r := range m.Cells {
		for kind, n := range r.Injected {
			total[kind] += n
		}
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(total)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, total[kind]))
	}
	return soak.Injected2019 + "\nHits of all faults: " + strings.Join(parts, ", ")
}
