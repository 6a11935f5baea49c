package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/web"
)

// source is where a command reads a catalog's state from: its repository, or the page of a daemon.
type source struct {
	git       gitFlags
	server    string
	tokenFile string // shown to the server; empty for none
}

func (s *source) add(cmd *cobra.Command) {
	s.git.add(cmd.Flags())
	cmd.Flags().Lookup("repo").Usage = "the catalog's repository: https://, ssh://, user@host:path, file:// or a path"
	cmd.Flags().StringVar(&s.server, "server", "", "the URL of a daemon's page, which is asked instead of the repository")
}

// rows are all images.
func (s *source) rows(cmd *cobra.Command) (rows []web.Row, err error) {
	rows = []web.Row{}
	if s.server != "" {
		for page := 1; ; page++ {
			var p web.Page
			if err := s.ask(cmd.Context(), &p, url.Values{"page": {strconv.Itoa(page)}, "per_page": {"500"}}, "images"); err != nil {
				return nil, err
			}
			if rows = append(rows, p.Images...); page >= p.Pages {
				return rows, nil
			}
		}
	}
	err = withStatuses(cmd, &s.git, func(statuses *reconcile.Statuses) error {
		names, err := statuses.Names()
		if err != nil {
			return err
		}
		for _, name := range names {
			status, _, err := statuses.Image(name)
			if err != nil {
				return err
			}
			rows = append(rows, web.RowOf(web.Image{Name: name, Status: status}))
		}
		return nil
	})
	return rows, err
}

// image is one image and its releases.
func (s *source) image(cmd *cobra.Command, name string) (shown web.Shown, err error) {
	if s.server != "" {
		return shown, s.ask(cmd.Context(), &shown, nil, "images", name)
	}
	err = withStatuses(cmd, &s.git, func(statuses *reconcile.Statuses) error {
		status, err := imageOf(statuses, name)
		if err != nil {
			return err
		}
		records, err := statuses.Records(name)
		shown = web.Shown{Name: name, ImageStatus: status, Releases: records}
		return err
	})
	return shown, err
}

// resolve is what a channel or version means; with a query to a debug project.
func (s *source) resolve(cmd *cobra.Command, name, channel string, query url.Values) (resolved web.Resolved, err error) {
	if s.server != "" {
		return resolved, s.ask(cmd.Context(), &resolved, query, "resolve", name, channel)
	}
	err = withStatuses(cmd, &s.git, func(statuses *reconcile.Statuses) error {
		resolved, err = statuses.Resolve(name, channel)
		return err
	})
	return resolved, err
}

// maxAnswer bounds what a daemon may answer, in bytes.
const maxAnswer = 64 << 20

// ask gets a value from a daemon. What it says it does not have is an answer too.
func (s *source) ask(ctx context.Context, into any, query url.Values, elements ...string) error {
	escaped := []string{"api", "v1"}
	for _, e := range elements {
		escaped = append(escaped, url.PathEscape(e))
	}
	u, err := url.Parse(s.server)
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	u = u.JoinPath(escaped...)
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	if s.tokenFile != "" {
		token, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return fmt.Errorf("reading the token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	answer, err := (&http.Client{Timeout: time.Minute}).Do(request) // which shows the header to no other host
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	defer answer.Body.Close()
	body := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode == http.StatusOK {
		if err := body.Decode(into); err != nil {
			return fmt.Errorf("%s answers with something else than a daemon's: %w", u.Redacted(), err)
		}
		return nil
	}
	var said web.Problem
	_ = body.Decode(&said) // where it says nothing, the status has to do
	text := reconcile.Plain(cmp.Or(said.Detail, answer.Status))
	if answer.StatusCode == http.StatusNotFound && said.Detail != "" {
		return problem{errors.New(text)}
	}
	return fmt.Errorf("the daemon answers: %s", text)
}
