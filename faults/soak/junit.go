package soak

import (
	"encoding/xml"
	"fmt"
	"strings"

	"eostop/faults/verify"
)

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr,omitempty"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr,omitempty"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
	Skipped *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit XML with one test case for each check: the verdict, the threads, the digests of the
// stores, and takeover and recovery of each cut. A check that could not be decided is an error, one that does not apply or
// was not measured is skipped.
func WriteJUnit(path string, r *Report) error {
	text, err := xml.MarshalIndent(junitSuites{Suites: []junitSuite{newJUnitSuite(r)}}, "", "  ")
	if err != nil {
		return fmt.Errorf("junit report: %w", err)
	}
	return writeFile(path, "junit report", []byte(xml.Header+string(text)+"\n"))
}

func newJUnitSuite(r *Report) junitSuite {
	suite := junitSuite{
		Name: "eostop " + r.ApplicationID,
		Properties: []junitProperty{
			{"version", r.Version},
			{"guarantee", r.Guarantee},
			{"profile", r.Profile},
			{"broker", strings.TrimSpace(r.Broker.Kind + " " + r.Broker.Version)},
			{"seed", fmt.Sprint(r.Seed)},
		},
		Cases: []junitCase{verdictCase(r), threadsCase(r), digestsCase(r)},
	}
	if r.DurationMS != nil {
		suite.Time = junitTime(*r.DurationMS)
	}
	for i, c := range r.Cuts {
		suite.Cases = append(suite.Cases, takeoverCase(i, c), recoveryCase(r, i, c))
	}
	suite.count("eostop." + r.ApplicationID)
	return suite
}

// count counts the cases, and names their class.
func (suite *junitSuite) count(class string) {
	for i := range suite.Cases {
		c := &suite.Cases[i]
		c.Class = class
		suite.Tests++
		switch {
		case c.Failure != nil:
			suite.Failures++
		case c.Error != nil:
			suite.Errors++
		case c.Skipped != nil:
			suite.Skipped++
		}
	}
}

// line is the witness in one line.
func (w *ReportWitness) line() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", w.Kind, w.Input, strings.Join(w.Outputs, " "), w.Detail))
}

func verdictCase(r *Report) junitCase {
	c := junitCase{Name: "verdict"}
	details := &junitMessage{Message: "verdict " + string(r.Verdict)}
	if r.Verdict == "" {
		details.Message = "not verified"
	}
	if len(r.Reasons) > 0 {
		details.Message += ": " + r.Reasons[0]
	}
	lines := append([]string{}, r.Reasons...)
	for _, w := range r.Witnesses {
		lines = append(lines, w.line())
	}
	details.Text = strings.Join(lines, "\n")
	switch {
	case r.Verdict == verify.Clean:
	case r.Verdict == verify.Unknown, r.undecided:
		c.Error = details
	case r.Verdict == verify.Violation, len(r.Reasons) > 0:
		c.Failure = details
	default:
		c.Skipped = &junitMessage{Message: "the run had no verifier"}
	}
	return c
}

// threadsCase fails for deaths of errors that should have been survived, which is what the exit code goes by, and for
// threads that are missing at the end.
func threadsCase(r *Report) junitCase {
	c := junitCase{Name: fmt.Sprintf("%d threads alive", r.Threads.Total)}
	var lines []string
	bad := r.Threads.Alive < r.Threads.Total
	for _, d := range r.Threads.Died {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s died of %s: %s", d.Thread, d.Cause, d.Error)))
		bad = bad || d.Survivable
	}
	if bad {
		c.Failure = &junitMessage{
			Message: fmt.Sprintf("%d of %d threads alive, %d died", r.Threads.Alive, r.Threads.Total, len(r.Threads.Died)),
			Text:    strings.Join(lines, "\n"),
		}
	}
	return c
}

func digestsCase(r *Report) junitCase {
	c := junitCase{Name: "store digests"}
	switch {
	case r.State.DigestChecked == nil || *r.State.DigestChecked == 0:
		c.Skipped = &junitMessage{Message: "no digest was checked"}
	case *r.State.DigestMismatch > 0:
		c.Failure = &junitMessage{Message: fmt.Sprintf("%d of %d digests differ", *r.State.DigestMismatch, *r.State.DigestChecked)}
	}
	return c
}

func takeoverCase(i int, cut ReportCut) junitCase {
	c := junitCase{Name: fmt.Sprintf("cut %d: takeover of %s", i+1, cut.Instance)}
	switch {
	case cut.TakeoverMS != nil:
		c.Time = junitTime(*cut.TakeoverMS)
	case !cut.Expelled:
		c.Skipped = &junitMessage{Message: "nobody was expelled"}
	default:
		c.Skipped = &junitMessage{Message: "expelled, but not all tasks were seen to commit elsewhere"}
	}
	return c
}

func recoveryCase(r *Report, i int, cut ReportCut) junitCase {
	c := junitCase{Name: fmt.Sprintf("cut %d: recovery of %s", i+1, cut.Instance)}
	switch {
	case cut.RecoveredMS != nil:
		c.Time = junitTime(*cut.RecoveredMS)
	case cut.LengthMS == nil:
		c.Skipped = &junitMessage{Message: "the cut lasted until the end"}
	case !cut.overdue(r):
		c.Skipped = &junitMessage{Message: "the run ended before it had recovered"}
	default:
		c.Failure = &junitMessage{Message: "not recovered at the end of the run"}
	}
	return c
}

// overdue says whether the run went on for so long after the heal that the instance should have recovered.
func (c ReportCut) overdue(r *Report) bool {
	const enough = 15_000 // the default session time-out and five seconds
	return r.DurationMS != nil && c.StartMS != nil && c.LengthMS != nil && *r.DurationMS >= *c.StartMS+*c.LengthMS+enough
}

// junitTime is in seconds, as JUnit wants it.
func junitTime(ms int64) string { return fmt.Sprintf("%.3f", float64(ms)/1000) }
