package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
)

func newRecheck() *cobra.Command {
	var server, tokenFile string
	cmd := &cobra.Command{
		Use:   "recheck [NAME] --server URL --token-file FILE",
		Short: "Make a daemon look again at once",
		Long: `recheck makes a daemon look at once at its repository, and again at an image that it refused: push the image, then recheck.
Without a name it looks at all of them.`,
		Example: "  tidewaiter recheck go-builder --server https://tidewaiter.acme.dev --token-file ~/.tidewaiter-token",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case server == "":
				return errors.New("--server is missing: say where the daemon's page is")
			case tokenFile == "":
				return errors.New("--token-file is missing: it holds what the daemon has in --hook-secret-file")
			}
			token, err := os.ReadFile(tokenFile)
			if err != nil {
				return fmt.Errorf("reading the token: %w", err)
			}
			body, err := json.Marshal(map[string]string{"image": strings.Join(args, "")})
			if err != nil {
				return err
			}
			u, err := url.JoinPath(server, "hooks", "recheck")
			if err != nil {
				return fmt.Errorf("--server: %w", err)
			}
			request, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, u, bytes.NewReader(body))
			if err != nil {
				return fmt.Errorf("--server: %w", err)
			}
			request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
			request.Header.Set("Content-Type", "application/json")
			answer, err := (&http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(request)
			if err != nil {
				return fmt.Errorf("asking the daemon: %w", err)
			}
			defer answer.Body.Close()
			said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
			if answer.StatusCode != http.StatusAccepted {
				return fmt.Errorf("the daemon answers %s: %s", answer.Status, reconcile.Plain(string(said)))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), reconcile.Plain(string(said)))
			return err
		},
	}
	cmd.Flags().StringVar(&server, "server", "", "the URL of the daemon's page (required)")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with the token, which is the secret of the daemon's hooks (required)")
	return cmd
}
