package web

import (
	"embed"
	"html/template"
	"strings"
	"sync"

	"github.com/alecthomas/chroma/v2"
)

// lexerFiles are those of chroma that a Dockerfile needs. Its own package of them has those of 300 languages, which is 2.8 MB of
// the program.
//
//go:embed lexers
var lexerFiles embed.FS

var dockerfileLexer = sync.OnceValue(func() chroma.Lexer {
	registry := chroma.NewLexerRegistry() // where they find each other by name
	for _, name := range []string{"bash", "json", "docker"} {
		registry.Register(chroma.MustNewXMLLexer(lexerFiles, "lexers/"+name+".xml"))
	}
	return registry.Get("docker")
})

// maxHighlighted bounds the text that is looked at, in bytes: a stranger's text takes up to 3 µs and 18 bytes of HTML for each.
const maxHighlighted = 32 << 10

// highlight is the text of a Dockerfile as HTML with classes for its parts. A long one is shown without them.
func highlight(text string) template.HTML {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	plain := template.HTML(template.HTMLEscapeString(Visible(text)))
	if len(text) > maxHighlighted {
		return plain
	}
	tokens, err := chroma.Tokenise(chroma.Coalesce(dockerfileLexer()), &chroma.TokeniseOptions{State: "root"}, text)
	if err != nil {
		return plain
	}
	var b strings.Builder
	for _, t := range tokens {
		value := template.HTMLEscapeString(Visible(t.Value))
		if class := classOf(t.Type); class != "" {
			value = `<span class="` + class + `">` + value + "</span>"
		}
		b.WriteString(value)
	}
	return template.HTML(b.String())
}

// classOf is the class of the style sheet for a part of a text, empty for most.
func classOf(t chroma.TokenType) string {
	switch {
	case t.InCategory(chroma.Keyword):
		return "keyword"
	case t.InCategory(chroma.Comment):
		return "comment"
	case t.InSubCategory(chroma.LiteralString):
		return "string"
	case t == chroma.NameVariable:
		return "variable"
	}
	return ""
}
