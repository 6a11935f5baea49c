package reconcile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
)

// TestUnboundCredentialIsNotSent: a spec that names a credential for another registry or repository than the policy binds it to
// sends no header Authorization anywhere, whatever the registries ask for; named for its own, the private image is released.
func TestUnboundCredentialIsNotSent(t *testing.T) {
	for name, options := range map[string]registrytest.Options{"basic": {}, "bearer": {Bearer: true}} {
		t.Run(name, func(t *testing.T) {
			options.User, options.Password = "puller", "s3cret"
			own, other := startRegistry(t, options), startRegistry(t, options)
			w := emptyWorld(t, own)
			w.author = gittest.NewAuthor(t, w.git.Repo(catalogRepo))
			dir := t.TempDir()
			for file, text := range map[string]string{"username": "puller", "password": "s3cret"} {
				path := filepath.Join(dir, "pull", file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			policy := "apiVersion: tidewaiter/v1\nkind: Catalog\nmetadata:\n  name: acme\nspec:\n  registries:\n" +
				"    - {host: \"" + own.Host + "\", repositories: [acme/bound], credentials: pull}\n" +
				"    - {host: \"" + own.Host + "\"}\n    - {host: \"" + other.Host + "\"}\n"
			w.author.Write("catalog.yaml", policy)
			write := func(name, host, image, credential string) {
				spec := strings.Replace(specAt(host, name, "1", "compatible-fix: first"), "acme/"+name, "acme/"+image, 1)
				if credential != "" {
					spec = strings.Replace(spec, "    tag: ", "    credentials: "+credential+"\n    tag: ", 1)
				}
				w.author.Write("images/"+name+".yaml", spec)
			}
			for _, image := range []string{"bound", "boundary", "elsewhere"} {
				pushImage(t, own, image, "1", image)
				pushImage(t, other, image, "1", image)
			}
			write("another-host", other.Host, "bound", "pull")
			write("another-repository", own.Host, "elsewhere", "pull")
			write("longer-repository", own.Host, "boundary", "pull")
			write("no-credential", own.Host, "bound", "")
			write("unknown", own.Host, "bound", "push")
			w.merge("Name a credential for what it is not for")
			d := w.start(func(c *Config) { c.Registry.CredentialsDir = dir })
			d.settle()
			w.wantReason("another-host: CredentialNotBound", "another-repository: CredentialNotBound",
				"longer-repository: CredentialNotBound", "no-credential: AccessDenied", "unknown: CredentialUnknown")
			requests := append(own.Requests(), other.Requests()...)
			if len(requests) == 0 {
				t.Error("nothing was asked at all")
			}
			for _, req := range requests {
				if req.Authorization != "" {
					t.Errorf("%s %s was sent %s", req.Method, req.Path, req.Authorization)
				}
			}
			write("bound", own.Host, "bound", "pull")
			w.merge("Name it for what it is for")
			d.settle()
			w.wantReleased("bound 1.0.0 = 1 (compatible-fix)")
		})
	}
}
