package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

const header = "# Written by tidewaiter. Do not edit.\n"

// encode writes a value as YAML in the one way there is: the fields in the order of the struct, in block style, texts of
// several lines as literal blocks, and no field without a value. The JSON tags say how; so there is one set of them.
func encode(value any) ([]byte, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", value, err)
	}
	tokens := json.NewDecoder(bytes.NewReader(data))
	tokens.UseNumber()
	node, err := nodeOf(tokens)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", value, err)
	}
	out := bytes.NewBufferString(header)
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return nil, fmt.Errorf("encoding %T: %w", value, err)
	}
	return out.Bytes(), nil
}

// nodeOf turns the next JSON value into a node, nil for null.
func nodeOf(tokens *json.Decoder) (*yaml.Node, error) {
	token, err := tokens.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case string:
		return text(t), nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: t.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(t)}, nil
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if t == '{' {
			n.Kind = yaml.MappingNode
		}
		for tokens.More() {
			var key *yaml.Node
			if n.Kind == yaml.MappingNode {
				if key, err = nodeOf(tokens); err != nil {
					return nil, err
				}
			}
			value, err := nodeOf(tokens)
			switch {
			case err != nil:
				return nil, err
			case value == nil:
			case key == nil:
				n.Content = append(n.Content, value)
			default:
				n.Content = append(n.Content, key, value)
			}
		}
		_, err := tokens.Token()
		return n, err
	}
	return nil, nil
}

// text is a node for a text: a literal block where it has lines, quoted where it could be read as something else. A block that
// begins with a space or an empty line is not read back as it was, so such a text is quoted too, and so is one with what else YAML
// takes for the end of a line.
func text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case strings.ContainsAny(s, "\u0085\u2028\u2029"):
		n.Style = yaml.DoubleQuotedStyle
	case strings.Contains(s, "\n") && !strings.ContainsAny(s[:1], " \t\n"):
		n.Style = yaml.LiteralStyle
	case strings.Contains(s, "\n"), ambiguous(s):
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
