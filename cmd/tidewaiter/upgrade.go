package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// request is what the commands that write a spec have in common: a checkout, what is asked for, and what becomes of it.
type request struct {
	git         gitFlags
	registries  registry.Options
	dir, branch string
	tag, digest string
	mode, from  string
	notes       string
	commit      bool
}

func (r *request) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.dir, "dir", ".", "the checkout of the catalog")
	f.StringVar(&r.tag, "tag", "", "the tag of the image")
	f.StringVar(&r.digest, "digest", "", "release this digest and nothing else")
	f.StringVar(&r.mode, "mode", "", "compatible-fix, compatible-feature or incompatible (required)")
	f.StringVar(&r.from, "from", "", "the release that this one upgrades, to fix an old line")
	f.StringVar(&r.notes, "notes", "", "what changed, in Markdown (required)")
	f.BoolVar(&r.commit, "commit", false, "commit the spec")
	f.StringVar(&r.branch, "branch", "", "commit the spec to a new branch of this name")
	f.StringVar(&r.registries.CredentialsDir, "credentials-dir", "", "directory with a credential in each sub-directory: username and password, or .dockerconfigjson")
	f.StringVar(&r.registries.DockerConfig, "docker-config", "", "docker config file to take credentials from for images that name none")
	f.StringVar(&r.registries.CAFile, "registry-ca-file", "", "PEM file of certificates to trust for registries besides the system's")
	git := pflag.NewFlagSet("", pflag.ContinueOnError)
	r.git.add(git)
	git.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "branch" { // here it is that of the commit
			f.AddFlag(flag)
		}
	})
	f.Lookup("repo").Usage = "the catalog's repository, where the daemon writes (default: the origin of the checkout)"
	for _, name := range []string{"mode", "notes"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was defined above
		}
	}
}

// upgrade is the upgrade block that is asked for.
func (r *request) upgrade() (u release.Upgrade, err error) {
	if err := u.Mode.UnmarshalText([]byte(r.mode)); err != nil {
		return u, fmt.Errorf("--mode: %w", err)
	}
	if r.from != "" {
		v, err := release.ParseVersion(r.from)
		if err != nil {
			return u, fmt.Errorf("--from: %w", err)
		}
		u.From = &v
	}
	if r.tag == "" && r.digest == "" {
		return u, errors.New("say with --tag or --digest which image")
	}
	u.Notes = strings.TrimSpace(strings.ReplaceAll(r.notes, "\r\n", "\n"))
	return u, nil
}

// write writes the spec, shows what merging it would do, and commits it where that is asked for.
func (r *request) write(cmd *cobra.Command, file string, data []byte, subject string) error {
	if err := os.MkdirAll(filepath.Join(r.dir, filepath.FromSlash(path.Dir(file))), 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.dir, filepath.FromSlash(file)), data, 0o666); err != nil {
		return err
	}
	report, err := reconcile.Check(r.dir)
	if err != nil {
		return err
	}
	report = report.Only(file)
	unknown, err := predict(cmd, &r.git, r.dir, "", registry.New(r.registries), &report)
	if err != nil {
		return err
	}
	if err := writeReport(cmd.OutOrStdout(), "text", report); err != nil {
		return err
	}
	if unknown != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), unknown)
	}
	if r.commit || r.branch != "" {
		if err := r.commitSpec(cmd, file, subject); err != nil {
			return err
		}
	}
	return verdictOf(report)
}

// commitSpec commits one file with the git program, so that its author, its signature and its hooks are those of any other commit.
func (r *request) commitSpec(cmd *cobra.Command, file, subject string) error {
	git := func(args ...string) error {
		c := exec.CommandContext(cmd.Context(), "git", append([]string{"-C", r.dir}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(out))
		}
		return nil
	}
	if r.branch != "" {
		if err := git("checkout", "--quiet", "-b", r.branch); err != nil {
			return err
		}
	}
	if err := git("add", "--", file); err != nil {
		return err
	}
	if err := git("commit", "--quiet", "--message", subject, "--message", r.notes, "--", file); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "committed; open the pull request with: git push --set-upstream origin HEAD")
	return err
}

func newUpgrade() *cobra.Command {
	var r request
	cmd := &cobra.Command{
		Use:   "upgrade NAME --tag TAG --mode MODE --notes TEXT",
		Short: "Ask for the next release of an image: edit its spec",
		Long: `upgrade writes a new request into the spec of an image in a checkout, and shows what merging it would do. Everything else in
the file stays to the letter: order, comments, quotation marks. What the spec accepted for the last release is removed.`,
		Example: "  tidewaiter upgrade go-builder --tag 1.27-bookworm --mode compatible-feature --notes 'Go 1.27.' --branch go-1.27",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			upgrade, err := r.upgrade()
			if err != nil {
				return err
			}
			report, err := reconcile.Check(r.dir)
			if err != nil {
				return err
			}
			file, err := report.FileOf(args[0])
			if err != nil {
				return err
			}
			data, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(file)))
			if err != nil {
				return err
			}
			edited, err := schema.Edit{Tag: r.tag, Digest: release.Digest(r.digest), Upgrade: upgrade}.Apply(file, data)
			if err != nil {
				return err
			}
			return r.write(cmd, file, edited, fmt.Sprintf("Upgrade %s to %s (%s)", args[0], cmp.Or(r.tag, r.digest), upgrade.Mode))
		},
	}
	r.add(cmd)
	return cmd
}

func newAdd() *cobra.Command {
	var r request
	var image schema.Image
	var file string
	var platforms []string
	cmd := &cobra.Command{
		Use:   "add NAME --repository REPOSITORY --tag TAG --summary TEXT --mode MODE --notes TEXT",
		Short: "Put an image into the catalog: write its spec",
		Long: `add writes the spec of a new image into a checkout, and shows what merging it would do. The first release is 1.0.0, whatever
the mode; with --from an image that already had versions goes on from there.`,
		Example: "  tidewaiter add shellcheck --repository acme/shellcheck --tag v0.11.0 --summary 'Finds mistakes in shell scripts' --mode compatible-feature --notes 'The first one.'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if image.Upgrade, err = r.upgrade(); err != nil {
				return err
			}
			image.Name = args[0]
			if image.Path = file; file == "" {
				image.Path = path.Join("images", image.Name+".yaml")
			}
			image.Image.Tag, image.Image.Digest = r.tag, release.Digest(r.digest)
			for _, p := range platforms {
				image.Image.Platforms = append(image.Image.Platforms, release.Platform(p))
			}
			if report, err := reconcile.Check(r.dir); err == nil {
				if other, err := report.FileOf(image.Name); err == nil {
					return fmt.Errorf("%s is the spec of %s already; use tidewaiter upgrade", other, image.Name)
				}
			}
			if _, err := os.Lstat(filepath.Join(r.dir, filepath.FromSlash(image.Path))); err == nil {
				return fmt.Errorf("%s is there already; name another file with --file", image.Path)
			}
			data, err := schema.New(image)
			if err != nil {
				return err
			}
			return r.write(cmd, image.Path, data, fmt.Sprintf("Add %s", image.Name))
		},
	}
	r.add(cmd)
	f := cmd.Flags()
	f.StringVar(&file, "file", "", "where to write it (default: images/NAME.yaml)")
	f.StringVar(&image.Image.Registry, "registry", "", "the registry's host (default: docker.io)")
	f.StringVar(&image.Image.Repository, "repository", "", "the repository with its namespace (required)")
	f.StringVar(&image.Image.Credentials, "credentials", "", "the name of the credential for a private image")
	f.StringSliceVar(&platforms, "platforms", nil, "required platforms (default: the catalog's)")
	f.StringVar(&image.Title, "title", "", "shown in the store (default: the name)")
	f.StringVar(&image.Summary, "summary", "", "what the image is for, in one line (required)")
	f.StringVar(&image.Category, "category", "", "one of the catalog's categories")
	f.StringVar(&image.Publisher, "publisher", "", "who publishes it")
	for _, name := range []string{"repository", "summary"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was defined above
		}
	}
	return cmd
}
