package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// sshDialer runs Git's programs on an ssh server. Every call is a connection of its own; nothing stays open between two.
type sshDialer struct {
	user, host, port, path string
	keyFile, knownHosts    string
}

func newSSH(o Options, user, host, port, path string) (remote, error) {
	host = strings.Trim(host, "[]")
	if o.SSHKeyFile == "" {
		return nil, errors.New("a repository over ssh needs an ssh key file")
	}
	if o.KnownHostsFile == "" {
		return nil, fmt.Errorf("a repository over ssh needs a known hosts file; make one with: %s", keyscan(host, port))
	}
	return stream{sshDialer{user, host, port, path, o.SSHKeyFile, o.KnownHostsFile}}, nil
}

func keyscan(host, port string) string {
	return fmt.Sprintf("ssh-keyscan -p %s %s, and compare the key with what the server's administrator says", port, host)
}

func (d sshDialer) dial(ctx context.Context, program, version string) (*conn, error) {
	config, err := d.config()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(d.host, d.port)
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	release := context.AfterFunc(ctx, func() { tcp.Close() }) // ends the handshake, which knows no context
	defer release()
	c, channels, requests, err := ssh.NewClientConn(tcp, address, config)
	if err != nil {
		tcp.Close()
		return nil, d.judge(ctx, err)
	}
	client := ssh.NewClient(c, channels, requests)
	conn, err := d.start(client, program, version)
	if err != nil {
		client.Close()
		return nil, unavailable(ctx, err)
	}
	return conn, nil
}

func (d sshDialer) config() (*ssh.ClientConfig, error) {
	pem, err := os.ReadFile(d.keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the ssh key file: %w", err)
	}
	key, err := ssh.ParsePrivateKey(pem)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		return nil, fmt.Errorf("the ssh key file %s is encrypted; use a key without a passphrase", d.keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("the ssh key file %s holds no private key that can be used: %w", d.keyFile, err)
	}
	known, err := knownhosts.NewDB(d.knownHosts)
	if err != nil {
		return nil, fmt.Errorf("reading the known hosts file: %w", err)
	}
	return &ssh.ClientConfig{
		User:            d.user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: known.HostKeyCallback(),
		// Without this the server may offer a key of another kind than the one that is known.
		HostKeyAlgorithms: known.HostKeyAlgorithms(net.JoinHostPort(d.host, d.port)),
	}, nil
}

func (d sshDialer) judge(ctx context.Context, err error) error {
	switch {
	case knownhosts.IsHostKeyChanged(err):
		return fmt.Errorf("%w: %s has another key than %s says; if that is right, replace it there: %s",
			ErrHostKey, d.host, d.knownHosts, keyscan(d.host, d.port))
	case knownhosts.IsHostUnknown(err):
		return fmt.Errorf("%w: %s is not in %s; add it: %s", ErrHostKey, d.host, d.knownHosts, keyscan(d.host, d.port))
	case strings.Contains(err.Error(), "unable to authenticate"): // x/crypto has no type for it
		return fmt.Errorf("%w: the server does not accept the key in %s for user %s", ErrAuth, d.keyFile, d.user)
	}
	return unavailable(ctx, err)
}

func (d sshDialer) start(client *ssh.Client, program, version string) (*conn, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	c := &conn{stderr: &tail{}}
	session.Stderr = c.stderr
	if c.in, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = session.StdoutPipe(); err != nil {
		return nil, err
	}
	if version != version0 {
		_ = session.Setenv("GIT_PROTOCOL", version) // where the server does not accept it, its answer is in version 0
	}
	if err := session.Start(program + " " + quote(d.path)); err != nil {
		return nil, err
	}
	c.stop = func() error {
		err := client.Close()
		_ = session.Wait() // then all of stderr is here
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		return err
	}
	return c, nil
}

// quote is for the shell of the other side, as git does it.
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}
