package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/contract"
)

// Editors and authors read the descriptions; a field without one is not documented anywhere.
func TestEveryPropertyIsDescribed(t *testing.T) {
	for _, kind := range Kinds() {
		described := 0
		eachSchema(t, kind, func(at string, s map[string]any) {
			properties, _ := s["properties"].(map[string]any)
			for name, property := range properties {
				if text, _ := property.(map[string]any)["description"].(string); len(text) < 5 || !strings.HasSuffix(text, ".") {
					t.Errorf("%s: %s/%s has the description %q, want a sentence", kind, at, name, text)
				}
				described++
			}
		})
		if described < 10 {
			t.Errorf("%s: only %d properties were looked at", kind, described)
		}
	}
}

// What has no bound is a way in: of what people write, every text has a longest form, every list a longest length, and every
// block is closed; and a pattern says in words what it wants, for people who do not read patterns.
func TestEverythingIsBounded(t *testing.T) {
	for _, kind := range []string{"Image", "Catalog"} {
		eachSchema(t, kind, func(at string, s map[string]any) {
			_, isRef := s["$ref"]
			_, isConst := s["const"]
			_, isEnum := s["enum"]
			_, patterned := s["pattern"]
			has := func(keyword string) {
				if _, ok := s[keyword]; !ok {
					t.Errorf("%s: %s has no %s", kind, at, keyword)
				}
			}
			types := fmt.Sprint(s["type"])
			if strings.Contains(types, "string") && !isConst && !isEnum && !boundedPattern(s) && !strings.HasSuffix(at, "/line") {
				has("maxLength")
			}
			if strings.Contains(types, "string") && patterned {
				has("title")
			}
			if strings.Contains(types, "array") {
				has("maxItems")
			}
			if strings.Contains(types, "object") {
				has("additionalProperties")
			}
			if isRef && s["$ref"] == "#/$defs/line" {
				has("maxLength")
			}
		})
	}
}

// boundedPattern reports whether a pattern has no repetition without an end.
func boundedPattern(s map[string]any) bool {
	pattern, ok := s["pattern"].(string)
	return ok && !strings.ContainsAny(pattern, "*+")
}

// Each schema stands for itself, so some definitions are written several times; they say the same.
func TestDefinitionsAgree(t *testing.T) {
	first := map[string]any{}
	for _, kind := range Kinds() {
		for name, definition := range load(t, kind)["$defs"].(map[string]any) {
			if other, ok := first[name]; ok && !reflect.DeepEqual(other, definition) {
				t.Errorf("%s defines %s otherwise than a kind before it", kind, name)
			}
			first[name] = definition
		}
	}
}

// The rules that specs may accept and policies may set are the upgrade checks there are.
func TestRulesAreThoseOfTheContract(t *testing.T) {
	want := contract.Rules()
	slices.Sort(want)
	image := load(t, "Image")["$defs"].(map[string]any)
	accept := image["upgrade"].(map[string]any)["properties"].(map[string]any)["accept"].(map[string]any)["items"].(map[string]any)
	var accepted []string
	for _, rule := range accept["properties"].(map[string]any)["rule"].(map[string]any)["enum"].([]any) {
		accepted = append(accepted, rule.(string))
	}
	slices.Sort(accepted)
	var levelled []string
	for rule := range schemas["Catalog"]().Properties["spec"].Properties["upgradeChecks"].Properties {
		levelled = append(levelled, rule)
	}
	slices.Sort(levelled)
	if !slices.Equal(accepted, want) || !slices.Equal(levelled, want) {
		t.Errorf("specs may accept\n%v\npolicies may set\n%v\nthe rules are\n%v", accepted, levelled, want)
	}
}

func TestJSONSchema(t *testing.T) {
	for _, kind := range Kinds() {
		data, err := JSONSchema(strings.ToLower(kind))
		if err != nil || !json.Valid(data) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := JSONSchema("images"); err == nil || err.Error() != `unknown kind "images": want Image, Catalog, ImageStatus, CatalogStatus or Release` {
		t.Errorf("an unknown kind: %v", err)
	}
	Kinds()[0] = "changed"
	if Kinds()[0] != "Image" {
		t.Error("callers can change the list of kinds")
	}
}

func load(t *testing.T, kind string) map[string]any {
	t.Helper()
	data, err := JSONSchema(kind)
	if err != nil {
		t.Fatal(err)
	}
	var value map[string]any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// eachSchema visits every schema within the schema of a kind.
func eachSchema(t *testing.T, kind string, visit func(at string, s map[string]any)) {
	t.Helper()
	var walk func(at string, s any)
	walk = func(at string, s any) {
		schema, ok := s.(map[string]any)
		if !ok {
			return
		}
		visit(at, schema)
		for _, keyword := range []string{"properties", "$defs"} {
			inside, _ := schema[keyword].(map[string]any)
			for name, s := range inside {
				walk(at+"/"+name, s)
			}
		}
		for _, keyword := range []string{"items", "additionalProperties"} {
			walk(at+"/"+keyword, schema[keyword])
		}
	}
	walk("", load(t, kind))
}
