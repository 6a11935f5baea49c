package web

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// Store is what a daemon knows of its catalog at one moment. It is never changed, so that a page shows one moment.
type Store struct {
	Version string // of what is shown: the commits of the catalog and of the statuses
	Catalog release.CatalogStatus
	Images  []Image // by name

	// Records are the releases of an image, ascending, and Spec is the last valid spec, nil where there is none any more.
	Records func(name string) ([]schema.Record, error)
	Spec    func(Image) (*schema.Image, error)
	// File is the content of a regular file of the catalog, nil where there is none or it has more than MaxFile bytes.
	File func(path string) ([]byte, error)

	once               sync.Once // finds the rest when it is first asked for
	categories, labels []string
	texts              []string // what of each image is searched, in lower case

	mu   sync.Mutex
	kept map[string][]schema.Record // of images that were asked for
	many int                        // records kept
}

// maxKept bounds the records that are kept; each takes a few kilobytes.
const maxKept = 2000

// Releases are the records of an image, ascending. To read them anew each time costs a look through all images of the branch.
func (s *Store) Releases(name string) ([]schema.Record, error) {
	s.mu.Lock()
	records, ok := s.kept[name]
	s.mu.Unlock()
	if ok {
		return records, nil
	}
	records, err := s.Records(name)
	if err != nil || len(records) > maxKept {
		return records, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.many += len(records); s.many > maxKept || s.kept == nil {
		s.kept, s.many = map[string][]schema.Record{}, len(records)
	}
	s.kept[name] = records
	return records, nil
}

// Image is one image of the catalog.
type Image struct {
	Name   string
	Card   Card
	Status release.ImageStatus
}

// Card is what a spec says to people who look for an image.
type Card struct {
	Title    string
	Summary  string
	Category string
	Labels   []string
	Logo     string // the path of a picture in the catalog; empty where there is none, or it is elsewhere
}

// Ready is the condition of that type.
func (i Image) Ready() release.Condition { return readyOf(i.Status.Conditions) }

func readyOf(conditions []release.Condition) release.Condition {
	for _, c := range conditions {
		if c.Type == "Ready" {
			return c
		}
	}
	return release.Condition{}
}

// Latest is what the channel latest means now, nil where it means nothing.
func (i Image) Latest() *release.Channel {
	if len(i.Status.Channels) == 0 {
		return nil
	}
	return &i.Status.Channels[0]
}

// Find returns the image of a name.
func (s *Store) Find(name string) (Image, bool) {
	i, ok := slices.BinarySearchFunc(s.Images, name, func(i Image, name string) int { return cmp.Compare(i.Name, name) })
	if !ok {
		return Image{}, false
	}
	return s.Images[i], true
}

// Filter says which images are asked for; what is empty lets all through.
type Filter struct {
	Text     string // words that are all in the name, title, summary or labels, in any case
	Category string
	Label    string
	State    string // True, False or Unknown: whether the image is ready
	Reason   string // why it is, or is not
}

// Select returns the images that a filter lets through, by name.
func (s *Store) Select(f Filter) []*Image {
	s.once.Do(s.index)
	words := strings.Fields(strings.ToLower(f.Text))
	var found []*Image
	for n := range s.Images {
		missing := func(word string) bool { return !strings.Contains(s.texts[n], word) }
		if f.matches(&s.Images[n]) && !slices.ContainsFunc(words, missing) {
			found = append(found, &s.Images[n])
		}
	}
	return found
}

func (f Filter) matches(i *Image) bool {
	ready := release.Condition{}
	if f.State != "" || f.Reason != "" {
		ready = i.Ready()
	}
	return (f.Category == "" || i.Card.Category == f.Category) &&
		(f.Label == "" || slices.Contains(i.Card.Labels, f.Label)) &&
		(f.State == "" || string(ready.Status) == f.State) &&
		(f.Reason == "" || string(ready.Reason) == f.Reason)
}

// maxFacets bounds how many categories and labels are offered.
const maxFacets = 200

// facets are the categories and labels that images have.
func (s *Store) facets() (categories, labels []string) {
	s.once.Do(s.index)
	return s.categories, s.labels
}

// index finds what is searched, once for each store.
func (s *Store) index() {
	seen := map[string]bool{}
	add := func(list *[]string, kind, value string) {
		if value != "" && !seen[kind+value] && len(*list) < maxFacets {
			seen[kind+value] = true
			*list = append(*list, value)
		}
	}
	s.texts = make([]string, 0, len(s.Images))
	for _, i := range s.Images {
		s.texts = append(s.texts, strings.ToLower(strings.Join(append([]string{i.Name, i.Card.Title, i.Card.Summary}, i.Card.Labels...), " ")))
		add(&s.categories, "category ", i.Card.Category)
		for _, label := range i.Card.Labels {
			add(&s.labels, "label ", label)
		}
	}
	slices.Sort(s.categories)
	slices.Sort(s.labels)
}

// Resolved is what a channel or a version means.
type Resolved struct {
	Name      string          `json:"name"`
	Channel   string          `json:"channel"` // or the version asked for
	Version   release.Version `json:"version"`
	Reference string          `json:"reference"` // registry/repository[:tag]@digest
	Digest    string          `json:"digest"`
	Warning   string          `json:"warning,omitempty"`
}

// Row is one image in a list.
type Row struct {
	Name     string                  `json:"name"`
	Title    string                  `json:"title,omitempty"`
	Summary  string                  `json:"summary,omitempty"`
	Category string                  `json:"category,omitempty"`
	Labels   []string                `json:"labels,omitempty"`
	Logo     string                  `json:"logo,omitempty"` // where pages have its picture
	Latest   *release.Version        `json:"latest,omitempty"`
	Ready    release.ConditionStatus `json:"ready"`
	Reason   release.Reason          `json:"reason"`
	Message  string                  `json:"message"`
	Since    time.Time               `json:"since"` // the newest release, or the last transition where there is none
}

// RowOf is an image as a list shows it.
func RowOf(i Image) Row {
	ready := i.Ready()
	r := Row{
		Name: i.Name, Title: i.Card.Title, Summary: i.Card.Summary, Category: i.Card.Category, Labels: i.Card.Labels,
		Ready: ready.Status, Reason: ready.Reason, Message: ready.Message, Since: ready.Since,
	}
	if i.Card.Logo != "" {
		r.Logo = "/images/" + i.Name + "/logo"
	}
	if latest := i.Latest(); latest != nil {
		r.Latest, r.Since = &latest.Version, latest.Released
	}
	return r
}

// Shown is one image with everything that is recorded of it.
type Shown struct {
	Name string `json:"name"`
	release.ImageStatus
	Releases []schema.Record `json:"releases"`
}
