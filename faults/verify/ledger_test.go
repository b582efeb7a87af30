package verify

import (
	"slices"
	"strings"
	"testing"
)

// TestLedger follows numbers with a ledger: what is applied, proved and shown, and what is found.
func TestLedger(t *testing.T) {
	tests := map[string]struct {
		ledger ledger
		steps  []int64 // > 0: shown; 0: what is missing so far; < 0: applied, and proved at once if odd
		want   []string
	}{
		"in order":        {ledger{every: 1}, []int64{-2, -2, 2, 4, 0}, nil},
		"skipped":         {ledger{every: 1}, []int64{-2, -2, 4, 0}, nil},
		"too much":        {ledger{every: 1}, []int64{-2, 3}, []string{"count 3, but there are only 2"}},
		"too much, once":  {ledger{every: 1}, []int64{-2, 3, 4, 5}, []string{"count 3, but there are only 2"}},
		"too little":      {ledger{every: 1}, []int64{-3, 2}, []string{"count 2, want at least 3"}},
		"backward":        {ledger{every: 1}, []int64{-4, 4, 2}, []string{"count 2 after 4"}},
		"again":           {ledger{every: 1}, []int64{-4, 2, 2}, []string{"count 2 once more"}},
		"a maximum again": {ledger{every: 1, most: true}, []int64{-4, 4, 4, 0}, nil},
		"missing":         {ledger{every: 1}, []int64{-3, 0}, []string{"the last count is 0, want at least 3"}},
		"missing, once":   {ledger{every: 1}, []int64{-3, 0, -3, 0}, []string{"the last count is 0, want at least 3"}},
		"step":            {ledger{every: 1, step: 1}, []int64{-2, -2, 1, 2, 4}, []string{"count 4, want 3"}},
		"filtered":        {ledger{every: 10}, []int64{-20, 10, 0, 20}, nil},
		"not filtered":    {ledger{every: 10}, []int64{-20, 12}, []string{"count 12 should not have been written: 10 does not divide it"}},
		"nothing to show": {ledger{every: 10}, []int64{-13, 0}, nil},
		"loose":           {ledger{every: 1, loose: true}, []int64{7, 9, 8}, []string{"count 8 after 9"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l, got := tt.ledger, []string(nil)
			l.what = "count"
			note := func(wrong string) {
				if wrong != "" {
					got = append(got, wrong)
				}
			}
			for _, n := range tt.steps {
				switch {
				case n > 0:
					note(l.check(n).Wrong)
				case n == 0:
					note(l.short())
				default:
					l.apply(-n)
					if n%2 != 0 {
						l.prove(-n)
					}
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLedgerFinal(t *testing.T) {
	for _, tt := range []struct {
		l    ledger
		want string
	}{
		{ledger{every: 1}, ""},
		{ledger{every: 1, applied: 3, shown: 3}, ""},
		{ledger{every: 1, applied: 3, shown: 2}, "the last count is 2, want 3"},
		{ledger{every: 10, applied: 13, shown: 10}, ""},
		{ledger{every: 10, applied: 20, shown: 10}, "the last count is 10, want 20"},
		{ledger{every: 10, step: 10, applied: 23, shown: 10}, "the last count is 10, want 20"},
		{ledger{every: 1, applied: 3, loose: true}, ""},
	} {
		tt.l.what = "count"
		if got := tt.l.final(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.l, got, tt.want)
		}
	}
}

func TestEachWord(t *testing.T) {
	for line, want := range map[string]string{
		"":                                "",
		" . ,\t":                          "",
		"Hello, hello world!":             "hello|hello|world",
		"it's a_b-c 3.14":                 "it|s|a|b|c|3|14",
		"Stra\u00dfe \u00c4RGER":          "stra\u00dfe|\u00e4rger",
		"e\u0301a \u65e5\u672c\u8a9e":     "e\u0301a|\u65e5\u672c\u8a9e",
		"a\xffb\xc3":                      "a|b",
		"\ufffd x":                        "x",
		"\u0130":                          "i",
		"\r\nend\r":                       "end",
		strings.Repeat("x", 1<<16) + " y": strings.Repeat("x", 1<<16) + "|y",
	} {
		var got []string
		eachWord([]byte(line), func(word []byte) { got = append(got, string(word)) })
		if strings.Join(got, "|") != want {
			t.Errorf("%.40q: got %.60q, want %.60q", line, strings.Join(got, "|"), want)
		}
	}
}
