package ui

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"eostop/faults/soak"
)

// VerifyProgress tells how the reading of an application's topics gets on: one line that is rewritten on a terminal, else a line each
// five seconds.
type VerifyProgress struct {
	w     io.Writer
	tty   bool
	began time.Time
	next  time.Time
	told  bool
}

// NewVerifyProgress returns a progress that has not written anything yet.
func NewVerifyProgress(w io.Writer, tty bool) *VerifyProgress {
	p := &VerifyProgress{w: w, tty: tty, began: time.Now()}
	if p.next = p.began; !tty {
		p.next = p.began.Add(progressPlain)
	}
	return p
}

// Tell says how many offsets have been read of how many. Progress that cannot be written is left out.
func (p *VerifyProgress) Tell(read, total int64) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next, p.told = now.Add(progressPlain), true
	if p.tty {
		p.next = now.Add(progressTTY)
	}
	rate := float64(read) / max(1e-3, now.Sub(p.began).Seconds())
	text := clock(now.Sub(p.began)) + "  read " + count(read) + " of " + count(total) + " offsets, " + perSecond(rate)
	if p.tty {
		text = progressBar(float64(read)/float64(max(1, total)), 8) + " " + text
	}
	_ = writeProgress(p.w, p.tty, text)
}

// Close ends the line of a terminal.
func (p *VerifyProgress) Close() {
	if p.tty && p.told {
		fmt.Fprintln(p.w)
	}
}

// mostWitnesses is how many witnesses of a kind are printed; the report holds more.
const mostWitnesses = 5

// VerifyText writes what came out of a verification: the verdict, the witnesses, and which rules were applied to what.
func VerifyText(w io.Writer, r *soak.VerifyReport) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name, clean(fmt.Sprintf(format, args...)))
	}
	line("verdict", "%s", r.Verdict)
	for _, reason := range r.Reasons {
		line("", "%s", reason)
	}
	records := []string{count(r.Records.In) + " in"}
	also := func(n *int64, what string) {
		if n != nil {
			records = append(records, count(*n)+" "+what)
		}
	}
	also(r.Records.Processed, "processed")
	also(&r.Records.Out, "out")
	also(r.Records.Duplicated, "duplicated")
	also(r.Records.Lost, "lost")
	also(r.Records.OutOfOrder, "out of order")
	line("records", "%s", strings.Join(records, ", "))
	if n := r.State.DigestChecked; n != nil {
		line("state", "%s compared with the model, %s differ", plural(int(*n), "changelog partition"), count(*r.State.DigestMismatch))
	}
	t := &r.Topics
	line("topics", "%s, %s, %s, %s; cluster %s", plural(len(t.Inputs), "input"), plural(len(t.Outputs), "output"),
		plural(len(t.Repartitions), "repartition topic"), plural(len(t.Changelogs), "changelog"), r.ClusterID)
	printed := map[string]int{}
	for i := range r.Witnesses {
		wit := &r.Witnesses[i]
		if printed[wit.Kind]++; printed[wit.Kind] > mostWitnesses {
			continue
		}
		line("witness", "%s", witnessWords(wit))
	}
	for _, kind := range slices.Sorted(maps.Keys(printed)) {
		if n := printed[kind] - mostWitnesses; n > 0 {
			line("", "%s: %d more, see --report", kind, n)
		}
	}
	for _, applied := range []bool{true, false} {
		name := map[bool]string{true: "applied", false: "not applied"}[applied]
		for _, rule := range r.Rules {
			if rule.Applied == applied {
				line(name, "%s: %s", rule.Name, rule.Detail)
				name = ""
			}
		}
	}
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write verdict: %w", err)
	}
	return nil
}

// witnessWords tells a witness in one line.
func witnessWords(w *soak.ReportWitness) string {
	text := w.Kind
	if w.Input != "" {
		text += "  input " + w.Input
	}
	if len(w.Outputs) > 0 {
		text += "  output " + strings.Join(w.Outputs, " ")
	}
	if w.Transaction != "" {
		text += "  " + w.Transaction
	}
	if w.Detail != "" {
		text += ": " + w.Detail
	}
	return text
}
