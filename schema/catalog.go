package schema

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"tidewaiter/reconcile/release"
)

// Catalog is a valid catalog.yaml.
type Catalog struct {
	Name   string
	Policy release.Policy
}

// catalogFile is catalog.yaml as it is written.
type catalogFile struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Registries []struct {
			Host         string   `json:"host"`
			Repositories []string `json:"repositories"`
			Credentials  string   `json:"credentials"`
			Realms       []string `json:"realms"`
			PlainHTTP    bool     `json:"plainHTTP"`
		} `json:"registries"`
		Platforms             []release.Platform `json:"platforms"`
		Verify                string             `json:"verify"`
		MaxImageSize          string             `json:"maxImageSize"`
		RequireDigest         bool               `json:"requireDigest"`
		UndeclaredUpgrade     string             `json:"undeclaredUpgrade"`
		UnknownUpgrade        string             `json:"unknownUpgrade"`
		ReviewWithCredentials bool               `json:"reviewWithCredentials"`
		Categories            []string           `json:"categories"`
		DebugProjects         map[string]struct {
			URL string `json:"url"`
		} `json:"debugProjects"`
		UpgradeChecks map[string]string `json:"upgradeChecks"`
		Suspend       bool              `json:"suspend"`
	} `json:"spec"`
}

// DecodeCatalog reads a catalog.yaml. The catalog is nil where there are problems, which are all there are, in the order of their places.
func DecodeCatalog(path string, data []byte) (*Catalog, []Problem) {
	var file catalogFile
	d := decode(path, data, schemas["Catalog"](), catalogRules, &file)
	if len(d.problems) > 0 {
		return nil, sorted(d.problems)
	}
	return &Catalog{file.Metadata.Name, file.policy()}, nil
}

func (f *catalogFile) policy() release.Policy {
	s := &f.Spec
	p := release.Policy{
		Platforms:             s.Platforms,
		Content:               s.Verify == "content",
		RequireDigest:         s.RequireDigest,
		InheritUpgrade:        s.UndeclaredUpgrade == "inherit",
		AllowUnknownUpgrade:   s.UnknownUpgrade == "allow",
		ReviewWithCredentials: s.ReviewWithCredentials,
		Categories:            s.Categories,
		UpgradeChecks:         s.UpgradeChecks,
		Suspend:               s.Suspend,
	}
	p.MaxImageSize, _ = parseSize(s.MaxImageSize)
	if s.Registries != nil {
		p.Registries = make([]release.Registry, len(s.Registries))
	}
	for i, r := range s.Registries {
		p.Registries[i] = release.Registry{
			Host: normalized(r.Host), Repositories: r.Repositories, Credentials: r.Credentials, PlainHTTP: r.PlainHTTP,
		}
		for _, realm := range r.Realms {
			p.Registries[i].Realms = append(p.Registries[i].Realms, strings.ToLower(realm))
		}
	}
	for name, project := range s.DebugProjects {
		if p.DebugProjects == nil {
			p.DebugProjects = map[string]string{}
		}
		p.DebugProjects[name] = project.URL
	}
	return p
}

// normalized is a host as references hold it; empty where it has not the form of one.
func normalized(host string) string {
	host, err := release.NormalizeHost(host)
	if err != nil {
		return ""
	}
	return host
}

// catalogRules are what the schema of Catalog cannot say.
func catalogRules(d *document) {
	d.checkRegistries("/spec/registries")
	d.checkPlatforms("/spec/platforms")
	if text := d.text("/spec/maxImageSize"); text != "" {
		if size, ok := parseSize(text); ok && size == 0 {
			d.problem("/spec/maxImageSize", "no image is that small", "give a size like 8GiB, or remove the line for no limit")
		} else if size == math.MaxInt64 {
			d.problem("/spec/maxImageSize", quote(text)+" is more than can be counted", "give a size like 8GiB, or remove the line for no limit")
		}
	}
	projects, _ := d.get("/spec/debugProjects").(map[string]any)
	for name := range projects {
		pointer := at("/spec/debugProjects", escape(name)) + "/url"
		if link := d.text(pointer); strings.HasPrefix(link, "https://") {
			d.checkTemplate(pointer, link)
		}
	}
}

// checkRegistries reports what would make it unclear how a registry is spoken to, or for what a credential may be used.
func (d *document) checkRegistries(pointer string) {
	type binding struct{ host, credentials string }
	hosts := map[string]string{}   // by credential
	plain := map[string]bool{}     // by host
	seen := map[binding]struct{}{} // entries
	items, _ := d.get(pointer).([]any)
	for i, item := range items {
		fields, _ := item.(map[string]any)
		text, _ := fields["host"].(string)
		host := normalized(text)
		if text == "" || host == "" {
			continue
		}
		credentials, _ := fields["credentials"].(string)
		here := at(pointer, i)
		if other, bound := hosts[credentials]; credentials != "" && bound && other != host {
			d.problem(here+"/credentials", fmt.Sprintf("credential %s is bound to %s already", credentials, other), "give each host a credential of its own")
		} else if _, twice := seen[binding{host, credentials}]; twice {
			d.problem(here+"/host", host+" is listed twice with the same credential", "put all its repositories into one entry")
		}
		isPlain, _ := fields["plainHTTP"].(bool)
		if before, known := plain[host]; known && before != isPlain {
			d.problem(here, host+" is plainHTTP in one entry and not in another", "say the same in all of them")
		}
		hosts[credentials], plain[host], seen[binding{host, credentials}] = host, isPlain, struct{}{}
	}
}

var placeholder = regexp.MustCompile(`\{(image|review|ref)\}`)

// checkTemplate reports a link that has other placeholders than those known, or one in its host.
func (d *document) checkTemplate(pointer, template string) {
	link := placeholder.ReplaceAllString(template, "x")
	if strings.ContainsAny(link, "{}") {
		d.problem(pointer, quote(template)+" has another placeholder than {image}, {review} and {ref}", "use these only")
		return
	}
	host := strings.TrimPrefix(template, "https://")
	if end := strings.IndexAny(host, "/?#"); end >= 0 {
		host = host[:end]
	}
	if strings.Contains(host, "{") {
		d.problem(pointer, quote(template)+" has a placeholder in its host", "use placeholders after the host only")
		return
	}
	d.judgeLink(pointer, link)
}

var units = map[string]float64{
	"": 1, "B": 1,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseSize reads a size like 8GiB, 500MB or 1.5GiB in bytes, at most math.MaxInt64.
func parseSize(s string) (size int64, ok bool) {
	digits := strings.TrimRight(s, "BKMGTki")
	unit, known := units[s[len(digits):]]
	number, err := strconv.ParseFloat(digits, 64)
	switch bytes := number * unit; {
	case err != nil || !known:
		return 0, false
	case bytes >= math.MaxInt64:
		return math.MaxInt64, true
	default:
		return int64(bytes), true
	}
}
