package verify

import (
	"unicode"
	"unicode/utf8"
)

// eachWord calls fn with the words of a line, in lower case and in their order. A word is a run of letters, marks and
// digits as Unicode knows them; bytes that are no UTF-8 separate words. The slice is only valid during the call.
func eachWord(line []byte, fn func(word []byte)) {
	var word []byte
	for len(line) > 0 {
		r, size := utf8.DecodeRune(line)
		line = line[size:]
		if (r != utf8.RuneError || size > 1) && (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)) {
			word = utf8.AppendRune(word, unicode.ToLower(r))
			continue
		}
		if len(word) > 0 {
			fn(word)
			word = word[:0]
		}
	}
	if len(word) > 0 {
		fn(word)
	}
}
