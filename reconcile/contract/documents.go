package contract

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The documents of an image, as far as they are read: OCI image specification 1.1, Docker image manifest version 2 schema 2.
type (
	indexDocument struct {
		Manifests   []entry           `json:"manifests"`
		Annotations map[string]string `json:"annotations"`
	}
	entry struct {
		Digest      string            `json:"digest"`
		Platform    platformDocument  `json:"platform"`
		Annotations map[string]string `json:"annotations"`
	}
	platformDocument struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	}
	manifestDocument struct {
		ArtifactType string            `json:"artifactType"`
		Config       blob              `json:"config"`
		Layers       []blob            `json:"layers"`
		Annotations  map[string]string `json:"annotations"`
	}
	blob struct {
		MediaType string `json:"mediaType"`
		Size      int64  `json:"size"`
	}
	configDocument struct {
		platformDocument
		Created time.Time `json:"created"`
		Config  struct {
			User         string              `json:"User"`
			ExposedPorts map[string]struct{} `json:"ExposedPorts"`
			Env          []string            `json:"Env"`
			Entrypoint   []string            `json:"Entrypoint"`
			Cmd          []string            `json:"Cmd"`
			Volumes      map[string]struct{} `json:"Volumes"`
			WorkingDir   string              `json:"WorkingDir"`
			Labels       map[string]string   `json:"Labels"`
			StopSignal   string              `json:"StopSignal"`
			Shell        []string            `json:"Shell"`
			OnBuild      []string            `json:"OnBuild"`
			Healthcheck  healthcheck         `json:"Healthcheck"`
		} `json:"config"`
	}
	healthcheck struct {
		Test          []string `json:"Test"`
		Interval      int64    `json:"Interval"`
		Timeout       int64    `json:"Timeout"`
		StartPeriod   int64    `json:"StartPeriod"`
		StartInterval int64    `json:"StartInterval"`
		Retries       int64    `json:"Retries"`
	}
)

// decode reads a document, which must be an object. Like the engines it forgives fields that are null.
func decode[T any](data []byte) (T, error) {
	var document *T
	if err := json.Unmarshal(data, &document); err != nil {
		return *new(T), err
	}
	if document == nil {
		return *new(T), errors.New("it is null")
	}
	return *document, nil
}

// attestation reports whether an entry is one that BuildKit makes beside the image: no platform of it.
func (e entry) attestation() bool {
	return e.Annotations["vnd.docker.reference.type"] != "" || e.Platform.OS == "unknown" && e.Platform.Architecture == "unknown"
}

var platformForm = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`)

// name is the platform in the form of docker --platform, normalised like a spec's.
func (p platformDocument) name() (string, error) {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	switch name {
	case "linux/arm64/v8", "linux/aarch64":
		return "linux/arm64", nil
	case "linux/x86_64":
		return "linux/amd64", nil
	}
	if !platformForm.MatchString(name) {
		return "", fmt.Errorf("platform %q is not an os and an architecture", name)
	}
	return name, nil
}

// artifactType is the type of the manifest as the OCI image specification defines it; empty for a container image, whose
// config has one content under Docker's media type and OCI's.
func (m manifestDocument) artifactType() string {
	switch t := cmp.Or(m.ArtifactType, m.Config.MediaType); t {
	case "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json":
		return ""
	default:
		return t
	}
}

// size is the compressed size in bytes: config and layers.
func (m manifestDocument) size() (int64, error) {
	if len(m.Layers) > maxEntries {
		return 0, fmt.Errorf("it has more than %d layers", maxEntries)
	}
	var size int64
	for _, b := range append(m.Layers, m.Config) {
		if b.Size < 0 || b.Size > maxBlob {
			return 0, fmt.Errorf("a blob has the impossible size %d", b.Size)
		}
		size += b.Size
	}
	return size, nil
}

// image is what the config promises, in one spelling.
func (d configDocument) image(salt string) (Image, error) {
	c := d.Config
	longest := max(len(c.Env), len(c.Labels), len(c.ExposedPorts), len(c.Volumes), len(c.Entrypoint), len(c.Cmd), len(c.Shell))
	if longest > maxEntries {
		return Image{}, fmt.Errorf("one of its lists has %d entries, more than %d", longest, maxEntries)
	}
	env := environment(salt, c.Env)
	if n := len(directories(env["PATH"])); n > maxEntries {
		return Image{}, fmt.Errorf("its PATH has %d directories, more than %d", n, maxEntries)
	}
	if d.Created.UTC().Year() > 9999 {
		return Image{}, errors.New("it was created after the year 9999")
	}
	return Image{
		Entrypoint:  set(c.Entrypoint),
		Cmd:         set(c.Cmd),
		User:        user(c.User),
		Workdir:     workdir(c.WorkingDir),
		Ports:       keys(c.ExposedPorts, port),
		Volumes:     keys(c.Volumes, directory),
		Env:         env,
		Labels:      slices.Sorted(maps.Keys(c.Labels)),
		StopSignal:  signal(c.StopSignal),
		Shell:       set(c.Shell),
		OnBuild:     onBuild(salt, c.OnBuild),
		Healthcheck: c.Healthcheck.hash(salt),
	}, nil
}

// set is a list as the engines see it: an empty one is unset.
func set(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

// keys are the normalised keys of a map, sorted, each once.
func keys(m map[string]struct{}, normalise func(string) string) []string {
	var all []string
	for key := range m {
		all = append(all, normalise(key))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// environment maps keys to salted hashes; the last of two entries of one key wins, as it does in runc.
func environment(salt string, entries []string) map[string]string {
	env := map[string]string{}
	for _, e := range entries {
		key, value, _ := strings.Cut(e, "=")
		switch key {
		case "":
		case "PATH", "LANG":
			env[key] = value
		default:
			env[key] = hash(salt, key, value)
		}
	}
	if len(env) == 0 {
		return nil
	}
	return env
}

// user is user[:group], empty for root. Numbers are read as runc reads them, where +0 and 00 are root too.
func user(s string) string {
	name, group, _ := strings.Cut(s, ":")
	number := func(s string) string {
		if n, err := strconv.Atoi(s); err == nil {
			return strconv.Itoa(n)
		}
		return s
	}
	name, group = number(name), number(group)
	if name == "" || name == "root" {
		name = "0"
	}
	switch {
	case name == "0" && (group == "" || group == "0" || group == "root"):
		return ""
	case group == "":
		return name
	}
	return name + ":" + group
}

func isRoot(user string) bool { return user == "" || strings.HasPrefix(user, "0:") }

// directory is an absolute path in its shortest form; anything else, of Windows for one, is left alone.
func directory(s string) string {
	if strings.HasPrefix(s, "/") {
		return path.Clean(s)
	}
	return s
}

func workdir(s string) string {
	if s = directory(s); s == "/" {
		return ""
	}
	return s
}

// directories are those of a PATH, in the shortest form, sorted, each once.
func directories(path string) []string {
	separator := ":"
	if strings.Contains(path, ";") || strings.Contains(path, `:\`) {
		separator = ";" // Windows
	}
	var all []string
	for d := range strings.SplitSeq(path, separator) {
		if d != "" {
			all = append(all, directory(d))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// port is number/protocol; without a protocol it is tcp.
func port(s string) string {
	if !strings.Contains(s, "/") {
		s += "/tcp"
	}
	return strings.ToLower(s)
}

// signal is the name or number of a signal without SIG, empty for the default.
func signal(s string) string {
	s = strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if s == "TERM" || s == "15" {
		return ""
	}
	return s
}

func onBuild(salt string, triggers []string) string {
	if len(triggers) == 0 {
		return ""
	}
	return hash(salt, "OnBuild", strings.Join(triggers, "\x00"))
}

// hash is of the whole check, empty where there is none: no test, or the one that turns an inherited check off.
func (h healthcheck) hash(salt string) string {
	if len(h.Test) == 0 || h.Test[0] == "NONE" {
		return ""
	}
	numbers := fmt.Sprint(h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, h.Retries)
	return hash(salt, "Healthcheck", numbers+"\x00"+strings.Join(h.Test, "\x00"))
}
