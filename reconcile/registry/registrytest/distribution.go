package registrytest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
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
	Host string
	// CA is the certificate, in PEM, that clients must trust where it speaks TLS.
	CA []byte

	options Options
	base    string // URL
	client  *http.Client
	program *exec.Cmd
	exited  chan struct{}
}

var listening = regexp.MustCompile(`listening on ([0-9.]+:[0-9]+)`)

// StartDistribution runs docker-registry with its data and configuration in dir, anonymous where there is no user, else with an
// htpasswd file; it has no token server. The error is exec.ErrNotFound where the program is not installed; Debian's package is
// docker-registry.
func StartDistribution(dir string, options Options) (*Distribution, error) {
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, err
	}
	d := &Distribution{options: options, base: "http://", client: http.DefaultClient, exited: make(chan struct{})}
	config := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp:\n  addr: '127.0.0.1:0'\n",
		filepath.Join(dir, "data"))
	if options.TLS {
		tls, err := d.secure(dir)
		if err != nil {
			return nil, err
		}
		config += tls
	}
	if options.User != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(options.Password), bcrypt.MinCost)
		if err != nil {
			return nil, err
		}
		users := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(users, fmt.Appendf(nil, "%s:%s\n", options.User, hash), 0o600); err != nil {
			return nil, err
		}
		config += fmt.Sprintf("auth: {htpasswd: {realm: registrytest, path: %q}}\n", users)
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	d.program = exec.Command(path, "serve", file)
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
		d.base += d.Host
		return d, nil
	case <-d.exited:
		return nil, errors.New("docker-registry ended before it listened")
	}
}

// Put stores a built image under a tag.
func (d *Distribution) Put(ctx context.Context, repository, tag string, b Built) error {
	return put(ctx, d.client, d.base, d.options.User, d.options.Password, repository, tag, b)
}

// secure makes a certificate and returns the lines of the configuration that use it.
func (d *Distribution) secure(dir string) (string, error) {
	certificate, ca, err := selfSigned(d.options.Names)
	if err != nil {
		return "", err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return "", err
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(os.WriteFile(certFile, ca, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	if err != nil {
		return "", err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	d.CA, d.base = ca, "https://"
	d.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}
	return fmt.Sprintf("  tls: {certificate: %q, key: %q}\n", certFile, keyFile), nil
}

// Close ends the program.
func (d *Distribution) Close() error {
	err := d.program.Process.Kill()
	<-d.exited
	return err
}
