package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// decode reads a file that people write and fills a struct with it, where it has no problems.
func decode(path string, data []byte, schema *jsonschema.Schema, rules func(*document), into any) *document {
	if len(data) > MaxFileSize {
		d := &document{path: path}
		d.report(1, 1, fmt.Sprintf("the file has %d KiB", len(data)>>10), fmt.Sprintf("keep it to %d KiB", MaxFileSize>>10))
		return d
	}
	d := parse(path, data, schema)
	if d.root == nil {
		return d
	}
	if other := d.otherKind(); len(other) > 0 {
		d.problems = other // what it lacks as one of this kind helps nobody
		return d
	}
	d.validate()
	rules(d)
	if len(d.problems) == 0 {
		d.fill(into)
	}
	return d
}

// decodeWritten reads a file that the daemon wrote. The error is the first problem.
func decodeWritten(path string, data []byte, schema *jsonschema.Schema, into any) error {
	d := parse(path, data, schema)
	if d.root != nil {
		d.problems = append(d.problems, d.otherKind()...)
		for _, name := range schema.Required {
			if lookup(d.root, name) == nil {
				d.missing(d.root, schema, nil, name)
			}
		}
	}
	if len(d.problems) == 0 {
		d.fill(into)
	}
	if len(d.problems) > 0 {
		return errors.New(sorted(d.problems)[0].String())
	}
	return nil
}

// otherKind reports an apiVersion and a kind that are given and are others than those of the schema.
func (d *document) otherKind() []Problem {
	other := &document{path: d.path, schema: d.schema, root: d.root}
	for _, name := range []string{"apiVersion", "kind"} {
		if text := d.text("/" + name); text != "" && text != d.schema.Properties[name].Constant[0] {
			other.unknownValue(other.find("/" + name))
		}
	}
	return other.problems
}

// fill puts the value into a struct by its JSON tags. The schema has said that it fits.
func (d *document) fill(into any) {
	data, err := json.Marshal(d.value)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		d.report(1, 1, err.Error(), "")
	}
}

// problem reports a problem of the value at a JSON pointer.
func (d *document) problem(pointer, message, hint string) {
	n, _, at := d.find(pointer)
	if name := at.String(); !strings.HasPrefix(message, name) {
		message = name + ": " + message
	}
	d.at(n, at, message, hint)
}

// get returns the value at a JSON pointer, nil where there is none.
func (d *document) get(pointer string) any {
	value := d.value
	for token := range strings.SplitSeq(pointer[1:], "/") {
		switch v := value.(type) {
		case map[string]any:
			value = v[unescape(token)]
		case []any:
			index, _ := strconv.Atoi(token)
			value = v[index]
		default:
			return nil
		}
	}
	return value
}

// text returns the text at a JSON pointer, empty where there is none.
func (d *document) text(pointer string) string {
	s, _ := d.get(pointer).(string)
	return s
}

// at is the pointer of an item or a field of what is at another.
func at(pointer string, token any) string { return fmt.Sprintf("%s/%v", pointer, token) }

// escape and unescape are how the validator writes names in pointers: as RFC 6901 has it, and then as in a URL.
func escape(name string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
}

func unescape(token string) string {
	if name, err := url.PathUnescape(token); err == nil {
		token = name
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
}
