package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one mistake in a file, where it is, and what to do about it.
type Problem struct {
	Path         string
	Line, Column int    // from 1; columns count characters
	Message      string // what is wrong
	Hint         string // what would be right; may be empty
}

// String writes images/x.yaml:3:5: message; hint.
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s", ShownPath(p.Path), p.Line, p.Column, p.Message)
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// ShownPath is a path of a tree as it may be shown in a line of text: Git takes any bytes, so where some are not printable it is
// quoted.
func ShownPath(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
}

// maxProblems bounds what is reported of one file. Nobody reads more at once.
const maxProblems = 50

// SortProblems puts problems in their one order: by place, and then by text.
func SortProblems(problems []Problem) {
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			strings.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			strings.Compare(a.Message, b.Message), strings.Compare(a.Hint, b.Hint))
	})
}

// sorted returns the problems of one file in order, each once, and where they are too many the first ones and how many more there are.
func sorted(problems []Problem) []Problem {
	SortProblems(problems)
	problems = slices.Compact(problems)
	if more := len(problems) - maxProblems; more > 0 {
		problems = problems[:maxProblems+1]
		problems[maxProblems].Message = fmt.Sprintf("and %d more problems", more)
		problems[maxProblems].Hint = "correct those above first"
	}
	return problems
}

// nearest returns the word that was most likely meant: the one with the fewest letters added, removed or replaced, at most
// a third of them, rounded up at two thirds; of equals, the first. Empty where none is near.
func nearest(word string, words []string) string {
	const longest = 64 // nobody means a longer one
	if len(word) > longest {
		return ""
	}
	best, least := "", (len(word)+1)/3+1
	for _, w := range words {
		if d := distance(strings.ToLower(word), strings.ToLower(w)); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// list writes words as people do: a, b or c.
func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	end := len(words) - 1
	return strings.Join(words[:end], ", ") + " " + last + " " + words[end]
}

// quote shows a stranger's text so that it cannot be taken for anything else: quoted, escaped and short.
func quote(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
