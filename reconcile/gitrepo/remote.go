package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// newRemote reads a URL as git does, and returns the way there and the URL without a password.
func newRemote(o Options) (remote, string, error) {
	if o.URL == "" {
		return nil, "", errors.New("no repository given")
	}
	if !strings.Contains(o.URL, "://") {
		if host, path, ok := scpLike(o.URL); ok {
			user, host, found := cutUser(host)
			if !found {
				user = "git"
			}
			r, err := newSSH(o, user, host, "22", path)
			return r, o.URL, err
		}
		path, err := filepath.Abs(o.URL)
		return stream{local{path}}, path, err
	}
	u, err := url.Parse(o.URL)
	if err != nil { // its text has the URL, and so perhaps a password
		return nil, "", errors.New("the URL of the repository cannot be read; it looks like https://host/path or ssh://user@host/path")
	}
	name := u.Redacted()
	switch u.Scheme {
	case "http", "https":
		r, err := newHTTP(o, u)
		return r, name, err
	case "ssh":
		port, user := u.Port(), u.User.Username()
		if port == "" {
			port = "22"
		}
		if user == "" {
			user = "git"
		}
		path := u.Path
		if strings.HasPrefix(path, "/~") {
			path = path[1:]
		}
		r, err := newSSH(o, user, u.Hostname(), port, path)
		return r, name, err
	case "file":
		return stream{local{filepath.FromSlash(u.Path)}}, name, nil
	}
	return nil, "", fmt.Errorf("%s: the scheme is none of https, http, ssh and file", name)
}

// scpLike splits host:path. As for git, a slash before the colon makes it a local path.
func scpLike(s string) (host, path string, ok bool) {
	host, path, ok = strings.Cut(s, ":")
	return host, path, ok && host != "" && path != "" && !strings.Contains(host, "/")
}

func cutUser(host string) (user, rest string, found bool) {
	i := strings.LastIndexByte(host, '@')
	if i < 0 {
		return "", host, false
	}
	return host[:i], host[i+1:], true
}

// readSecret reads a secret from a file. Only the end of the last line is not part of it.
func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the password file: %w", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("the password file %s is empty", path)
	}
	return secret, nil
}

// unavailable names an error of the network.
func unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
