package web

import (
	"fmt"
	"strings"
	"unicode"
)

// Visible writes the characters of a stranger's text that nobody would see, or that turn around what follows them, as \u202e.
// Lines and tabs stay. In a string of JSON, or a quoted one of YAML, that is the same text.
func Visible(text string) string {
	if !strings.ContainsFunc(text, unseen) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unseen(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unseen(r rune) bool {
	switch r {
	case '\n', '\t':
		return false
	case '\u2028', '\u2029', '\ufeff': // separators, and a space without width
		return true
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}
