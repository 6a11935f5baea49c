package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

const repoName = "catalog.git"

// bare is the repository's directory on the server.
func (s *stage) bare() string { return s.git.Dir(repoName) }

// startGit starts a Git server with an empty repository, and clones it into the directory catalog. Programs find it by
// TIDEWAITER_REPO; $BARE is its directory, $GIT the URL of the server.
func startGit(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	s.git = gittest.NewServer(s)
	s.git.Create(repoName)
	s.Cleanup(s.checkHistory)
	clone := s.git.Repo(repoName)
	if len(args) == 2 {
		s.git.SetUser(args[0], args[1])
		clone = s.git.RepoAs(repoName, args[0], args[1])
	}
	s.author = gittest.NewAuthor(s, clone)
	catalog := filepath.Join(s.work, "catalog")
	if err := os.Rename(s.author.Dir, catalog); err != nil {
		return "", err
	}
	s.author.Dir = catalog
	ts.Setenv("TIDEWAITER_REPO", s.git.Repo(repoName))
	ts.Setenv("BARE", s.bare())
	ts.Setenv("GIT", s.git.URL)
	return "", nil
}

// startSSH lets programs reach the repository of the Git server through a real sshd, as TIDEWAITER_REPO. Its keys are in the
// directory ssh: host, host.pub, key, key.pub and known_hosts. Each connection gets an sshd of its own, on a socket opened
// here, so no port has to be guessed.
func startSSH(s *stage, ts *testscript.TestScript, _ []string) (string, error) {
	s.require("sshd")
	dir := filepath.Join(s.work, "ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"host", "key"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file(key)).CombinedOutput(); err != nil {
			return "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	me, err := user.Current()
	if err != nil {
		return "", err
	}
	if me.Uid == "0" { // where sshd drops its privileges
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return "", err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return "", err
	}
	host, hostErr := os.ReadFile(file("host.pub"))
	key, keyErr := os.ReadFile(file("key.pub"))
	config := fmt.Sprintf("HostKey %s\nAuthorizedKeysFile %s\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPidFile none\n",
		file("host"), file("authorized_keys"))
	err = errors.Join(hostErr, keyErr,
		os.WriteFile(file("sshd_config"), []byte(config), 0o600),
		os.WriteFile(file("authorized_keys"), fmt.Appendf(nil, "restrict,command=\"git-shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" %s", key), 0o644),
		os.WriteFile(file("known_hosts"), fmt.Appendf(nil, "[127.0.0.1]:%s %s", port, host), 0o644))
	if err != nil {
		return "", err
	}
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		return "", err
	}
	go serveSSH(listener, sshd, "-i", "-f", file("sshd_config"), "-E", file("log"))
	s.Cleanup(func() { listener.Close() })
	ts.Setenv("TIDEWAITER_REPO", fmt.Sprintf("ssh://%s@127.0.0.1:%s%s", me.Username, port, s.bare()))
	return "", nil
}

// serveSSH gives each connection to a program as its standard input and output, until the listener is closed.
func serveSSH(listener net.Listener, program string, args ...string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		socket, err := conn.(*net.TCPConn).File()
		conn.Close()
		if err != nil {
			continue
		}
		cmd := exec.Command(program, args...)
		cmd.Stdin, cmd.Stdout = socket, socket
		err = cmd.Start()
		socket.Close()
		if err == nil {
			go cmd.Wait()
		}
	}
}

// startRegistry starts the embedded registry; $NAME is its host. Where it asks for a user, the credential NAME has it; where it speaks
// TLS, its certificate is the file NAME.pem, which nobody trusts yet.
func startRegistry(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	var options registrytest.Options
	if len(args) > 1 {
		options.Bearer, options.TLS = args[1] == "bearer", args[1] == "tls"
	}
	if len(args) == 4 {
		options.User, options.Password = args[2], args[3]
	}
	r, err := registrytest.Start(options)
	if err != nil {
		return "", err
	}
	s.Cleanup(func() { r.Close() })
	if options.TLS {
		if err := os.WriteFile(filepath.Join(s.work, args[0]+".pem"), r.CA, 0o600); err != nil {
			return "", err
		}
	}
	return "", s.add(ts, &hub{args[0], r.Host, options.User, r.Put, r}, options.Password)
}

// startForge starts the API of a forge as Gitea documents it (docs.gitea.com/api), as far as it lists the pull requests of
// acme/catalog, of which there are none, to who has the token. $FORGE is its URL. That a real one answers so is tested in package review.
func startForge(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("Authorization") != "token "+args[0]:
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method != http.MethodGet || r.URL.Path != "/api/v1/repos/acme/catalog/pulls":
			w.WriteHeader(http.StatusNotFound)
		default:
			fmt.Fprint(w, "[]")
		}
	}))
	s.Cleanup(server.Close)
	ts.Setenv("FORGE", server.URL)
	return "", nil
}

// startDistribution starts Debian's docker-registry, which speaks TLS and asks for the user; the credential NAME has it, and
// TIDEWAITER_REGISTRY_CA_FILE its certificate.
func startDistribution(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	s.require("docker-registry")
	dir := filepath.Join(s.work, "distribution-"+args[0])
	if err := os.Mkdir(dir, 0o777); err != nil {
		return "", err
	}
	d, err := registrytest.StartDistribution(dir, registrytest.Options{User: args[1], Password: args[2], TLS: true})
	if err != nil {
		return "", err
	}
	s.Cleanup(func() { d.Close() })
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, d.CA, 0o600); err != nil {
		return "", err
	}
	ts.Setenv("TIDEWAITER_REGISTRY_CA_FILE", ca)
	return "", s.add(ts, &hub{args[0], d.Host, args[1], d.Put, nil}, args[2])
}

func (s *stage) add(ts *testscript.TestScript, h *hub, password string) error {
	s.registries = append(s.registries, h)
	ts.Setenv(h.name, h.host)
	if h.user == "" {
		return nil
	}
	dir := filepath.Join(s.work, "credentials", h.name)
	return errors.Join(os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "username"), []byte(h.user+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "password"), []byte(password+"\n"), 0o600))
}

// fault makes a server misbehave in one way from now on; the kind none ends it.
func fault(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	name, kind := args[0], args[1]
	if name == "git" {
		return "", s.faultOfGit(kind)
	}
	h, err := s.hub(name)
	if err != nil {
		return "", err
	}
	refuse := func(code int) answer {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(code)
			return true
		}
	}
	var instead answer
	switch kind {
	case "none":
		h.embedded.Wrap(nil)
		return "", nil
	case "down":
		instead = refuse(http.StatusServiceUnavailable)
	case "limited":
		instead = refuse(http.StatusTooManyRequests)
	case "forbidden":
		instead = refuse(http.StatusForbidden)
	case "odd": // an answer that registries do not give
		instead = refuse(http.StatusTeapot)
	case "empty": // nor this one
		instead = refuse(http.StatusAccepted)
	case "clock": // it is two hours ahead
		instead = func(w http.ResponseWriter, _ *http.Request) bool { return wrongClock(w) }
	case "together": // it answers only while another one of this kind is asked too
		instead = func(w http.ResponseWriter, _ *http.Request) bool {
			select {
			case s.together <- true:
			case <-s.together:
			case <-time.After(patience / 2):
				w.WriteHeader(http.StatusGatewayTimeout)
				return true
			}
			return false
		}
	case "lying": // about what a manifest's digest names
		instead = func(w http.ResponseWriter, r *http.Request) bool {
			lies := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256:")
			if lies {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				fmt.Fprint(w, `{"schemaVersion":2,"manifests":[]}`)
			}
			return lies
		}
	default:
		return "", fmt.Errorf("no such fault: %s", kind)
	}
	h.embedded.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !instead(w, r) {
				next.ServeHTTP(w, r)
			}
		})
	})
	return "", nil
}

// wrongClock dates an answer that is still to be given in two hours' time.
func wrongClock(w http.ResponseWriter) bool {
	w.Header().Set("Date", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))
	return false
}

// answer answers a request in place of a server, or says that it has not.
type answer func(http.ResponseWriter, *http.Request) bool

func (s *stage) faultOfGit(kind string) error {
	const push, asksToPush = "/git-receive-pack", "service=git-receive-pack"
	switch kind {
	case "none":
		s.git.Heal()
	case "answer-lost": // the push is done, and its answer is lost
		s.git.Fail(push, gittest.LoseAnswer)
	case "slow-push":
		s.git.Fail(push, func(w http.ResponseWriter, r *http.Request, server http.Handler) {
			time.Sleep(500 * time.Millisecond)
			server.ServeHTTP(w, r)
		})
	case "push-forbidden": // as where the user may only read
		s.git.Fail(asksToPush, gittest.Refuse(http.StatusForbidden))
	case "push-login": // as where everybody may read, and users push
		s.git.Fail(asksToPush, gittest.Refuse(http.StatusUnauthorized))
	case "odd": // an answer that Git servers do not give
		s.git.Fail("/", gittest.Refuse(http.StatusTeapot))
	case "clock": // it is two hours ahead
		s.git.Fail("/", func(w http.ResponseWriter, r *http.Request, server http.Handler) {
			wrongClock(w)
			server.ServeHTTP(w, r)
		})
	default:
		return fmt.Errorf("no such fault: %s", kind)
	}
	return nil
}

// protect makes the server's hook refuse pushes to a branch.
func protect(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	s.git.Protect(repoName, args[0], args[1])
	return "", nil
}

// pushImage pushes a small image; every SEED is another one. Its platforms are linux/amd64 unless some are given. Defects:
// -no-layer and -no-manifest push it without one of its parts, -artifact makes it no image, -entrypoint starts another program, -entrypoint=SEED that of another image.
// $DIGEST is its digest.
func pushImage(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	h, err := s.hub(args[0])
	if err != nil {
		return "", err
	}
	repository, tag, ok := strings.Cut(args[1], ":")
	if !ok {
		return "", fmt.Errorf("%s: want REPOSITORY:TAG", args[1])
	}
	seed := args[2]
	image := registrytest.Image{Seed: seed}
	var spoil []func(*registrytest.Built)
	for _, arg := range args[3:] {
		if other, is := strings.CutPrefix(arg, "-entrypoint="); is {
			image.Config.Entrypoint = []string{"/" + other}
			continue
		}
		switch arg {
		case "-no-layer":
			spoil = append(spoil, func(b *registrytest.Built) { delete(b.Blobs, b.Manifests[0].Layers[0].Digest) })
		case "-no-manifest":
			spoil = append(spoil, func(b *registrytest.Built) {
				for digest, document := range b.Documents {
					if digest != b.Root.Digest && document.MediaType != b.Root.MediaType {
						delete(b.Documents, digest)
						return
					}
				}
			})
		case "-artifact":
			spoil = append(spoil, func(b *registrytest.Built) {
				m := b.Manifests[0]
				m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
				b.Root = b.Add(m.MediaType, m)
			})
		case "-entrypoint":
			image.Config.Entrypoint = []string{"/" + seed}
		default:
			image.Platforms = append(image.Platforms, arg)
		}
	}
	built := image.Build()
	for _, do := range spoil {
		do(&built)
	}
	s.seeds[built.Root.Digest] = seed
	ts.Setenv("DIGEST", string(built.Root.Digest))
	return "", h.put(context.Background(), repository, tag, built)
}

// seedOf is the seed of an image where it is known, as scripts write it.
func (s *stage) seedOf(digest release.Digest) string {
	if seed, ok := s.seeds[digest]; ok {
		return seed
	}
	return string(digest)
}
