package ui

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"eostop/faults/soak"
)

// art draws a layout a tenth as wide and half as high: H header, F footer, digits panels.
func art(s screen, w, h int) string {
	grid := make([][]byte, h/2)
	for i := range grid {
		grid[i] = []byte(strings.Repeat(".", w/10))
	}
	draw := func(r rect, c byte) {
		for y := (r.y + 1) / 2; y < (r.y+r.h+1)/2 && y < len(grid); y++ {
			for x := (r.x + 5) / 10; x < (r.x+r.w+5)/10 && x < w/10; x++ {
				grid[y][x] = c
			}
		}
	}
	for id, r := range s.panels {
		draw(r, byte('1'+id))
	}
	draw(s.header, 'H')
	if !s.footer.empty() {
		grid[len(grid)-1] = []byte(strings.Repeat("F", w/10))
	}
	var b strings.Builder
	for _, line := range grid {
		b.WriteString(string(line) + "\n")
	}
	return b.String()
}

func TestLayout(t *testing.T) {
	tests := []struct {
		name string
		args layoutArgs
		want string
	}{
		{"tiny", layoutArgs{w: 40, h: 10, threadRows: 12}, `
			HHHH
			1111
			1111
			1111
			1111`},
		{"tiny with events in focus", layoutArgs{w: 50, h: 14, threadRows: 12, focus: panelEvents}, `
			HHHHH
			77777
			77777
			77777
			77777
			77777
			FFFFF`},
		{"standard", layoutArgs{w: 80, h: 24, threadRows: 12}, `
			HHHHHHHH
			11111111
			11111111
			11111111
			11111111
			11111111
			11111111
			11111111
			55555555
			55555555
			77777777
			FFFFFFFF`},
		{"standard shows what has the focus", layoutArgs{w: 80, h: 24, threadRows: 12, focus: panelCuts}, `
			HHHHHHHH
			66666666
			66666666
			66666666
			66666666
			66666666
			66666666
			66666666
			55555555
			55555555
			77777777
			FFFFFFFF`},
		{"standard remembers what had the place", layoutArgs{w: 80, h: 24, threadRows: 12, focus: panelEvents, slot: panelStores}, `
			HHHHHHHH
			33333333
			33333333
			33333333
			33333333
			33333333
			33333333
			33333333
			55555555
			55555555
			77777777
			FFFFFFFF`},
		{"narrow and tall", layoutArgs{w: 80, h: 48, threadRows: 12}, `
			HHHHHHHH
			11111111
			11111111
			11111111
			11111111
			11111111
			11111111
			11111111
			22222222
			22222222
			22222222
			22222222
			22222222
			22222222
			55555555
			55555555
			55555555
			77777777
			77777777
			77777777
			77777777
			77777777
			77777777
			FFFFFFFF`},
		{"medium", layoutArgs{w: 120, h: 40, threadRows: 12}, `
			HHHHHHHHHHHH
			HHHHHHHHHHHH
			111111111111
			111111111111
			111111111111
			111111111111
			111111111111
			111111111111
			111111111111
			222222225555
			222222225555
			222222225555
			222222225555
			222222225555
			222222225555
			777777777777
			777777777777
			777777777777
			777777777777
			FFFFFFFFFFFF`},
		{"zoomed", layoutArgs{w: 120, h: 40, threadRows: 12, focus: panelTasks, zoom: true}, `
			HHHHHHHHHHHH
			HHHHHHHHHHHH
			` + strings.Repeat("444444444444\n", 17) + `
			FFFFFFFFFFFF`},
		{"large", layoutArgs{w: 200, h: 60, threadRows: 12}, `
			HHHHHHHHHHHHHHHHHHHH
			HHHHHHHHHHHHHHHHHHHH
			11111111112222222222
			11111111112222222222
			11111111112222222222
			11111111112222222222
			11111111112222222222
			11111111112222222222
			11111111112222222222
			44444444443333333333
			44444444443333333333
			44444444443333333333
			44444444443333333333
			44444444443333333333
			44444444443333333333
			44444444443333333333
			44444444443333333333
			55555555556666666666
			55555555556666666666
			55555555556666666666
			55555555556666666666
			55555555556666666666
			55555555556666666666
			77777777777777777777
			77777777777777777777
			77777777777777777777
			77777777777777777777
			77777777777777777777
			77777777777777777777
			FFFFFFFFFFFFFFFFFFFF`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.Join(strings.Fields(tt.want), "\n") + "\n"
			if got := art(layout(tt.args), tt.args.w, tt.args.h); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// TestLayoutTiles checks that the rectangles cover every cell of every size exactly once.
func TestLayoutTiles(t *testing.T) {
	for w := minWidth; w <= 300; w += 7 {
		for h := minHeight; h <= 100; h++ {
			for focus := range panelCount {
				a := layoutArgs{w: w, h: h, focus: focus, slot: (focus + 3) % panelCount, zoom: (w+h)%5 == 0, threadRows: 4 + (w+h)%40}
				s := layout(a)
				rects := append([]rect{s.header, s.footer}, s.panels[:]...)
				area := 0
				for i, r := range rects {
					if r.empty() {
						continue
					}
					area += r.w * r.h
					if r.x < 0 || r.y < 0 || r.x+r.w > w || r.y+r.h > h {
						t.Fatalf("%+v: %+v is off the screen", a, r)
					}
					for _, o := range rects[:i] {
						if !o.empty() && r.x < o.x+o.w && o.x < r.x+r.w && r.y < o.y+o.h && o.y < r.y+r.h {
							t.Fatalf("%+v: %+v and %+v overlap", a, r, o)
						}
					}
				}
				if area != w*h {
					t.Fatalf("%+v: %d of %d cells covered", a, area, w*h)
				}
				if s.panels[focus].empty() {
					t.Fatalf("%+v: the focused panel is not shown", a)
				}
				if s.panels[focus].h < 3 {
					t.Fatalf("%+v: the focused panel has %d lines", a, s.panels[focus].h)
				}
			}
		}
	}
}

// TestSizes draws every kind of screen at many sizes: a frame has exactly the terminal's lines and columns.
func TestSizes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	keys := []string{"", "\t", "z", "?", "v", "\r", " ", "/x", "7k", "s", "4S", "6\r", "5z", "/\x1b", "3/[\x1b", "p", "7kkkk\r", "qq", "L"}
	wild := sceneAt(sceneEnd)
	wild.ApplicationID, wild.Waiting = "\x1b[31m\u4f60\u597d\u4e16\u754c \U0001f469\u200d\U0001f469", "a\tb\nc\u202e"
	for i := range wild.Instances {
		wild.Instances[i].Threads = append(wild.Instances[i].Threads, wild.Instances[i].Threads...)
		wild.Instances[i].Threads[0].LastError = strings.Repeat("\u4f60\u597d ", 200)
		wild.Instances[i].Threads[1].State, wild.Instances[i].Threads[1].LastCause = "DEAD", "\x1b]0;x\x07\u4f60\u597d"
	}
	for i := range wild.Events {
		wild.Events[i].Text = strings.Repeat("\u4f60\x1b[2J", i)
	}
	snaps := []*soak.Snapshot{nil, {}, sceneAt(0), sceneAt(sceneEnd), wild}
	for h := 5 + random.IntN(3); h <= 100; h += 3 {
		for _, w := range []int{20, 39, 40, 59, 60, 80, 99, 100, 159, 160, 20 + random.IntN(281), 20 + random.IntN(281), 300} {
			o := plainOptions()
			o.ASCII = random.IntN(4) == 0
			m := newApp(still{snaps[random.IntN(len(snaps))]}, o)
			m.poll()
			if random.IntN(2) == 0 {
				m = sceneModel(o, w, h)
				m.session = still{snaps[random.IntN(len(snaps))]}
				m.poll()
			}
			m.w, m.h = w, h
			for range random.IntN(4) {
				typed := keys[random.IntN(len(keys))]
				press(m, typed)
				if m.crash != nil {
					t.Fatalf("%dx%d after %q: %v\n%s", w, h, typed, m.crash, m.crash.Stack)
				}
				checkSize(t, m, w, h)
			}
			checkSize(t, m, w, h)
		}
	}
}

func checkSize(t *testing.T, m *app, w, h int) {
	t.Helper()
	lines := strings.Split(m.render(), "\n")
	if len(lines) != h {
		t.Fatalf("%dx%d: %d lines", w, h, len(lines))
	}
	for i, line := range lines {
		if n := ansi.StringWidth(line); n != w {
			t.Fatalf("%dx%d: line %d has %d cells: %q", w, h, i, n, line)
		}
		if strings.ContainsAny(ansi.Strip(line), "\x1b\t\r\x07\u202e") {
			t.Fatalf("%dx%d: line %d has control characters: %q", w, h, i, line)
		}
	}
}
