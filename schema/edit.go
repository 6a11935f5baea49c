package schema

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"tidewaiter/reconcile/release"
)

// Edit is a new request of a spec.
type Edit struct {
	Tag     string         // empty where only the digest is named
	Digest  release.Digest // empty for none
	Upgrade release.Upgrade
}

// errByHand is for specs that are written in a way that is not edited.
var errByHand = errors.New("the spec is written in a way that cannot be edited here; change its image and upgrade blocks by hand")

// Apply writes a new request into a spec, and leaves everything else to the letter as its author wrote it: order, comments,
// quotation marks, blank lines. The spec must be a valid one. The error is that it is not, or that the edit makes it another
// one than was asked for.
func (e Edit) Apply(path string, data []byte) ([]byte, error) {
	_, before, problems := DecodeImage(path, data)
	if len(problems) > 0 {
		return nil, errors.New(problems[0].String())
	}
	t := &draft{data: data}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	spec := lookup(root.Content[0], "spec").value
	image, upgrade := lookup(spec, "image"), lookup(spec, "upgrade")
	t.set(image.value, "tag", e.Tag, "repository")
	t.set(image.value, "digest", string(e.Digest), cmp.Or(present(e.Tag, "tag"), "repository"))
	from := ""
	if e.Upgrade.From != nil {
		from = e.Upgrade.From.String()
	}
	t.set(upgrade.value, "mode", e.Upgrade.Mode.String(), "")
	t.set(upgrade.value, "from", from, "mode")
	t.set(upgrade.value, "notes", e.Upgrade.Notes, "")
	t.set(upgrade.value, "accept", "", "") // they counted for the release before
	edited, err := t.apply()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	_, after, problems := DecodeImage(path, edited)
	if len(problems) > 0 {
		return nil, fmt.Errorf("the edit makes a spec with a problem: %s", problems[0])
	}
	want := *before
	want.Image.Tag, want.Image.Digest, want.Upgrade = e.Tag, e.Digest, e.Upgrade
	after.marks, want.marks = [len(pointable)]mark{}, [len(pointable)]mark{}
	got := *after
	got.Upgrade.Notes, want.Upgrade.Notes = strings.TrimSpace(got.Upgrade.Notes), strings.TrimSpace(want.Upgrade.Notes)
	if !reflect.DeepEqual(got, want) {
		return nil, fmt.Errorf("%s: %w", path, errByHand)
	}
	return edited, nil
}

func present(value, name string) string {
	if value == "" {
		return ""
	}
	return name
}

// draft is a file and what is to be changed in it.
type draft struct {
	data  []byte
	edits []span
	err   error
}

// span is a part of the file and what takes its place.
type span struct {
	from, to int
	with     string
}

// apply makes the changes, from the end so that places stay where they are.
func (t *draft) apply() ([]byte, error) {
	if t.err != nil {
		return nil, t.err
	}
	slices.SortStableFunc(t.edits, func(a, b span) int { return cmp.Compare(b.from, a.from) })
	data := bytes.Clone(t.data)
	for _, e := range t.edits {
		data = slices.Concat(data[:e.from], []byte(e.with), data[e.to:])
	}
	return data, nil
}

// set gives a field of a block a value, or takes the field away where the value is empty. A field that is not there yet comes
// after another.
func (t *draft) set(block *yaml.Node, name, value, after string) {
	flow := block.Style&yaml.FlowStyle != 0
	field := lookup(block, name)
	switch {
	case field == nil && value == "":
	case field != nil && value == "":
		t.remove(field, flow)
	case field != nil && strings.TrimRight(field.value.Value, "\n") == strings.TrimRight(value, "\n"):
	case field != nil:
		from := t.offset(field.value)
		t.edits = append(t.edits, span{from, t.end(field, flow), written(value, field.value.Style, field.key.Column-1, flow)})
	default:
		other := lookup(block, after)
		if other == nil {
			t.err = errByHand
			return
		}
		end := t.end(other, flow)
		line := name + ": " + written(value, 0, other.key.Column-1, flow)
		if flow {
			line = ", " + line
		} else {
			line = "\n" + strings.Repeat(" ", other.key.Column-1) + line
			end += len(t.line(end)) // behind a comment
		}
		t.edits = append(t.edits, span{end, end, line})
	}
}

// remove takes a field away with its line, or out of braces with a comma.
func (t *draft) remove(field *entry, flow bool) {
	from, to := t.offset(field.key), t.end(field, flow)
	if !flow {
		from -= field.key.Column - 1
		to += len(t.line(to))
		if to < len(t.data) {
			to++ // the end of the line
		}
	} else if rest := bytes.TrimLeft(t.data[to:], " "); bytes.HasPrefix(rest, []byte(",")) {
		to = len(t.data) - len(bytes.TrimLeft(rest[1:], " "))
	} else {
		from = len(bytes.TrimRight(t.data[:from], " ,"))
	}
	t.edits = append(t.edits, span{from, to, ""})
}

// offset is where a node begins.
func (t *draft) offset(n *yaml.Node) int {
	at := lineStart(t.data, n.Line)
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(t.data[at:])
		at += size
	}
	return at
}

// line is the rest of the line at an offset, without its end.
func (t *draft) line(at int) []byte {
	line, _, _ := bytes.Cut(t.data[at:], []byte("\n"))
	return line
}

// end is where the value of a field ends, without a comment behind it.
func (t *draft) end(field *entry, flow bool) int {
	at := t.offset(field.value)
	switch v := field.value; {
	case v.Kind != yaml.ScalarNode && v.Style&yaml.FlowStyle != 0:
		return t.closing(at)
	case v.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return t.quoted(at)
	case flow:
		stop := bytes.IndexAny(t.data[at:], ",}]\n#")
		return len(bytes.TrimRight(t.data[:at+stop], " "))
	case v.Kind == yaml.ScalarNode && v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 && !strings.Contains(v.Value, " ") && string(t.data[at:min(at+len(v.Value), len(t.data))]) == v.Value:
		return at + len(v.Value)
	}
	return t.below(field, at)
}

// below is the end of the last line that belongs to a field: those that are indented further, and items of a list.
func (t *draft) below(field *entry, at int) int {
	end := at + len(t.line(at))
	if v := field.value; v.Kind == yaml.ScalarNode && v.Style == 0 {
		if comment := bytes.Index(t.line(at), []byte(" #")); comment >= 0 {
			return len(bytes.TrimRight(t.data[:at+comment], " "))
		}
	}
	for next := end + 1; next < len(t.data); next += len(t.line(next)) + 1 {
		line := t.line(next)
		indent := len(line) - len(bytes.TrimLeft(line, " "))
		item := indent == field.key.Column-1 && bytes.HasPrefix(line[indent:], []byte("- ")) && field.value.Kind == yaml.SequenceNode
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case indent > field.key.Column-1 || item:
			end = next + len(line)
		default:
			return end
		}
	}
	return end
}

// quoted is behind the closing quotation mark of one that begins at an offset.
func (t *draft) quoted(at int) int {
	mark := t.data[at]
	for i := at + 1; i < len(t.data); i++ {
		switch {
		case mark == '"' && t.data[i] == '\\', mark == '\'' && t.data[i] == '\'' && i+1 < len(t.data) && t.data[i+1] == '\'':
			i++
		case t.data[i] == mark:
			return i + 1
		}
	}
	return len(t.data)
}

// closing is behind the bracket that closes one that begins at an offset.
func (t *draft) closing(at int) int {
	depth := 0
	for i := at; i < len(t.data); i++ {
		switch t.data[i] {
		case '"', '\'':
			i = t.quoted(i) - 1
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(t.data)
}

// written writes a value as its author did: in quotation marks, or as a block where it was one or has several lines.
func written(value string, style yaml.Style, indent int, flow bool) string {
	value = strings.TrimRight(value, "\n")
	block := style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 || strings.Contains(value, "\n")
	if block && !flow {
		var b strings.Builder
		b.WriteString("|")
		for line := range strings.SplitSeq(value, "\n") {
			b.WriteString("\n")
			if line != "" {
				b.WriteString(strings.Repeat(" ", indent+2) + line)
			}
		}
		return b.String()
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Style: style & (yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle)}
	if flow && n.Style == 0 && strings.ContainsAny(value, ",[]{}:#\n") {
		n.Style = yaml.DoubleQuotedStyle
	}
	text, err := yaml.Marshal(n)
	if err != nil {
		return value // a text has a form; what it says is compared at the end
	}
	return strings.TrimRight(string(text), "\n")
}

// New writes the spec of a new image, its fields in the order of the documentation. The error is what is wrong with it.
func New(i Image) ([]byte, error) {
	lines := []string{"apiVersion: " + APIVersion, "kind: Image", "metadata:", "  name: " + written(i.Name, 0, 2, false), "spec:"}
	add := func(indent int, name, value string) {
		if value != "" {
			lines = append(lines, strings.Repeat(" ", indent)+name+": "+written(value, 0, indent, false))
		}
	}
	add(2, "title", i.Title)
	add(2, "summary", i.Summary)
	add(2, "category", i.Category)
	add(2, "publisher", i.Publisher)
	lines = append(lines, "  image:")
	add(4, "registry", i.Image.Registry)
	add(4, "repository", i.Image.Repository)
	add(4, "tag", i.Image.Tag)
	add(4, "digest", string(i.Image.Digest))
	add(4, "credentials", i.Image.Credentials)
	if len(i.Image.Platforms) > 0 {
		names := make([]string, len(i.Image.Platforms))
		for n, p := range i.Image.Platforms {
			names[n] = written(string(p), 0, 0, true)
		}
		lines = append(lines, "    platforms: ["+strings.Join(names, ", ")+"]")
	}
	lines = append(lines, "  upgrade:")
	add(4, "mode", i.Upgrade.Mode.String())
	if i.Upgrade.From != nil {
		add(4, "from", i.Upgrade.From.String())
	}
	add(4, "notes", i.Upgrade.Notes)
	data := []byte(strings.Join(lines, "\n") + "\n")
	if _, _, problems := DecodeImage(i.Path, data); len(problems) > 0 {
		return nil, errors.New(problems[0].String())
	}
	return data, nil
}
