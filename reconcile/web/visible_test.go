package web

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What nobody would see is shown, and text of any language stays as it is.
func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"FROM scratch\n\tRUN x":      "FROM scratch\n\tRUN x",
		"Grüße, שלום, 你好 👩‍🚒":        "Grüße, שלום, 你好 👩‍🚒",
		"\x1b[31mred\x1b[0m":         `\u001b[31mred\u001b[0m`,
		"a\u009b2J\x7f\r":            `a\u009b2J\u007f\u000d`,
		"user\u202e\u2066gnp.\u200f": `user\u202e\u2066gnp.\u200f`,
		"\ufeffone\u2028two":         `\ufeffone\u2028two`,
	} {
		if got := Visible(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// The parts of a Dockerfile have classes that the style sheet has colours for.
func TestHighlight(t *testing.T) {
	const text = "# build\nFROM golang:1.26 AS build\r\nRUN echo \"$HOME\" && \\\n    <b>x</b>\nCMD [\"/go\"]\n"
	const want = `<span class="comment"># build</span>
<span class="keyword">FROM</span> <span class="string">golang:1.26</span> <span class="keyword">AS</span> <span class="string">build</span>
<span class="keyword">RUN</span> echo <span class="string">&#34;</span><span class="variable">$HOME</span><span class="string">&#34;</span> &amp;&amp; <span class="string">\
</span>    &lt;b&gt;x&lt;/b&gt;
<span class="keyword">CMD</span> [<span class="string">&#34;/go&#34;</span>]
`
	if got := string(highlight(text)); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	style := string(assets["style.css"].content)
	for _, class := range []string{"keyword", "comment", "string", "variable"} {
		if !strings.Contains(style, ".dockerfile ."+class) {
			t.Errorf("the style sheet has no colour for %s", class)
		}
	}
	long := strings.Repeat("RUN a\n", maxHighlighted)
	if got := string(highlight(long)); got != long {
		t.Error("a long text is looked at")
	}
}

var tag = regexp.MustCompile(`</?span( class="[a-z]+")?>`)

// Whatever a Dockerfile holds, all of it is shown, as text.
func FuzzHighlight(f *testing.F) {
	for _, text := range []string{"", "FROM a\nRUN b \\\n c", "LABEL a=b", "ONBUILD", "CMD [", "RUN \"$(`${<<EOF", "# <script>\n\x00\xff\u202e", "HEALTHCHECK --a=b \\"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			t.Skip()
		}
		want := Visible(strings.ReplaceAll(text, "\r\n", "\n"))
		began := time.Now()
		got := tag.ReplaceAllString(string(highlight(text)), "")
		if took := time.Since(began); took > time.Second {
			t.Errorf("%q takes %s", text, took)
		}
		if strings.ContainsAny(got, "<>") {
			t.Errorf("%q is shown as %q", text, got)
		}
		if text := html.UnescapeString(got); text != string([]rune(want)) {
			t.Errorf("%q is shown as %q", want, text)
		}
	})
}
