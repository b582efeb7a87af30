package ui

import (
	"fmt"
	"io"
	"strings"
	"time"

	"eostop/faults/soak"
)

// Summary writes what came out of a session as a few lines of plain text, for the time after the dashboard. exported
// are the session logs that were written. It writes nothing for a nil snapshot.
func Summary(w io.Writer, s *soak.Snapshot, exported []string) error {
	if s == nil {
		return nil
	}
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name, clean(fmt.Sprintf(format, args...)))
	}
	v := &s.Verify
	verdict := string(v.Verdict)
	if verdict == "" {
		verdict = "not verified"
	}
	line("verdict", "%s", verdict)
	for _, reason := range v.Reasons {
		line("", "%s", reason)
	}
	if f := s.Found; f != nil {
		line("found", "after %s in %s: %s", plural(int(f.Records), "record"), clock(time.Duration(f.AtMS)*time.Millisecond), f.By)
	}
	records := count(s.In) + " in, " + count(s.Processed) + " processed"
	if v.Verdict != "" { // The rest is what the verifier saw.
		records += fmt.Sprintf(", %s out, %s duplicated, %s lost, %s out of order", count(v.Out), count(v.Duplicated), count(v.Lost), count(v.OutOfOrder))
	}
	line("records", "%s", records)
	line("time", "%s, at most %s", clock(s.Elapsed), perSecond(s.MaxRate))
	if v.Latency.Max > 0 {
		line("latency", "p50 %s, p99 %s, max %s", span(v.Latency.P50), span(v.Latency.P99), span(v.Latency.Max))
	}
	line("threads", "%d of %d alive, %d died, %d replaced", s.ThreadsAlive, s.ThreadsTotal, s.ThreadsDied, s.ThreadsReplaced)
	t := s.Transactions
	line("transactions", "%s committed, %s aborted, %s fenced, %s of unknown outcome", count(t.Committed), count(t.Aborted), count(t.Fenced), count(t.UnknownOutcome))
	if v.DigestChecked > 0 {
		line("state", "%s compared with changelog and model, %s differ", plural(int(v.DigestChecked), "store"), count(v.DigestMismatch))
	}
	cuts := []string{cutsWords(s.Cuts)}
	if len(s.Cuts) <= mostCuts {
		cuts = nil
		for i := range s.Cuts {
			cuts = append(cuts, cutWords(&s.Cuts[i], s.At))
		}
	}
	for i, words := range cuts {
		line([]string{"cuts", ""}[min(i, 1)], "%s", words)
	}
	if len(s.Cuts) > 1 {
		for i, words := range recoveryWords(s.Cuts) {
			line([]string{"recovery", ""}[min(i, 1)], "%s", words)
		}
	}
	for _, path := range exported {
		line("session log", "%s", path)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// SummaryOfSimulation adds how long a session on virtual time took.
func SummaryOfSimulation(w io.Writer, simulated, took time.Duration) error {
	_, err := fmt.Fprintf(w, "%-13s %s in %s, %s times as fast\n", "simulated", span(simulated), span(took), count(int64(simulated.Seconds()/max(1e-3, took.Seconds()))))
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// mostCuts is how many cuts are told one by one: those of a day, one an hour.
const mostCuts = 24

// cutsWords tells many cuts in one line.
func cutsWords(cuts []soak.Cut) string {
	expelled := 0
	for i := range cuts {
		if cuts[i].Expelled {
			expelled++
		}
	}
	return count(len(cuts)) + ", " + count(expelled) + " expelled"
}

// recoveryWords tells how long each step of recovery took, a line for each.
func recoveryWords(cuts []soak.Cut) []string {
	var lines []string
	for _, step := range soak.RecoverySteps() {
		times := step.Times(cuts)
		if len(times) == 0 {
			continue
		}
		from := "the cut"
		if step.AfterHeal {
			from = "the heal"
		}
		lines = append(lines, fmt.Sprintf("%-10s p50 %s, p90 %s, max %s after %s", step.Name,
			span(soak.Percentile(times, 50)), span(soak.Percentile(times, 90)), span(times[len(times)-1]), from))
	}
	return lines
}

// cutWords tells a cut in one line.
func cutWords(c *soak.Cut, now time.Time) string {
	text := c.Instance + " " + c.Direction + " at " + c.Start.Format(time.TimeOnly)
	if c.Healed.IsZero() {
		text += ", not healed after " + span(now.Sub(c.Start))
	} else {
		text += " for " + span(c.Healed.Sub(c.Start))
	}
	if c.Expelled {
		text += ", expelled"
	}
	if c.Takeover >= 0 {
		text += ", taken over in " + span(c.Takeover)
	}
	if c.Recovered >= 0 {
		text += ", recovered in " + span(c.Recovered)
	}
	return text + ", " + count(c.RestoredRecords) + " records restored, " + count(c.ReplayedRecords) + " replayed, " + count(c.AbortedTransactions) + " aborted"
}
