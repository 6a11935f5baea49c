package gittest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// SSH is OpenSSH's server on the loopback interface. It lets one key run Git's programs, on any repository of this machine.
type SSH struct {
	Address    string // host:port
	User       string
	KeyFile    string // the private key that is let in
	KnownHosts string // a file with one of the server's two host keys
}

// StartSSH starts the server, with more lines of sshd_config where they are given. Where there is no sshd the test is skipped, or fails if TIDEWAITER_TEST_REQUIRE is set.
func StartSSH(t testing.TB, lines ...string) *SSH {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd"
		_, err = os.Stat(sshd)
	}
	if err != nil {
		if os.Getenv("TIDEWAITER_TEST_REQUIRE") != "" {
			t.Fatal("sshd is required: install openssh-server")
		}
		t.Skip("there is no sshd here")
	}
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if who.Uid == "0" {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // its privilege separation, which packages make at boot
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	known := WriteKey(t, dir, "host", hostKey)
	WriteKey(t, dir, "other", otherKey) // which clients that know one key must not be confused by
	_, clientKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client := WriteKey(t, dir, "client", clientKey)
	write(t, filepath.Join(dir, "authorized_keys"), `restrict,command="git-shell -c \"$SSH_ORIGINAL_COMMAND\"" `+string(ssh.MarshalAuthorizedKey(client)))
	write(t, filepath.Join(dir, "config"), fmt.Sprintf(`
HostKey %[1]s/host
HostKey %[1]s/other
AuthorizedKeysFile %[1]s/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
%[2]s
`, dir, strings.Join(lines, "\n")))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &SSH{
		Address: listener.Addr().String(), User: who.Username,
		KeyFile: filepath.Join(dir, "client"), KnownHosts: filepath.Join(dir, "known_hosts"),
	}
	write(t, s.KnownHosts, knownhosts.Line([]string{s.Address}, known)+"\n")

	// As inetd does it: the socket is ours, so that there is no port to guess, and every connection gets an sshd of its own.
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(t, conn.(*net.TCPConn), sshd, filepath.Join(dir, "config")) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return s
}

func serve(t testing.TB, conn *net.TCPConn, sshd, config string) {
	socket, err := conn.File()
	conn.Close()
	if err != nil {
		t.Error(err)
		return
	}
	defer socket.Close()
	cmd := exec.Command(sshd, "-i", "-e", "-f", config)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, io.Discard
	cmd.Run() // how it ends says how the connection ended, which the client knows
}

// WriteKey writes a private key in OpenSSH's format into a directory, and returns its public half.
func WriteKey(t testing.TB, dir, name string, key crypto.Signer) ssh.PublicKey {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(block)))
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Repo is the URL of a repository in a directory of this machine.
func (s *SSH) Repo(dir string) string {
	return "ssh://" + s.User + "@" + s.Address + "/" + strings.TrimPrefix(dir, "/")
}
