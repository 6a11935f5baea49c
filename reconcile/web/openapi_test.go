package web

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type schemaOf struct {
	Properties map[string]json.RawMessage
	Required   []string
}

// TestOpenAPI holds the description of the API to what is answered: every path and no other, each field that is answered, and
// those that are always there.
func TestOpenAPI(t *testing.T) {
	s := storeOf("go")
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
		Components struct{ Schemas map[string]schemaOf }
	}
	if err := json.Unmarshal(serve(s, "/api/v1/openapi.json").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("api.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range regexp.MustCompile(`"GET (/api/v1/[^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		if _, described := doc.Paths[route[1]]; !described && !strings.HasSuffix(route[1], ".json") {
			t.Errorf("%s is not described", route[1])
		}
	}
	for path, item := range doc.Paths {
		concrete := strings.NewReplacer("{name}", "go", "{channel}", "latest").Replace(path)
		w := serve(s, concrete)
		if w.Code != http.StatusOK {
			t.Errorf("%s answers %d", concrete, w.Code)
			continue
		}
		ref := item.Get.Responses["200"].Content["application/json"].Schema.Ref
		schema, known := doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
		var answer map[string]json.RawMessage
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !known {
			t.Errorf("%s: %v, described by %q", concrete, err, ref)
		}
		for _, field := range schema.Required {
			if _, there := answer[field]; !there {
				t.Errorf("%s lacks %s", concrete, field)
			}
		}
		for field := range answer {
			if _, described := schema.Properties[field]; !described && !strings.HasSuffix(ref, "/Image") { // which says where its fields are described
				t.Errorf("%s answers %s, which is not described", concrete, field)
			}
		}
		for _, parameter := range item.Get.Parameters {
			if parameter.In == "path" && !strings.Contains(path, "{"+parameter.Name+"}") {
				t.Errorf("%s has no %s", path, parameter.Name)
			}
		}
	}
	for _, want := range []string{"Problem", "Row"} {
		if !slices.Contains(doc.Components.Schemas[want].Required, map[string]string{"Problem": "detail", "Row": "name"}[want]) {
			t.Errorf("%s is not described", want)
		}
	}
}
