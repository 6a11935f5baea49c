package reconcile

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
)

// hostile is a world whose catalog has go 1.0.0 and a registry that asks for a user, where a stranger may open pull requests, and
// the daemon that reviews them.
func hostile(t *testing.T, policy ...string) (w *world, d *daemon, private *registrytest.Registry) {
	w = newWorld(t)
	private = startRegistry(t, registrytest.Options{User: "puller", Password: "s3cret"})
	dir := filepath.Join(t.TempDir(), "pull")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"username": "puller", "password": "s3cret"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.author.Write("catalog.yaml", strings.Replace(policyOf([]string{w.registry.Host}, policy...), "  registries:\n",
		"  registries:\n    - {host: \""+private.Host+"\", credentials: pull}\n", 1))
	w.publish("go", "1", "compatible-fix: The first one.")
	d = w.start(reviewing, func(c *Config) { c.Registry.CredentialsDir = filepath.Dir(dir) })
	d.settle()
	w.registry.Requests()
	d.run()
	return w, d, private
}

// untouched wants that a registry was asked nothing.
func untouched(t *testing.T, r *registrytest.Registry) {
	t.Helper()
	if asked := r.Requests(); len(asked) > 0 {
		t.Errorf("a registry was asked %v", asked)
	}
}

func withCredential(spec, credential string) string {
	return strings.Replace(spec, "    tag: ", "    credentials: "+credential+"\n    tag: ", 1)
}

// A stranger's pull request is judged by the base alone: it lists no registry, binds no credential and loosens no rule for itself.
func TestAStrangersPolicyDecidesNothing(t *testing.T) {
	w, d, _ := hostile(t)
	internal := startRegistry(t, registrytest.Options{})
	pushImage(t, internal, "thief", "1", "thief")
	w.author.Write("catalog.yaml", policyOf([]string{internal.Host}, "undeclaredUpgrade: inherit"))
	w.author.Write("images/thief.yaml", specAt(internal.Host, "thief", "1", "compatible-fix: let me in"))
	r := d.reviewed(1, w.propose(1, "Add thief"), is(review.Failure))
	text := fmt.Sprint(r.Problems)
	if !strings.Contains(text, "catalog.yaml:1:1: the policy is changed together with specs") || !strings.Contains(text, "RegistryNotAllowed") {
		t.Errorf("the problems are %s", text)
	}
	untouched(t, internal)
}

// The credential of the base goes nowhere, not even to its own registry, unless the base says reviewWithCredentials.
func TestAStrangerUsesNoCredential(t *testing.T) {
	for name, test := range map[string]struct {
		policy []string
		host   func(*world, *registrytest.Registry) string
		want   func(review.Review) bool
		sent   bool
	}{
		"for another host": {nil, func(w *world, _ *registrytest.Registry) string { return w.registry.Host }, func(r review.Review) bool {
			return r.State == review.Failure && strings.Contains(fmt.Sprint(r.Problems), "CredentialNotBound")
		}, false},
		"for its own host": {nil, func(_ *world, p *registrytest.Registry) string { return p.Host }, func(r review.Review) bool {
			return r.State == review.Success && r.Predictions[0].PullUnknown && r.Predictions[0].Candidate == nil
		}, false},
		"where the base allows it": {[]string{"reviewWithCredentials: true"}, func(_ *world, p *registrytest.Registry) string { return p.Host }, func(r review.Review) bool {
			if r.State != review.Success {
				return false
			}
			p := r.Predictions[0]
			return !p.PullUnknown && p.Reference == "" && p.Digest == "" && p.Platforms == nil && p.Candidate != nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, d, private := hostile(t, test.policy...)
			pushImage(t, private, "secret", "1", "secret")
			pushImage(t, w.registry, "secret", "1", "secret")
			w.author.Write("images/secret.yaml", withCredential(specAt(test.host(w, private), "secret", "1", "compatible-fix: mine"), "pull"))
			r := d.reviewed(1, w.propose(1, "Add secret"), test.want)
			sent := false
			for _, request := range append(private.Requests(), w.registry.Requests()...) {
				sent = sent || request.Authorization != ""
			}
			if sent != test.sent {
				t.Errorf("a credential was sent: %t, want %t", sent, test.sent)
			}
			if test.sent && strings.Contains(r.Comment(""), "sha256:") {
				t.Errorf("the comment tells the digest of a private image:\n%s", r.Comment(""))
			}
		})
	}
}

// What is no file is not read, and what is too large or too many is not either; others are reviewed all the same.
func TestAStrangersFilesAreBounded(t *testing.T) {
	many := 5000
	if testing.Short() {
		many = 300
	}
	for name, test := range map[string]struct {
		write func(*testing.T, *world)
		says  string // of its problems and warnings
	}{
		"a link": {func(t *testing.T, w *world) {
			if err := os.Symlink("/etc/passwd", filepath.Join(w.author.Dir, "images", "link.yaml")); err != nil {
				t.Fatal(err)
			}
		}, "images/link.yaml:1:1: this is a symbolic link; a spec is a regular file"},
		"a large file": {func(_ *testing.T, w *world) {
			w.author.Git("config", "core.compression", "0") // it would be in vain
			noise := make([]byte, 100<<20)
			rand.Read(noise)
			w.author.Write("images/large.yaml", string(noise))
		}, "it brings more than 64 MiB"},
		"many files": {func(_ *testing.T, w *world) { // none of their images is there
			for n := range many {
				name := fmt.Sprintf("many-%04d", n)
				w.author.Write("images/many/"+name+".yaml", w.spec(name, "1", "compatible-fix: one of many"))
			}
		}, fmt.Sprintf("%d specs are changed, and 200 of them were looked at", many)},
		"long files": {func(_ *testing.T, w *world) {
			for n := range 60 {
				name := fmt.Sprintf("long-%02d", n)
				w.author.Write("images/"+name+".yaml", w.spec(name, "1", "compatible-fix: a long one", "description: "+strings.Repeat("long ", 8<<10)))
			}
		}, "60 specs are changed, and 51 of them were looked at"},
	} {
		if testing.Short() && name == "a large file" {
			continue // it takes long, and the others take the same ways
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, d, _ := hostile(t)
			w.image("rust", "1")
			w.author.Write("images/rust.yaml", w.spec("rust", "1", "compatible-fix: The first one."))
			fine := w.propose(1, "Add rust")
			test.write(t, w)
			r := d.reviewed(2, w.propose(2, "Add "+name), is(review.Failure))
			if got := fmt.Sprint(r.Problems, r.Warnings); !strings.Contains(got, test.says) || len(r.Predictions) > maxTouched {
				t.Errorf("it says %s, and predicts %d; want %s", got, len(r.Predictions), test.says)
			}
			if comment := r.Comment("https://tidewaiter.acme.dev/reviews/2"); len(comment) > 64<<10 {
				t.Errorf("the comment has %d bytes", len(comment))
			}
			d.reviewed(1, fine, is(review.Success))
		})
	}
}

// Whatever a stranger writes is shown to the letter, and nothing of it is markup, a link or a mention.
func TestAStrangersTextIsInert(t *testing.T) {
	w, d, _ := hostile(t)
	const evil = "@everyone <img src=x onerror=alert(1)> [x](javascript:alert(1)) `a` | # http://evil.example\x1b[31m\u202e"
	w.author.Write("images/@everyone <b>.yaml", "apiVersion: tidewaiter/v1\nkind: Image\nmetadata:\n  name: \""+
		strings.NewReplacer("\x1b", `\x1b`).Replace(evil)+"\"\nspec: {}\n")
	r := d.reviewed(1, w.propose(1, evil), is(review.Failure))
	comment := r.Comment("https://tidewaiter.acme.dev/reviews/1")
	for _, bad := range []string{"@", "<img", "<b>", "](javascript", "`", "\x1b", "\u202e", "http://"} {
		if strings.Contains(comment, bad) {
			t.Errorf("the comment holds %q:\n%s", bad, comment)
		}
	}
	for _, shown := range []string{r.Subject, r.Summary} {
		if strings.ContainsAny(shown, "\x1b\u202e\n") {
			t.Errorf("%q is shown", shown)
		}
	}
}

// A host that the base does not list is not asked for, and without a list none is: then the pull is unknown, not failed.
func TestWithoutAListNothingIsAskedForAReview(t *testing.T) {
	w := newWorld(t)
	w.author.Remove("catalog.yaml")
	w.merge("no policy")
	d := w.start(reviewing)
	d.settle()
	d.run()
	w.image("go", "1")
	w.author.Write("images/go.yaml", w.spec("go", "1", "compatible-fix: The first one."))
	r := d.reviewed(1, w.propose(1, "Add go"), is(review.Success))
	if p := r.Predictions[0]; !p.PullUnknown || p.Reason != release.Released || p.Candidate != nil {
		t.Errorf("it predicts %+v", p)
	}
	untouched(t, w.registry)
}
