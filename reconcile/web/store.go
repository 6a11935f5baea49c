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

	once               sync.Once // finds the rest when it is first asked for
	categories, labels []string
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
}

// Ready is the condition of that type.
func (i Image) Ready() release.Condition {
	for _, c := range i.Status.Conditions {
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
}

// Select returns the images that a filter lets through, by name.
func (s *Store) Select(f Filter) []*Image {
	words := strings.Fields(strings.ToLower(f.Text))
	found := make([]*Image, 0, len(s.Images))
	for n := range s.Images {
		if f.matches(&s.Images[n], words) {
			found = append(found, &s.Images[n])
		}
	}
	return found
}

func (f Filter) matches(i *Image, words []string) bool {
	switch {
	case f.Category != "" && i.Card.Category != f.Category,
		f.Label != "" && !slices.Contains(i.Card.Labels, f.Label),
		f.State != "" && string(i.Ready().Status) != f.State:
		return false
	case len(words) == 0:
		return true
	}
	text := strings.ToLower(strings.Join(append([]string{i.Name, i.Card.Title, i.Card.Summary}, i.Card.Labels...), " "))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
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
