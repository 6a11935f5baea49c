package schema

import (
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"gopkg.in/yaml.v3"
)

// place is where in a file a value is, from the root down. Its text is made only for problems.
type place struct {
	parent *place
	name   string
	index  int // of an item of a list
	key    *yaml.Node
}

// String writes spec.withdrawn[0].version.
func (p *place) String() string {
	switch {
	case p == nil:
		return ""
	case p.key == nil:
		return p.parent.String() + "[" + strconv.Itoa(p.index) + "]"
	case p.parent == nil:
		return p.name
	}
	return p.parent.String() + "." + p.name
}

// read turns a node into the value that its schema wants, where it can be read as one, and reports everything that it cannot
// be. Nil takes the place of what was reported, so that nothing is said of it twice. The schema bounds how deep it goes.
//
// A plain scalar is taken to the letter where text is wanted: tag: 1.10 is "1.10", not 1.1.
func (d *document) read(n *yaml.Node, s *jsonschema.Schema, at *place) any {
	s = target(s)
	if n.Kind == yaml.AliasNode {
		d.at(n, at, "aliases cannot be used", "repeat the value, or quote one that begins with *")
		return nil
	}
	if n.Anchor != "" {
		d.at(n, at, "anchors cannot be used", "remove it and repeat the value, or quote one that begins with &")
		return nil
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.at(n, at, "tags cannot be used", "remove "+quote(n.Tag)+", or quote a value that begins with !")
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		if wants(s, "object") {
			return d.readMapping(n, s, at)
		}
	case yaml.SequenceNode:
		if wants(s, "array") {
			return d.readSequence(n, s, at)
		}
	default:
		if value, ok := scalar(n, s); ok {
			return value
		}
	}
	d.wrongType(n, s, at)
	return nil
}

// target follows a reference, which is all that is said of a value's type.
func target(s *jsonschema.Schema) *jsonschema.Schema {
	for s.Ref != nil {
		s = s.Ref
	}
	return s
}

func wants(s *jsonschema.Schema, kind string) bool {
	for _, t := range s.Types {
		if t == kind {
			return true
		}
	}
	return false
}

func (d *document) readMapping(n *yaml.Node, s *jsonschema.Schema, at *place) any {
	value := make(map[string]any, len(n.Content)/2)
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		key, content := n.Content[i], n.Content[i+1]
		inside := &place{parent: at, name: key.Value, key: key}
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			d.at(key, nil, "merge keys cannot be used", "repeat the fields")
			continue
		case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0:
			d.at(key, nil, "this cannot be the name of a field", "write a plain word")
			continue
		case seen[key.Value] != nil:
			d.at(key, nil, "field "+quote(key.Value)+" is given twice", "it is on line "+strconv.Itoa(seen[key.Value].Line)+" already; keep one")
			value[key.Value] = nil // nobody knows which was meant
			continue
		}
		seen[key.Value] = key
		switch schema := field(s, key.Value); {
		case schema == nil:
			d.unknownField(key, s)
		default:
			value[key.Value] = d.read(content, schema, inside)
		}
	}
	return value
}

// field is the schema of a mapping's field, nil where there is no such field.
func field(s *jsonschema.Schema, name string) *jsonschema.Schema {
	if schema := s.Properties[name]; schema != nil {
		return schema
	}
	schema, _ := s.AdditionalProperties.(*jsonschema.Schema)
	return schema
}

func (d *document) readSequence(n *yaml.Node, s *jsonschema.Schema, at *place) any {
	value := make([]any, len(n.Content))
	for i, item := range n.Content {
		value[i] = d.read(item, s.Items2020, &place{parent: at, index: i})
	}
	return value
}

// scalar reads a scalar as text, a whole number or true and false, whichever the schema wants.
func scalar(n *yaml.Node, s *jsonschema.Schema) (any, bool) {
	tag := n.ShortTag()
	switch {
	case wants(s, "string"):
		ok := tag != "!!bool" && tag != "!!null" && !(n.Style == 0 && ambiguous(n.Value))
		return n.Value, ok
	case wants(s, "boolean"):
		return strings.EqualFold(n.Value, "true"), tag == "!!bool"
	case wants(s, "integer") && tag == "!!int":
		number, err := strconv.ParseInt(n.Value, 10, 64)
		return number, err == nil
	}
	return nil, false
}

// ambiguous reports whether a plain word is text for YAML 1.2 and true or false for YAML 1.1, which many tools still read.
func ambiguous(word string) bool {
	switch strings.ToLower(word) {
	case "yes", "no", "on", "off", "y", "n":
		return true
	}
	return false
}
