package schema

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"gopkg.in/yaml.v3"
)

// at reports a problem of a value: at the value itself where it is a scalar or an item of a list, else at its field.
func (d *document) at(n *yaml.Node, p *place, message, hint string) {
	if n.Kind != yaml.ScalarNode && p != nil && p.key != nil {
		n = p.key
	}
	d.report(max(1, n.Line), max(1, n.Column), message, hint)
}

func (d *document) unknownField(key *yaml.Node, s *jsonschema.Schema) {
	known := slices.Sorted(maps.Keys(s.Properties))
	d.at(key, nil, "unknown field "+quote(key.Value), meant(key.Value, known))
}

// meant is the hint for a word that is none of those known: the nearest, or all where there are few.
func meant(word string, known []string) string {
	const few = 6
	switch near := nearest(word, known); {
	case near != "" && len(known) > few:
		return "did you mean " + near + "?"
	case near != "" && len(known) > 1:
		return "did you mean " + near + "? want " + list(known, "or")
	case len(known) <= few:
		return "want " + list(known, "or")
	}
	return "tidewaiter schema lists what there is"
}

// wrongType reports a value that is not of the type its schema wants.
func (d *document) wrongType(n *yaml.Node, s *jsonschema.Schema, at *place) {
	name := at.String()
	if at == nil {
		d.at(n, at, "the file is "+typeName(n), "write apiVersion, kind and metadata")
		return
	}
	plain := n.Kind == yaml.ScalarNode && n.Style == 0
	switch tag := n.ShortTag(); {
	case tag == "!!null":
		d.at(n, at, name+" has no value", "give it one, or remove the line")
	case plain && wants(s, "string"):
		d.at(n, at, fmt.Sprintf("%s: YAML may read %s as true or false", name, n.Value), fmt.Sprintf("quote it: %q", n.Value))
	case n.Kind == yaml.ScalarNode && wants(s, "boolean"):
		d.at(n, at, name+" is "+quote(n.Value), "write true or false, without quotation marks")
	default:
		d.at(n, at, name+" is "+typeName(n), "want "+wanted(s))
	}
}

func typeName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a block of fields"
	case yaml.SequenceNode:
		return "a list"
	}
	return quote(n.Value)
}

// wanted says in words what a schema takes: its title where it has one, else its types.
func wanted(s *jsonschema.Schema) string {
	if s.Title != "" && !wants(s, "object") {
		return s.Title
	}
	words := map[string]string{
		"object": "a block of fields", "array": "a list, like [a, b]", "string": "text", "boolean": "true or false", "integer": "a whole number",
	}
	names := make([]string, len(s.Types))
	for i, t := range s.Types {
		names[i] = words[t]
	}
	return list(names, "or")
}

// validate asks the schema about the value and reports what it refuses, in words.
func (d *document) validate() {
	if err, ok := d.schema.Validate(d.value).(*jsonschema.ValidationError); ok {
		d.explain(err)
	}
}

// explain reports one refusal of the schema, or all those it is made of. That a value has another type was said when it
// was read.
func (d *document) explain(err *jsonschema.ValidationError) {
	keyword := err.KeywordLocation[strings.LastIndexByte(err.KeywordLocation, '/')+1:]
	if len(err.Causes) > 0 && keyword != "anyOf" {
		for _, cause := range err.Causes {
			d.explain(cause)
		}
		return
	}
	n, s, at := d.find(err.InstanceLocation)
	if strings.Contains(err.KeywordLocation, "/propertyNames/") { // the pointer leads to the field, the refusal is about its name
		_, s, _ := d.find(err.InstanceLocation[:strings.LastIndexByte(err.InstanceLocation, '/')])
		d.at(at.key, nil, "name "+quote(at.name)+" has the wrong form", "want "+title(target(s).PropertyNames))
		return
	}
	name := at.String()
	switch keyword {
	case "required":
		for _, missing := range target(s).Required {
			if field := lookup(n, missing); field == nil {
				d.missing(n, target(s), at, missing)
			}
		}
	case "anyOf":
		var choices []string
		for _, choice := range target(s).AnyOf {
			choices = append(choices, choice.Required...)
		}
		d.at(n, at, name+" lacks "+list(choices, "and"), "add one of them, or both")
	case "const", "enum":
		d.unknownValue(n, s, at)
	case "pattern":
		message := name + " " + quote(n.Value) + " has the wrong form"
		if strings.TrimSpace(n.Value) == "" {
			message = name + " is empty"
		}
		d.at(n, at, message, "want "+title(s))
	case "minLength":
		d.at(n, at, name+" is empty", "want "+title(s))
	case "maxLength":
		d.at(n, at, fmt.Sprintf("%s has %d characters", name, len([]rune(n.Value))), fmt.Sprintf("keep it to %d", limit(s, func(s *jsonschema.Schema) int { return s.MaxLength })))
	case "uniqueItems":
		d.repeated(n, at)
	case "minItems", "minProperties":
		d.at(n, at, name+" is empty", "add to it, or remove the line")
	case "maxItems":
		d.at(n, at, fmt.Sprintf("%s has %d items", name, len(n.Content)), fmt.Sprintf("keep at most %d", target(s).MaxItems))
	case "maxProperties":
		d.at(n, at, fmt.Sprintf("%s has %d fields", name, len(n.Content)/2), fmt.Sprintf("keep at most %d", target(s).MaxProperties))
	}
}

// missing reports a field that must be there, with the first sentence of what authors are told about it.
func (d *document) missing(n *yaml.Node, s *jsonschema.Schema, at *place, name string) {
	about, _, _ := strings.Cut(s.Properties[name].Description, ". ")
	about = strings.TrimSuffix(strings.ToLower(about[:1])+about[1:], ".")
	if at != nil {
		name = at.String() + "." + name
	}
	d.at(n, at, name+" is missing", "add it: "+about)
}

func (d *document) unknownValue(n *yaml.Node, s *jsonschema.Schema, at *place) {
	d.at(n, at, "unknown "+at.String()+" "+quote(n.Value), meant(n.Value, values(target(s))))
}

// values are those that an enumeration or a constant allows.
func values(s *jsonschema.Schema) []string {
	var words []string
	for _, v := range append(s.Constant, s.Enum...) {
		words = append(words, fmt.Sprint(v))
	}
	return words
}

// repeated reports every item of a list that was there before.
func (d *document) repeated(n *yaml.Node, at *place) {
	seen := map[string]bool{}
	for i, item := range n.Content {
		if seen[item.Value] {
			d.at(item, nil, fmt.Sprintf("%s[%d] %s is listed twice", at, i, quote(item.Value)), "remove one")
		}
		seen[item.Value] = true
	}
}

// title is what a schema says in words, or the one that it refers to.
func title(s *jsonschema.Schema) string {
	if s.Title == "" && s.Ref != nil {
		return title(s.Ref)
	}
	return s.Title
}

// limit is the smallest of a bound along references, which all hold.
func limit(s *jsonschema.Schema, of func(*jsonschema.Schema) int) int {
	bound := of(s)
	if s.Ref != nil {
		if inner := limit(s.Ref, of); bound < 0 || inner >= 0 && inner < bound {
			bound = inner
		}
	}
	return bound
}

// find returns the node at a JSON pointer, with its schema and its place. The pointer leads to something that was read.
func (d *document) find(pointer string) (*yaml.Node, *jsonschema.Schema, *place) {
	n, s := d.root, d.schema
	var at *place
	for _, token := range strings.Split(pointer, "/")[1:] {
		if n.Kind == yaml.SequenceNode {
			index, _ := strconv.Atoi(token)
			n, s, at = n.Content[index], target(s).Items2020, &place{parent: at, index: index}
			continue
		}
		name := unescape(token)
		key := lookup(n, name)
		n, s, at = key.value, field(target(s), name), &place{parent: at, name: name, key: key.key}
	}
	return n, s, at
}

// entry is one field of a mapping.
type entry struct{ key, value *yaml.Node }

// lookup returns the field of a mapping, nil where it has none of that name.
func lookup(n *yaml.Node, name string) *entry {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name && n.Content[i].Kind == yaml.ScalarNode {
			return &entry{n.Content[i], n.Content[i+1]}
		}
	}
	return nil
}
