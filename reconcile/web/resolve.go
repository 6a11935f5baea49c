package web

import (
	"fmt"
	"strings"

	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// NoAnswer is an answer of the catalog that is not the one hoped for: it has no such image, channel or version.
type NoAnswer struct{ text string }

func (n *NoAnswer) Error() string { return n.text }

// NoAnswerf makes one.
func NoAnswerf(format string, args ...any) error { return &NoAnswer{fmt.Sprintf(format, args...)} }

// Resolve says which image a channel or an exact version of an image means now. The error is a *NoAnswer where it means nothing.
func Resolve(i Image, channel string, records func(name string) ([]schema.Record, error)) (Resolved, error) {
	name, status := i.Name, i.Status
	if version, err := release.ParseVersion(channel); err == nil {
		all, err := records(name)
		if err != nil {
			return Resolved{}, err
		}
		return resolveVersion(name, version, status, all)
	}
	var names []string
	for _, c := range status.Channels {
		if c.Name == channel {
			_, digest, _ := strings.Cut(c.Reference, "@")
			return Resolved{Name: name, Channel: channel, Version: c.Version, Reference: c.Reference, Digest: digest}, nil
		}
		names = append(names, c.Name)
	}
	switch {
	case !status.Listed && status.Spec != nil:
		return Resolved{}, NoAnswerf("%s is delisted: its channels are empty, exact versions still resolve", name)
	case len(names) == 0:
		return Resolved{}, NoAnswerf("%s has no release yet; tidewaiter show %s says why", name, name)
	}
	return Resolved{}, NoAnswerf("%s has no channel %q; it has %s", name, channel, strings.Join(names, ", "))
}

func resolveVersion(name string, version release.Version, status release.ImageStatus, records []schema.Record) (Resolved, error) {
	state := status.Restore(name, nil)
	for _, record := range records {
		made := record.Release()
		if made.Version != version {
			continue
		}
		r := Resolved{Name: name, Channel: version.String(), Version: version, Reference: made.Reference(), Digest: string(made.Digest)}
		if reason, withdrawn := state.Withdrawn(version); withdrawn {
			r.Warning = fmt.Sprintf("%s %s is withdrawn: %s", name, version, reason)
		} else if !status.Listed {
			r.Warning = fmt.Sprintf("%s is delisted", name)
		}
		return r, nil
	}
	return Resolved{}, NoAnswerf("%s %s was never released; tidewaiter show %s lists its versions", name, version, name)
}
