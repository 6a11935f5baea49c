package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
)

func newResolve() *cobra.Command {
	var from source
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "resolve NAME[@CHANNEL] --repo URL",
		Short: "Say which image a channel means now",
		Long: `resolve says which image a channel means now, by digest.

A channel is latest (the default), 1.latest or 1.4.latest: the highest release of that range that is not withdrawn. An exact
version is resolved too, with a warning where it is withdrawn or the image delisted.`,
		Example: `  docker pull "$(tidewaiter resolve go-builder@1.latest --repo https://git.acme.dev/catalog)"
  eval "$(tidewaiter resolve go-builder -o env --server https://tidewaiter.acme.dev)"    # IMAGE, IMAGE_VERSION, IMAGE_DIGEST`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, channel, _ := strings.Cut(args[0], "@")
			r, err := from.resolve(cmd, name, cmp.Or(channel, "latest"))
			if err != nil {
				return err
			}
			if r.Warning != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", reconcile.Plain(r.Warning))
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
		},
	}
	from.add(cmd)
	output.add(cmd, "ref", "digest", "env", "json")
	return cmd
}
