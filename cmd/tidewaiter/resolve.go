package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
)

func newResolve() *cobra.Command {
	var from source
	var output outputFlag
	var project string
	var number int
	cmd := &cobra.Command{
		Use:   "resolve NAME[@CHANNEL] --repo URL",
		Short: "Say which image a channel means now",
		Long: `resolve says which image a channel means now, by digest.

A channel is latest (the default), 1.latest or 1.4.latest: the highest release of that range that is not withdrawn. An exact
version is resolved too, with a warning where it is withdrawn or the image delisted.

A debug project asks a daemon, with --project, --review and its token, what a channel will mean once a pull request is merged.`,
		Example: `  docker pull "$(tidewaiter resolve go-builder@1.latest --repo https://git.acme.dev/catalog)"
  eval "$(tidewaiter resolve go-builder -o env --server https://tidewaiter.acme.dev)"    # IMAGE, IMAGE_VERSION, IMAGE_DIGEST
  tidewaiter resolve go-builder@1.latest --server https://tidewaiter.acme.dev --project ci-sandbox --review 12 --token-file token`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, channel, _ := strings.Cut(args[0], "@")
			var query url.Values
			switch asked := project != "" || number != 0; {
			case asked && from.server == "":
				return errors.New("--server is missing: what is not merged is known to a daemon only")
			case asked && (project == "" || number == 0):
				return errors.New("--project and --review go together: say who tries which pull request")
			case asked && from.tokenFile == "":
				return errors.New("--token-file is missing: it holds the token of the debug project")
			case asked:
				query = url.Values{"project": {project}, "review": {strconv.Itoa(number)}}
			}
			r, err := from.resolve(cmd, name, cmp.Or(channel, "latest"), query)
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
	cmd.Flags().StringVar(&project, "project", "", "the debug project that tries what a pull request would release")
	cmd.Flags().IntVar(&number, "review", 0, "the number of that pull request")
	cmd.Flags().StringVar(&from.tokenFile, "token-file", "", "file with the token of the debug project")
	output.add(cmd, "ref", "digest", "env", "json")
	return cmd
}
