package ui

import "cmp"

// panelID names a panel; its key is one more.
type panelID int

const (
	panelThreads panelID = iota
	panelProducers
	panelStores
	panelTasks
	panelThroughput
	panelCuts
	panelEvents
	panelCount
)

// minWidth and minHeight are the smallest terminal the screen can do something with.
const (
	minWidth  = 40
	minHeight = 10
)

// rect is a part of the screen in cells.
type rect struct{ x, y, w, h int }

func (r rect) empty() bool { return r.w <= 0 || r.h <= 0 }

// screen says where everything goes. The rectangles cover the terminal without a gap and do not overlap.
type screen struct {
	header rect
	panels [panelCount]rect // empty: not shown
	footer rect             // empty: toasts and prompts take the last line instead
	boxed  bool             // panels have a border all around, not only a line above
	slot   panelID          // the panel whose title lists those that are not shown; -1: all are shown
	tabs   []panelID        // what it lists, in order, itself included
}

// layoutArgs is all that the layout depends on.
type layoutArgs struct {
	w, h        int
	focus, slot panelID // slot is what was last focused among the panels that share a place
	zoom        bool
	threadRows  int // rows that the threads panel would fill
}

// fits is false where only a message has room.
func fits(w, h int) bool { return w >= minWidth && h >= minHeight }

// layout gives each part its place. There are four shapes: all panels at once; threads, one of the others, throughput
// and events; the same without a border and with threads among the others; one panel at a time.
func layout(a layoutArgs) screen {
	s := screen{slot: -1}
	header := 3
	switch {
	case a.h < 16:
		header = 1
	case a.w < 100 || a.h < 32:
		header = 2
	}
	footer := 1
	if a.h < 12 {
		footer = 0
	}
	s.header = rect{0, 0, a.w, header}
	if footer > 0 {
		s.footer = rect{0, a.h - footer, a.w, footer}
	}
	body := rect{0, header, a.w, a.h - header - footer}
	s.boxed = a.w >= 100 && a.h >= 32
	switch {
	case a.zoom || a.w < 60 || a.h < 16:
		s.panels[a.focus] = body
		s.slot, s.tabs = a.focus, []panelID{0, 1, 2, 3, 4, 5, 6}
	case a.w >= 160 && a.h >= 48:
		s.all(body, a)
	case s.boxed:
		s.most(body, a)
	case a.h >= 36:
		s.tall(body, a)
	default:
		s.few(body, a)
	}
	return s
}

// all shows every panel, two by two.
func (s *screen) all(b rect, a layoutArgs) {
	top := clamp(a.threadRows+3, 8, b.h*2/5)
	low := 11
	mid := (b.h - top - low) * 5 / 9
	left := b.w / 2
	y := b.y
	row := func(h, left int, l, r panelID) {
		s.panels[l] = rect{b.x, y, left, h}
		s.panels[r] = rect{b.x + left, y, b.w - left, h}
		y += h
	}
	row(top, left, panelThreads, panelProducers)
	row(mid, left, panelTasks, panelStores)
	row(low, left, panelThroughput, panelCuts)
	s.panels[panelEvents] = rect{b.x, y, b.w, b.y + b.h - y}
}

// most shows threads, events, throughput and one of the others.
func (s *screen) most(b rect, a layoutArgs) {
	top := clamp(a.threadRows+3, 8, b.h*45/100)
	mid := clamp((b.h-top)*4/7, 8, 16)
	left := b.w * 66 / 100
	s.share(a, panelProducers, panelStores, panelTasks, panelCuts)
	s.panels[panelThreads] = rect{b.x, b.y, b.w, top}
	s.panels[s.slot] = rect{b.x, b.y + top, left, mid}
	s.panels[panelThroughput] = rect{b.x + left, b.y + top, b.w - left, mid}
	s.panels[panelEvents] = rect{b.x, b.y + top + mid, b.w, b.h - top - mid}
}

// tall is for narrow terminals that are high: one above the other.
func (s *screen) tall(b rect, a layoutArgs) {
	top := clamp(a.threadRows+2, 8, b.h*2/5)
	chart := 6
	mid := clamp((b.h-top-chart)/2, 6, 20)
	s.share(a, panelProducers, panelStores, panelTasks, panelCuts)
	s.stack(b, []panelID{panelThreads, s.slot, panelThroughput, panelEvents}, []int{top, mid, chart})
}

// few leaves threads, one of the others in their place, a strip of throughput and the newest events.
func (s *screen) few(b rect, a layoutArgs) {
	chart := 3
	events := max(4, b.h-chart-(a.threadRows+2))
	s.share(a, panelThreads, panelProducers, panelStores, panelTasks, panelCuts)
	s.stack(b, []panelID{s.slot, panelThroughput, panelEvents}, []int{b.h - chart - events, chart})
}

// share gives several panels one place: the focused one has it, else the one that had it last.
func (s *screen) share(a layoutArgs, among ...panelID) {
	s.tabs, s.slot = among, among[0]
	for _, id := range among {
		if id == a.slot {
			s.slot = id
		}
	}
	for _, id := range among {
		if id == a.focus {
			s.slot = id
		}
	}
}

// stack puts panels one above the other; the last takes what is left.
func (s *screen) stack(b rect, ids []panelID, heights []int) {
	y := b.y
	for i, id := range ids {
		h := b.y + b.h - y
		if i < len(heights) {
			h = heights[i]
		}
		s.panels[id] = rect{b.x, y, b.w, h}
		y += h
	}
}

func clamp[T cmp.Ordered](n, low, high T) T { return max(low, min(n, high)) }
