package registrytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"golang.org/x/crypto/bcrypt"
)

// Distribution is the program docker-registry (CNCF Distribution) running on the loopback interface.
type Distribution struct {
	Host           string
	user, password string
	program        *exec.Cmd
	exited         chan struct{}
}

var listening = regexp.MustCompile(`listening on ([0-9.]+:[0-9]+)`)

// StartDistribution runs docker-registry with its data and configuration in dir, anonymous where user is empty, else with an
// htpasswd file. The error is exec.ErrNotFound where the program is not installed; Debian's package is docker-registry.
func StartDistribution(dir, user, password string) (*Distribution, error) {
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: '127.0.0.1:0'}\n",
		filepath.Join(dir, "data"))
	if user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return nil, err
		}
		users := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(users, fmt.Appendf(nil, "%s:%s\n", user, hash), 0o600); err != nil {
			return nil, err
		}
		config += fmt.Sprintf("auth: {htpasswd: {realm: registrytest, path: %q}}\n", users)
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	d := &Distribution{user: user, password: password, program: exec.Command(path, "serve", file), exited: make(chan struct{})}
	d.program.Env = []string{} // REGISTRY_* would override the file
	log, err := d.program.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := d.program.Start(); err != nil {
		return nil, err
	}
	address := make(chan string, 1)
	go func() {
		defer close(d.exited)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
		_ = d.program.Wait()
	}()
	select {
	case d.Host = <-address:
		return d, nil
	case <-d.exited:
		return nil, errors.New("docker-registry ended before it listened")
	}
}

// Put stores a built image under a tag.
func (d *Distribution) Put(ctx context.Context, repository, tag string, b Built) error {
	return put(ctx, http.DefaultClient, "http://"+d.Host, d.user, d.password, repository, tag, b)
}

// Close ends the program.
func (d *Distribution) Close() error {
	err := d.program.Process.Kill()
	<-d.exited
	return err
}
