package ui

// glyphSet holds every character that the screen draws and that is not plain text. This is the only file with
// characters beyond ASCII. All of them are one cell wide, and none of them has an emoji form.
type glyphSet struct {
	horizontal, vertical                         string
	topLeft, topRight, bottomLeft, bottomRight   string
	ellipsis, cursor                             string
	good, bad, unknown, linked, cut, restore     string
	ascending, descending                        string
	branch, lastBranch                           string
	cutStart, cutLine, cutEnd, cutOpen, axisTick string
	bars                                         [9]string // from empty to full
}

var unicodeGlyphs = glyphSet{
	horizontal: "─", vertical: "│",
	topLeft: "╭", topRight: "╮", bottomLeft: "╰", bottomRight: "╯",
	ellipsis: "…", cursor: "▸",
	good: "✓", bad: "✗", unknown: "?", linked: "●", cut: "✗", restore: "↻",
	ascending: "↑", descending: "↓",
	branch: "├", lastBranch: "└",
	cutStart: "├", cutLine: "─", cutEnd: "┤", cutOpen: "→", axisTick: "┴",
	bars: [9]string{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
}

var asciiGlyphs = glyphSet{
	horizontal: "-", vertical: "|",
	topLeft: "+", topRight: "+", bottomLeft: "+", bottomRight: "+",
	ellipsis: "~", cursor: ">",
	good: "+", bad: "x", unknown: "?", linked: "o", cut: "x", restore: "*",
	ascending: "^", descending: "v",
	branch: "|", lastBranch: "`",
	cutStart: "[", cutLine: "=", cutEnd: "]", cutOpen: ">", axisTick: "+",
	bars: [9]string{" ", ".", ".", ":", ":", "+", "+", "#", "#"},
}
