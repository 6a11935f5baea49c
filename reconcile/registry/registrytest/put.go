package registrytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"tidewaiter/reconcile/release"
)

// put pushes an image as the OCI distribution specification has it: blobs, then manifests by digest, then the tag.
func put(ctx context.Context, client *http.Client, base, user, password, repository, tag string, b Built) error {
	send := func(method, to, mediaType string, body []byte, want int) (*url.URL, error) {
		req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", mediaType)
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
			return nil, fmt.Errorf("%s %s: %s %s", method, to, resp.Status, text)
		}
		return resp.Location()
	}
	repo := base + "/v2/" + repository
	for digest, body := range b.Blobs {
		upload, err := send(http.MethodPost, repo+"/blobs/uploads/", "", nil, http.StatusAccepted)
		if err != nil {
			return err
		}
		query := upload.Query()
		query.Set("digest", string(digest))
		upload.RawQuery = query.Encode()
		if _, err := send(http.MethodPut, upload.String(), "application/octet-stream", body, http.StatusCreated); err != nil {
			return err
		}
	}
	document := func(name string, digest release.Digest) error {
		d, ok := b.Documents[digest]
		if !ok {
			return nil
		}
		_, err := send(http.MethodPut, repo+"/manifests/"+name, d.MediaType, d.Body, http.StatusCreated)
		return err
	}
	for digest := range b.Documents {
		if digest != b.Root.Digest {
			if err := document(string(digest), digest); err != nil {
				return err
			}
		}
	}
	return document(tag, b.Root.Digest)
}

// direct sends requests to a handler without a network.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := &answer{status: http.StatusOK, header: http.Header{}}
	d.handler.ServeHTTP(answer, req)
	return &http.Response{
		Status: http.StatusText(answer.status), StatusCode: answer.status, Header: answer.header,
		Body: io.NopCloser(&answer.body), Request: req,
	}, nil
}

// answer collects what a handler writes.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
