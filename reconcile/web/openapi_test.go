package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// TestOpenAPI holds the description of the API to what is answered: every path and no other, each answer as its schema has it,
// and no field that is not described.
func TestOpenAPI(t *testing.T) {
	s := storeOf("go")
	s.Images[0].Card.Logo = "go.png"
	text := serve(s, "/api/v1/openapi.json").Body.Bytes()
	var doc struct {
		Paths map[string]struct {
			Get struct {
				Parameters []struct{ Name, In string }
				Responses  map[string]struct {
					Content map[string]struct {
						Schema struct {
							Ref string `json:"$ref"`
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat = true
	if err := compiler.AddResource("openapi.json", bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	hold := func(path, ref string, answer []byte) {
		t.Helper()
		schema, err := compiler.Compile("openapi.json" + ref)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var value any
		if err := json.Unmarshal(answer, &value); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s answers\n%s\nwhich is not what is described: %#v", path, answer, err)
		}
		if !strings.HasSuffix(ref, "/Image") { // which says where its fields are described
			for _, field := range undescribed(value, schema, "") {
				t.Errorf("%s answers %s, which is not described", path, field)
			}
		}
	}

	var source []byte
	for _, file := range []string{"api.go", "reviews.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	for _, route := range regexp.MustCompile(`"GET (/api/v1/[^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		if _, described := doc.Paths[route[1]]; !described && !strings.HasSuffix(route[1], ".json") {
			t.Errorf("%s is not described", route[1])
		}
	}
	handler := Handler(Options{Ready: func() bool { return true }, Store: func() *Store { return s }, Reviews: reviewed})
	for path, item := range doc.Paths {
		concrete := strings.NewReplacer("{name}", "go", "{channel}", "latest", "{number}", "12").Replace(path)
		w := ask(handler, concrete, "")
		if w.Code != http.StatusOK {
			t.Errorf("%s answers %d", concrete, w.Code)
			continue
		}
		hold(concrete, item.Get.Responses["200"].Content["application/json"].Schema.Ref, w.Body.Bytes())
		wrong := strings.NewReplacer("{name}", "zig", "{channel}", "9", "{number}", "9").Replace(path) + "?page=none"
		if path == "/api/v1/reviews" {
			continue // it takes nothing that could be wrong
		}
		if w = serve(s, wrong); w.Code < 400 {
			t.Errorf("%s answers %d", wrong, w.Code)
			continue
		}
		hold(wrong, item.Get.Responses["default"].Content["application/problem+json"].Schema.Ref, w.Body.Bytes())
		for _, parameter := range item.Get.Parameters {
			switch {
			case parameter.In == "path" && !strings.Contains(path, "{"+parameter.Name+"}"):
				t.Errorf("%s has no %s", path, parameter.Name)
			case parameter.In == "query" && serve(s, concrete+"?"+parameter.Name+"=none").Body.String() == serve(s, concrete).Body.String():
				t.Errorf("%s answers the same whatever %s is", path, parameter.Name)
			}
		}
	}
}

// undescribed lists the fields of a value that its schema says nothing of. An object without any described is one of another's.
func undescribed(value any, schema *jsonschema.Schema, at string) (fields []string) {
	for schema != nil && schema.Ref != nil {
		schema = schema.Ref
	}
	switch v := value.(type) {
	case map[string]any:
		for name, field := range v {
			switch inner, known := schema.Properties[name]; {
			case known:
				fields = append(fields, undescribed(field, inner, at+"."+name)...)
			case len(schema.Properties) > 0:
				fields = append(fields, at+"."+name)
			}
		}
	case []any:
		for n, item := range v {
			fields = append(fields, undescribed(item, schema.Items2020, fmt.Sprintf("%s[%d]", at, n))...)
		}
	}
	return fields
}
