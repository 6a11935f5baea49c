package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"gopkg.in/yaml.v3"
)

// document is one file on its way from bytes to a value.
type document struct {
	path     string
	schema   *jsonschema.Schema
	root     *yaml.Node // the mapping that the file is; nil where it is none
	value    any        // what the schema is asked about: nil in place of what cannot be used
	problems []Problem
}

// parse reads a file as one mapping, and its values as the schema wants them. It does not ask yet whether they are allowed.
func parse(path string, data []byte, schema *jsonschema.Schema) *document {
	d := &document{path: path, schema: schema}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if at := unprintable(data); at >= 0 {
		line, column := position(data, at)
		message, hint := "there is a control character here", "YAML is text; remove it"
		if r, size := utf8.DecodeRune(data[at:]); r == utf8.RuneError && size == 1 {
			message, hint = "this is not UTF-8", "save the file as UTF-8 text"
		}
		d.report(line, column, message, hint)
		return d
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF) || err == nil && first.Content[0].ShortTag() == "!!null":
		d.report(1, 1, "the file is empty", "write apiVersion, kind and metadata")
		return d
	case err != nil:
		d.notYAML(data, err)
		return d
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		d.report(second.Line, second.Column, "a second document begins here", "keep one in each file")
	case !errors.Is(err, io.EOF):
		d.notYAML(data, err)
	}
	root := first.Content[0]
	d.value = d.read(root, schema, nil)
	if root.Kind == yaml.MappingNode {
		d.root = root
	}
	return d
}

func (d *document) report(line, column int, message, hint string) {
	d.problems = append(d.problems, Problem{d.path, line, column, message, hint})
}

// unprintable returns the offset of the first byte that is no part of a character that YAML 1.2 (section 5.1) allows, or -1.
func unprintable(data []byte) int {
	for i := 0; i < len(data); {
		b := data[i]
		if b < utf8.RuneSelf {
			if b < ' ' && b != '\t' && b != '\n' && b != '\r' || b == 0x7f {
				return i
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r >= 0x80 && r < 0xa0 && r != 0x85 || r == 0xfeff || r == 0xfffe || r == 0xffff {
			return i
		}
		i += size
	}
	return -1
}

// position returns the line and column, both from 1, of an offset.
func position(data []byte, at int) (line, column int) {
	before := data[:at]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}

// syntaxHints are for the mistakes that people make most, by what the parser says of them.
var syntaxHints = []struct{ says, hint string }{
	{"tab character", "indent with spaces, not tabs"},
	{"mapping values are not allowed", `write fields as name: value, all of a block indented alike, and quote a value that holds ": "`},
	{"cannot start any token", "indent with spaces, not tabs, and quote a value that begins with @, % or `"},
	{"could not find expected ':'", "write a field as name: value"},
	{"end of stream", "close the quotation mark or bracket opened here"},
	{"',' or", "close the bracket opened before"},
	{"unknown anchor", "anchors and aliases cannot be used; repeat the value, or quote one that begins with *"},
	{"incompatible YAML", "remove the line that begins with %"},
	{"escape", `write \\ for a backslash between double quotes, or use single ones`},
	{"exceeded max depth", "write it with fewer levels"},
	{"expected", "indent fields of one block alike, and close quotation marks where the value ends"},
}

// notYAML reports what the parser cannot read. It says on which line a block or quotation begins, is one line off for some
// mistakes and names no line for others; so the line is taken from how far it had to read to fail.
func (d *document) notYAML(data []byte, err error) {
	message, hint := reason(err), ""
	for _, known := range syntaxHints {
		if strings.Contains(message, known.says) {
			hint = known.hint
			break
		}
	}
	line := failsAfter(data, message)
	if before := lineStart(data, line); line > 1 && failsAfter(data[:before], message) > 0 {
		line-- // it looked one line ahead
	}
	if opened := 0; strings.Contains(message, "end of stream") {
		if _, err := fmt.Sscanf(err.Error(), "yaml: line %d:", &opened); err == nil {
			line = opened
		}
	}
	text := data[lineStart(data, line):]
	blank := len(text) - len(bytes.TrimLeft(text, " \t"))
	d.report(line, 1+blank, "this is not YAML: "+message, hint)
}

// reason is what the parser says without where.
func reason(err error) string {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if _, after, found := strings.Cut(message, ": "); found && strings.HasPrefix(message, "line ") {
		message = after
	}
	return message
}

// failsAfter returns how many lines the parser reads before it fails with a message; 0 where it does not.
func failsAfter(data []byte, message string) int {
	lines := &lineReader{rest: data}
	decoder := yaml.NewDecoder(lines)
	for {
		var node yaml.Node
		switch err := decoder.Decode(&node); {
		case err == nil:
		case errors.Is(err, io.EOF) || reason(err) != message:
			return 0
		default:
			return max(1, lines.read)
		}
	}
}

// lineStart returns the offset where a line begins, the end of the data where there is no such line.
func lineStart(data []byte, line int) int {
	at := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			return len(data)
		}
		at += i + 1
	}
	return at
}

// lineReader gives its reader one line at a time and counts them.
type lineReader struct {
	rest []byte
	read int
	mid  bool // the line counted last is not through
}

func (l *lineReader) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		return 0, io.EOF
	}
	line := l.rest
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i+1]
	}
	n := copy(p, line)
	if !l.mid {
		l.read++
	}
	l.mid = n < len(line)
	l.rest = l.rest[n:]
	return n, nil
}
