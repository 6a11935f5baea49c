package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"tidewaiter/reconcile/release"
)

// credential is what a registry is shown; the zero value is nothing.
type credential struct {
	user, password string
	token          string // an identity token, to be exchanged at the realm
}

// String keeps secrets out of anything that prints a value.
func (credential) String() string { return "(credential)" }

var credentialName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// credential reads the credential of a name for one host, as mounted by Kubernetes from a secret of either kind. An empty
// name is no credential, or what the docker config has for the host where one may be used. No error quotes what was read.
func (o Options) credential(ctx context.Context, name, host string) (credential, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout) // for a helper, which may ask a cloud's service
	defer cancel()
	if name == "" {
		return o.own(ctx, host)
	}
	if o.CredentialsDir == "" || !credentialName.MatchString(name) {
		return credential{}, fmt.Errorf("credential %q: there is no such directory of credentials", name)
	}
	dir := filepath.Join(o.CredentialsDir, name)
	file := filepath.Join(dir, ".dockerconfigjson")
	config, err := os.ReadFile(file)
	switch {
	case err == nil:
		found, err := fromDockerConfig(ctx, config, host)
		if err == nil && found == (credential{}) {
			err = fmt.Errorf("there is no entry for %s", host)
		}
		if err != nil {
			return credential{}, fmt.Errorf("credential %q: .dockerconfigjson: %w", name, err)
		}
		return found, nil
	case !errors.Is(err, fs.ErrNotExist):
		return credential{}, fmt.Errorf("reading credential %q: %w", name, err)
	}
	user, err := os.ReadFile(filepath.Join(dir, "username"))
	if err != nil {
		return credential{}, fmt.Errorf("reading credential %q: %w", name, err)
	}
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	if err != nil {
		return credential{}, fmt.Errorf("reading credential %q: %w", name, err)
	}
	return credential{user: strings.TrimRight(string(user), "\r\n"), password: strings.TrimRight(string(password), "\r\n")}, nil
}

// own is what the docker config of whoever runs a command has for a host, if anything.
func (o Options) own(ctx context.Context, host string) (credential, error) {
	if o.DockerConfig == "" {
		return credential{}, nil
	}
	config, err := os.ReadFile(o.DockerConfig)
	if err != nil {
		return credential{}, fmt.Errorf("reading the docker config: %w", err)
	}
	found, err := fromDockerConfig(ctx, config, host)
	if err != nil {
		return credential{}, fmt.Errorf("%s: %w", o.DockerConfig, err)
	}
	return found, nil
}

// fromDockerConfig takes the credential of exactly one host out of a docker config file, in the order of the docker client: the
// helper of the host, the helper of all hosts, the file itself.
func fromDockerConfig(ctx context.Context, config []byte, host string) (credential, error) {
	var file struct {
		Auths       map[string]struct{ Auth, Username, Password, IdentityToken string }
		CredHelpers map[string]string
		CredsStore  string
	}
	if json.Unmarshal(config, &file) != nil {
		return credential{}, errors.New("it is not the JSON of a docker config")
	}
	names := []string{host, "https://" + host, "http://" + host}
	if host == release.DockerHub {
		names = append(names, "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")
	}
	for _, n := range names {
		if helper, ok := file.CredHelpers[n]; ok {
			return fromHelper(ctx, helper, n)
		}
	}
	if file.CredsStore != "" {
		if host == release.DockerHub {
			host = "https://index.docker.io/v1/" // as docker login stores it
		}
		return fromHelper(ctx, file.CredsStore, host)
	}
	for _, n := range names {
		auth, ok := file.Auths[n]
		if !ok {
			continue
		}
		found := credential{auth.Username, auth.Password, auth.IdentityToken}
		if auth.Auth != "" {
			pair, err := base64.StdEncoding.DecodeString(auth.Auth)
			user, password, both := strings.Cut(string(pair), ":")
			if err != nil || !both {
				return credential{}, fmt.Errorf("the entry of %s is not base64 of user:password", host)
			}
			found.user, found.password = user, strings.TrimRight(password, "\x00")
		}
		return found, nil
	}
	return credential{}, nil
}

// helperHasNone is what a helper prints where it works and has no credential (docker-credential-helpers, credentials/error.go).
const helperHasNone = "credentials not found in native keychain"

var helperName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$`)

// fromHelper asks a docker credential helper, a program that the operator installed and named in a file of the operator's; the
// protocol is that of docker-credential-helpers. What it prints besides the credential may be a secret and is not quoted.
func fromHelper(ctx context.Context, name, host string) (credential, error) {
	if !helperName.MatchString(name) {
		return credential{}, fmt.Errorf("%q cannot be the name of a credential helper", name)
	}
	cmd := exec.CommandContext(ctx, "docker-credential-"+name, "get")
	cmd.Stdin = strings.NewReader(host)
	cmd.WaitDelay = time.Second // for what its children hold open
	out := bounded{most: maxOther}
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return credential{}, fmt.Errorf("docker-credential-%s cannot be run: %w", name, err)
	}
	var answer struct{ Username, Secret string }
	switch err := cmd.Wait(); {
	case strings.TrimSpace(string(out.text)) == helperHasNone:
		return credential{}, nil
	case err != nil || json.Unmarshal(out.text, &answer) != nil || answer.Secret == "":
		return credential{}, fmt.Errorf("docker-credential-%s gives no credential for %s", name, host)
	case answer.Username == "<token>":
		return credential{token: answer.Secret}, nil
	}
	return credential{user: answer.Username, password: answer.Secret}, nil
}

// bounded holds what is written to it, up to a bound. A program that goes on writing is ended by its pipe.
type bounded struct {
	text []byte
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > b.most {
		return 0, io.ErrShortWrite
	}
	b.text = append(b.text, p...)
	return len(p), nil
}
