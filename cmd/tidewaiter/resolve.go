package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/release"
)

// resolved is what a channel or a version means.
type resolved struct {
	Name      string          `json:"name"`
	Channel   string          `json:"channel"` // or the version asked for
	Version   release.Version `json:"version"`
	Reference string          `json:"reference"`
	Digest    string          `json:"digest"`
	Warning   string          `json:"warning,omitempty"`
}

func newResolve() *cobra.Command {
	var git gitFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "resolve NAME[@CHANNEL] --repo URL",
		Short: "Say which image a channel means now",
		Long: `resolve says which image a channel means now, by digest.

A channel is latest (the default), 1.latest or 1.4.latest: the highest release of that range that is not withdrawn. An exact
version is resolved too, with a warning where it is withdrawn or the image delisted.`,
		Example: `  docker pull "$(tidewaiter resolve go-builder@1.latest --repo https://git.acme.dev/catalog)"
  eval "$(tidewaiter resolve go-builder -o env --repo https://git.acme.dev/catalog)"    # IMAGE, IMAGE_VERSION, IMAGE_DIGEST`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStatuses(cmd, &git, func(statuses *reconcile.Statuses) error {
				name, channel, _ := strings.Cut(args[0], "@")
				if channel == "" {
					channel = "latest"
				}
				r, err := resolve(statuses, name, channel)
				if err != nil {
					return err
				}
				if r.Warning != "" {
					fmt.Fprintln(cmd.ErrOrStderr(), "warning:", r.Warning)
				}
				w := cmd.OutOrStdout()
				switch output.value {
				case "json":
					return writeValue(w, "json", r)
				case "digest":
					_, err = fmt.Fprintln(w, r.Digest)
				case "env":
					_, err = fmt.Fprintf(w, "IMAGE=%s\nIMAGE_VERSION=%s\nIMAGE_DIGEST=%s\n", r.Reference, r.Version, r.Digest)
				default:
					_, err = fmt.Fprintln(w, r.Reference)
				}
				return err
			})
		},
	}
	git.add(cmd.Flags())
	output.add(cmd, "ref", "digest", "env", "json")
	return cmd
}

// resolve looks up a channel or an exact version. Where it means nothing the error is a problem.
func resolve(statuses *reconcile.Statuses, name, channel string) (resolved, error) {
	status, err := imageOf(statuses, name)
	if err != nil {
		return resolved{}, err
	}
	if version, err := release.ParseVersion(channel); err == nil {
		return resolveVersion(statuses, status, name, version)
	}
	for _, c := range status.Channels {
		if c.Name == channel {
			_, digest, _ := strings.Cut(c.Reference, "@")
			return resolved{Name: name, Channel: channel, Version: c.Version, Reference: c.Reference, Digest: digest}, nil
		}
	}
	var names []string
	for _, c := range status.Channels {
		names = append(names, c.Name)
	}
	switch {
	case !status.Listed && status.Spec != nil:
		return resolved{}, problem{fmt.Errorf("%s is delisted: its channels are empty, exact versions still resolve", name)}
	case len(names) == 0:
		return resolved{}, problem{fmt.Errorf("%s has no release yet; tidewaiter show %s says why", name, name)}
	}
	return resolved{}, problem{fmt.Errorf("%s has no channel %q; it has %s", name, channel, strings.Join(names, ", "))}
}

func resolveVersion(statuses *reconcile.Statuses, status release.ImageStatus, name string, version release.Version) (resolved, error) {
	records, err := statuses.Records(name)
	if err != nil {
		return resolved{}, err
	}
	state := status.Restore(name, nil)
	for _, record := range records {
		made := record.Release()
		if made.Version != version {
			continue
		}
		r := resolved{Name: name, Channel: version.String(), Version: version, Reference: made.Reference(), Digest: string(made.Digest)}
		if reason, withdrawn := state.Withdrawn(version); withdrawn {
			r.Warning = fmt.Sprintf("%s %s is withdrawn: %s", name, version, reconcile.Plain(reason))
		} else if !status.Listed {
			r.Warning = fmt.Sprintf("%s is delisted", name)
		}
		return r, nil
	}
	return resolved{}, problem{fmt.Errorf("%s %s was never released; tidewaiter show %s lists its versions", name, version, name)}
}
