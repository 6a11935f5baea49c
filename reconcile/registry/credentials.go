package registry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

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

// readCredential reads the credential of a name for one host, as mounted by Kubernetes from a secret of either kind. An empty
// name is no credential. No error quotes what was read.
func readCredential(dir, name, host string) (credential, error) {
	if name == "" {
		return credential{}, nil
	}
	if dir == "" || !credentialName.MatchString(name) {
		return credential{}, fmt.Errorf("credential %q: there is no such directory of credentials", name)
	}
	dir = filepath.Join(dir, name)
	config, err := os.ReadFile(filepath.Join(dir, ".dockerconfigjson"))
	switch {
	case err == nil:
		return fromDockerConfig(config, name, host)
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

// fromDockerConfig takes the entry of exactly one host out of a docker config file.
func fromDockerConfig(config []byte, name, host string) (credential, error) {
	var file struct {
		Auths map[string]struct{ Auth, Username, Password, IdentityToken string }
	}
	if json.Unmarshal(config, &file) != nil {
		return credential{}, fmt.Errorf("credential %q: .dockerconfigjson is not the JSON of a docker config", name)
	}
	names := []string{host, "https://" + host, "http://" + host}
	if host == release.DockerHub {
		names = append(names, "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")
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
				return credential{}, fmt.Errorf("credential %q: the entry of %s is not base64 of user:password", name, host)
			}
			found.user, found.password = user, strings.TrimRight(password, "\x00")
		}
		return found, nil
	}
	return credential{}, fmt.Errorf("credential %q: .dockerconfigjson has no entry for %s", name, host)
}
