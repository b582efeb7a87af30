package ui

import (
	"slices"
	"strings"

	"eostop/faults/soak"
)

// view is what the panels draw from. While the screen is frozen it stands still.
type view struct {
	snap   *soak.Snapshot // never nil
	width  int            // of the terminal
	hist   *history
	log    *eventLog
	styles *styles
	glyphs *glyphSet
}

// panel draws one part of a snapshot. Panels keep only view state: cursor, sort order, filter.
type panel interface {
	// title is the name with a count, and status says at the other end of the title line what view state there is.
	title(v *view) string
	status(v *view) string
	// draw adds at most height lines to c.
	draw(v *view, c *sheet, height int, focused bool)
	// act moves the cursor or changes the order; false means that the panel does not know the action.
	act(v *view, a action) bool
	// instance is the one that the selected row belongs to; empty when there is none.
	instance(v *view) string
	// explain describes the selected row; nil when there is none.
	explain(v *view) *page
	// filterable is the panel's filter; nil when it has none.
	filterable() *filter
}

// column is one column of a table of T.
type column[T any] struct {
	title    string
	brief    string // shorter title for where the column is too narrow
	min, max int    // widths; max 0 takes what is left
	want     int    // more than min, and worth dropping other columns for; 0: min is enough
	grow     int    // columns with 1, 2, .. get more than min before the others do
	right    bool   // numbers
	drop     int    // where the room does not suffice, columns with the highest number go first; 0 stays
	cell     func(v *view, t *T, width int) (string, sgr)
	order    func(v *view, a, b *T) int // nil: the table cannot be sorted by it
}

// table is the panel of a list. T is a small struct of pointers into the snapshot.
type table[T any] struct {
	name    string
	empty   string // shown when there are no rows at all
	columns []column[T]
	rows    func(v *view, into []T) []T
	id      func(t *T) string // what the cursor stays with when the order changes
	owner   func(t *T) string // instance
	detail  func(v *view, t *T) *page
	size    func(v *view) string                         // for the title; nil: the number of rows
	group   func(a, b *T) int                            // comes before the chosen order; nil: none
	note    func(v *view, t *T, width int) (string, sgr) // replaces the cells from column noteFrom on
	// noteFrom is the title of the first column that a row's note covers in a table of some width; empty: the row has
	// no note. nil: no row ever has one.
	noteFrom func(v *view, t *T, width int) string

	selected string
	index    int
	offset   int
	page     int // rows at the last draw
	keep     filter
	sort     int // index into columns, -1 for the natural order
	reverse  bool

	cached  []T
	all     int
	from    *soak.Snapshot
	by      string
	refresh bool
}

// list returns the rows as shown, computed once for each snapshot, filter and order.
func (t *table[T]) list(v *view) []T {
	if t.from == v.snap && t.by == t.keep.text && !t.refresh {
		return t.cached
	}
	t.cached = t.rows(v, t.cached[:0])
	t.all = len(t.cached)
	t.from, t.by, t.refresh = v.snap, t.keep.text, false
	if t.keep.active() {
		t.cached = slices.DeleteFunc(t.cached, func(row T) bool { return !t.keep.match(t.textOf(v, &row)) })
	}
	if t.sort >= 0 {
		order := t.columns[t.sort].order
		slices.SortStableFunc(t.cached, func(a, b T) int {
			if t.group != nil {
				if n := t.group(&a, &b); n != 0 {
					return n
				}
			}
			n := order(v, &a, &b)
			if t.reverse {
				return -n
			}
			return n
		})
	}
	// The cursor stays with its row, and with its place where the row has gone.
	if i := slices.IndexFunc(t.cached, func(row T) bool { return t.id(&row) == t.selected }); i >= 0 {
		t.index = i
	}
	t.sel(t.index)
	return t.cached
}

func (t *table[T]) sel(i int) {
	t.index = clamp(i, 0, max(0, len(t.cached)-1))
	if len(t.cached) > 0 {
		t.selected = t.id(&t.cached[t.index])
	}
}

func (t *table[T]) textOf(v *view, row *T) string {
	var b strings.Builder
	for i := range t.columns {
		s, _ := t.columns[i].cell(v, row, 80)
		b.WriteString(s)
		b.WriteByte(' ')
	}
	if t.noteFrom != nil && t.noteFrom(v, row, 80) != "" {
		s, _ := t.note(v, row, 80)
		b.WriteString(s)
	}
	b.WriteString(" " + t.id(row))
	return b.String()
}

func (t *table[T]) filterable() *filter { return &t.keep }

func (t *table[T]) title(v *view) string {
	t.list(v)
	if t.size != nil {
		return t.name + " " + t.size(v)
	}
	return t.name + " " + count(int64(t.all))
}

func (t *table[T]) status(v *view) string {
	rows := t.list(v)
	var parts []string
	if t.keep.active() {
		parts = append(parts, "/"+t.keep.text+" "+plural(len(rows), "row"))
	}
	if len(rows) > t.page && t.page > 0 {
		parts = append(parts, count(int64(t.offset+1))+"-"+count(int64(min(len(rows), t.offset+t.page)))+" of "+count(int64(len(rows))))
	}
	return strings.Join(parts, "  ")
}

// row is the selected row; nil when there is none.
func (t *table[T]) row(v *view) *T {
	if rows := t.list(v); len(rows) > 0 {
		return &rows[t.index]
	}
	return nil
}

func (t *table[T]) instance(v *view) string {
	if row := t.row(v); row != nil {
		return t.owner(row)
	}
	return ""
}

func (t *table[T]) explain(v *view) *page {
	if row := t.row(v); row != nil {
		return t.detail(v, row)
	}
	return nil
}

func (t *table[T]) act(v *view, a action) bool {
	rows := t.list(v)
	step := max(1, t.page-1)
	switch a {
	case actUp:
		t.sel(t.index - 1)
	case actDown:
		t.sel(t.index + 1)
	case actPageUp:
		t.sel(t.index - step)
	case actPageDown:
		t.sel(t.index + step)
	case actTop:
		t.sel(0)
	case actBottom:
		t.sel(len(rows) - 1)
	case actSort:
		t.nextSort()
	case actReverse:
		if t.sort < 0 {
			t.nextSort()
		}
		t.reverse, t.refresh = !t.reverse, true
	default:
		return false
	}
	return true
}

// nextSort goes through the columns that have an order, and back to the natural one.
func (t *table[T]) nextSort() {
	t.refresh, t.reverse = true, false
	for t.sort++; t.sort < len(t.columns); t.sort++ {
		if t.columns[t.sort].order != nil {
			return
		}
	}
	t.sort = -1
}

// draw shows the column titles and the rows around the cursor.
func (t *table[T]) draw(v *view, c *sheet, height int, focused bool) {
	rows := t.list(v)
	gap := 1
	if c.width >= 100 {
		gap = 2
	}
	widths := t.widths(c.width-2, gap)
	t.heads(v, c, widths, gap)
	t.page = max(1, height-1)
	if len(rows) == 0 {
		text := t.empty
		if t.all > 0 {
			text = "nothing matches the filter; esc clears it"
		}
		c.gap(1)
		c.text(text, v.styles.dim)
		c.end()
		return
	}
	t.offset = clamp(t.offset, t.index-t.page+1, t.index)
	t.offset = clamp(t.offset, 0, max(0, len(rows)-t.page))
	for i := t.offset; i < min(len(rows), t.offset+t.page); i++ {
		row := &rows[i]
		mark := " "
		if i == t.index {
			mark = v.glyphs.cursor
			if focused {
				c.begin(v.styles.selected)
			}
		}
		c.text(mark, v.styles.accent)
		t.drawRow(v, c, row, widths, gap)
		c.end()
	}
}

func (t *table[T]) drawRow(v *view, c *sheet, row *T, widths []int, gap int) {
	first, note := true, ""
	if t.noteFrom != nil {
		note = t.noteFrom(v, row, c.width)
	}
	for j := range t.columns {
		if widths[j] == 0 {
			continue
		}
		if !first {
			c.gap(gap)
		}
		first = false
		if note != "" && t.columns[j].title == note {
			text, st := t.note(v, row, c.width-c.col-1)
			c.text(text, st)
			return
		}
		text, st := t.columns[j].cell(v, row, widths[j])
		c.put(text, widths[j], st, t.columns[j].right)
	}
}

func (t *table[T]) heads(v *view, c *sheet, widths []int, gap int) {
	c.gap(1)
	first := true
	for j := range t.columns {
		if widths[j] == 0 {
			continue
		}
		if !first {
			c.gap(gap)
		}
		first = false
		col := &t.columns[j]
		title, st := col.title, v.styles.head
		if len(title) > widths[j] && col.brief != "" {
			title = col.brief
		}
		if j == t.sort {
			st = v.styles.bold
			mark := v.glyphs.ascending
			if t.reverse {
				mark = v.glyphs.descending
			}
			title += mark
		}
		c.put(title, widths[j], st, col.right)
	}
	c.end()
}

// widths gives each column its width, 0 for those that have no room.
func (t *table[T]) widths(total, gap int) []int {
	widths := make([]int, len(t.columns))
	used := -gap
	for j := range t.columns {
		widths[j] = max(t.columns[j].min, t.columns[j].want)
		used += widths[j] + gap
	}
	for used > total {
		last := -1
		for j := range t.columns {
			if widths[j] > 0 && t.columns[j].drop > 0 && (last < 0 || t.columns[j].drop > t.columns[last].drop) {
				last = j
			}
		}
		if last < 0 {
			break
		}
		used -= widths[last] + gap
		widths[last] = 0
	}
	for j := range t.columns {
		if over := used - total; over > 0 && widths[j] > t.columns[j].min {
			less := min(over, widths[j]-t.columns[j].min)
			widths[j] -= less
			used -= less
		}
	}
	rest := max(0, total-used)
	for _, grow := range []int{1, 2, 3, 0} {
		for j := range t.columns {
			if col := &t.columns[j]; widths[j] > 0 && col.max > 0 && col.grow == grow {
				more := min(rest, col.max-widths[j])
				widths[j] += more
				rest -= more
			}
		}
	}
	for j := range t.columns {
		if widths[j] > 0 && t.columns[j].max == 0 {
			widths[j] += rest
			rest = 0
		}
	}
	return widths
}
