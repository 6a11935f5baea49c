package review

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Forge is where people review and merge: it is told what a review found, and asked who approved a merge. It promises that
//   - nothing is written where nothing changed, and each pull request has one comment of ours, which is edited in place;
//   - a comment or status is ours where the forge says that the token's own account wrote it, whatever its text says;
//   - the token goes to the API that was given and nowhere else, and is in no error;
//   - no call sleeps: a forge that limits requests makes a *[Limited], and is asked nothing until then.
//
// Each call ends with its context, and each of the few requests it makes ends after 15 seconds. A Forge is safe for
// concurrent use; writes wait for each other.
type Forge interface {
	// Status sets the commit status "tidewaiter" of a head. A pending one keeps its text until it is decided.
	Status(ctx context.Context, head string, s Status) error
	// Comment makes body the one comment of this daemon on a pull request: it is edited in place where there is one. A line
	// that could be a command to the forge or to a bot is indented by a space, and what is longer than a comment may be is cut.
	Comment(ctx context.Context, number int, body string) error
	// Approval says which pull request a first-parent commit of the catalog's branch merged, and who merged it; false where the
	// forge knows of none, of several, or not by whom.
	Approval(ctx context.Context, commit string) (Approval, bool, error)
	// Open lists the numbers of the pull requests that are open against a branch, newest first, at most as many as asked for
	// and at most 500.
	Open(ctx context.Context, branch string, most int) ([]int, error)
	// Collectors are the metrics of requests to the forge.
	Collectors() []prometheus.Collector
}

// State is what a commit status says.
type State string

// The states. Error says that nobody can tell yet, by no fault of the author; GitLab shows it as failed.
const (
	Success State = "success"
	Failure State = "failure"
	Pending State = "pending"
	Error   State = "error"
)

// Status is a commit status.
type Status struct {
	State   State
	Summary string // one line, cut at 140 characters, which is GitHub's bound
	Link    string // to the full report; may be empty
}

// Approval is a merge that the forge vouches for.
type Approval struct {
	Number int    // of the pull request
	Link   string // to it, or empty where the forge gave none that is one
	Merger string // who merged it: the name of the account, plain text of at most 100 characters
	Author string // who opened it, likewise; may be empty
}

// The kinds of forges.
const (
	kindGitHub = "github"
	kindGitLab = "gitlab"
	kindGitea  = "gitea"
)

// ForgeOptions say which forge it is and how to get in. Files are read again at every use, so that a rotated secret needs no
// restart.
type ForgeOptions struct {
	// Kind is github, gitlab or gitea (which Forgejo is too); empty means what the host of the repository is known for.
	Kind string
	// API is the base URL of the API, such as https://git.acme.dev; empty means the one that belongs to the repository's host.
	API string
	// Repository is the URL of the catalog as Git takes it; its user and password are not used.
	Repository string
	// Branch is the catalog's branch. A merge into any other approves nothing.
	Branch string
	// TokenFile holds the token of the account that posts.
	TokenFile string
	// AppID and AppKeyFile are for a GitHub App instead of a token: its number, and its private key in PEM. Its installation is
	// found from the repository.
	AppID      int64
	AppKeyFile string
	// CAFile holds PEM certificates that are trusted for the API besides the system's.
	CAFile string
}

// What can go wrong, besides a context that ends and *Limited.
var (
	ErrForgeDenied      = errors.New("the forge refuses the token; check that it is valid and what it may do")
	ErrForgeNotFound    = errors.New("the forge does not have this, or hides it from the token; check the repository and what the token may see")
	ErrForgeRefused     = errors.New("the forge refuses the request")
	ErrForgeUnavailable = errors.New("the forge cannot be reached or does not answer as one")
)

// Limited is the error while the forge does not want to be asked.
type Limited struct{ Until time.Time }

func (l *Limited) Error() string {
	return "the forge limits requests; it is left alone until " + l.Until.UTC().Format(time.RFC3339)
}

// NewForge prepares for a forge. It asks nothing; the error is about the options.
func NewForge(o ForgeOptions) (Forge, error) {
	repo, err := locate(o.Repository)
	if err != nil {
		return nil, err
	}
	kind, err := kindOf(o.Kind, repo.host)
	if err != nil {
		return nil, err
	}
	api, err := apiOf(o.API, kind, repo)
	if err != nil {
		return nil, err
	}
	if api.Host == repo.host { // the forge may live below a path of its host
		repo.path = strings.TrimPrefix(repo.path, strings.TrimPrefix(api.Path, "/")+"/")
	}
	owner, name, ok := strings.Cut(repo.path, "/")
	switch {
	case !ok, !repositoryPath.MatchString(repo.path), strings.Contains(name, "/") && kind != kindGitLab:
		return nil, fmt.Errorf("the repository at %s is not called owner/name, as %s has it, but %q", repo.host, kind, repo.path)
	case o.Branch == "":
		return nil, errors.New("no branch given whose merges are approvals")
	case (o.AppID != 0) != (o.AppKeyFile != ""):
		return nil, errors.New("a GitHub App needs both its number and the file of its private key")
	case o.AppID != 0 && o.TokenFile != "":
		return nil, errors.New("give a token or a GitHub App, not both")
	case o.AppID != 0 && kind != kindGitHub:
		return nil, fmt.Errorf("%s has no Apps; give a token", kind)
	case o.AppID == 0 && o.TokenFile == "":
		return nil, fmt.Errorf("%s asks for a token; give the file that holds it", kind)
	}
	d, err := newDoor(api, o.CAFile)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindGitHub:
		return newGitHub(d, o, owner, name), nil
	case kindGitLab:
		return newGitLab(d, o, repo.path), nil
	}
	return newGitea(d, o, owner, name), nil
}

// location is where a repository lies.
type location struct {
	web  string // scheme and host[:port] of its forge's pages, as far as the URL tells
	host string // host[:port] of them
	path string // without slashes around it, and without .git
}

// sshHosts are forges that take ssh through firewalls at another name.
var sshHosts = map[string]string{"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}

// repositoryPath is what the names of owners, groups and repositories are made of.
var repositoryPath = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.][A-Za-z0-9_.-]*)+$`)

// locate reads the URL of a repository, which may hold a password and is not quoted.
func locate(repository string) (location, error) {
	u, err := url.Parse(repository)
	if !strings.Contains(repository, "://") {
		host, path, ok := strings.Cut(repository, ":")
		if _, after, user := strings.Cut(host, "@"); user {
			host = after
		}
		if !ok || host == "" || strings.Contains(host, "/") {
			return location{}, errors.New("a local repository has no forge; give the URL of the catalog at its forge as the repository")
		}
		u, err = &url.URL{Scheme: "ssh", Host: host, Path: path}, nil
	}
	if err != nil || u.Host == "" {
		return location{}, errors.New("the repository's URL names no host, so it is not known which forge it belongs to")
	}
	at := location{path: strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")}
	switch u.Scheme {
	case "http", "https":
		at.host = strings.ToLower(u.Host)
		at.web = u.Scheme + "://" + at.host
	default: // the port is that of ssh
		at.host = strings.ToLower(u.Hostname())
		if web, ok := sshHosts[at.host]; ok {
			at.host = web
		}
		at.web = "https://" + at.host
	}
	return at, nil
}

// kindOf is what an option says, or a host is known for.
func kindOf(given, host string) (string, error) {
	switch given {
	case kindGitHub, kindGitLab, kindGitea:
		return given, nil
	case "":
	default:
		return "", fmt.Errorf("forge %q: want github, gitlab or gitea", given)
	}
	switch {
	case host == "github.com", strings.HasSuffix(host, ".ghe.com"):
		return kindGitHub, nil
	case host == "gitlab.com":
		return kindGitLab, nil
	case host == "codeberg.org", host == "gitea.com":
		return kindGitea, nil
	}
	return "", fmt.Errorf("%s may be any forge; say whether it is github, gitlab or gitea (as Forgejo is)", host)
}

// apiOf is the base URL of the API that was given or belongs to a repository. Nothing but the machine itself is asked without TLS.
func apiOf(given, kind string, repo location) (*url.URL, error) {
	text := given
	if text == "" {
		text = repo.web
		switch {
		case kind != kindGitHub:
		case repo.host == "github.com":
			text = "https://api.github.com"
		case strings.HasSuffix(repo.host, ".ghe.com"): // GitHub Enterprise Cloud with data residency
			text = "https://api." + repo.host
		default:
			text += "/api/v3" // GitHub Enterprise Server
		}
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil, u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("the URL of the forge's API looks like https://host, without user, password and query")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, fmt.Errorf("the forge's API at %s is asked over https only; give its https URL", u.Host)
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// trusting is a transport that trusts the certificates of a file besides the system's.
func trusting(caFile string) (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	if caFile == "" {
		return transport, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA file of the forge: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's CA certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA file %s holds no PEM certificate", caFile)
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return transport, nil
}
