package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
)

func newDemo() *cobra.Command {
	var exit, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: everything embedded, nothing to set up",
		Long: `demo starts a Git server with the example catalog, registries with small images, and a daemon, all in this process
and on loopback addresses. Then it tells a story with real commits, and serves until it is interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logTo := io.Discard
			if verbose {
				logTo = cmd.ErrOrStderr()
			}
			return demo(cmd.Context(), newTeller(cmd.OutOrStdout()), logTo, exit)
		},
	}
	cmd.Flags().BoolVar(&exit, "exit", false, "end after the story, with 1 if any step went otherwise")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "show the daemon's log")
	return cmd
}

// demo tells the story, and serves afterwards unless it is to exit.
func demo(ctx context.Context, t *teller, logTo io.Writer, exit bool) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := newWorld(ctx, slog.New(slog.NewTextHandler(logTo, nil)))
	if err != nil {
		return err
	}
	defer func() {
		cancel()
		err = errors.Join(err, w.close())
	}()
	started := time.Now()
	t.say("tidewaiter releases container images through Git. This is a real Git server, real registries and a real daemon,\nall on this machine. Watch what merging does.\n\n  catalog  %s\n  page     %s/\n  metrics  %s/metrics\n", w.repoURL, w.pageURL, w.pageURL)
	for _, step := range story {
		if err := ctx.Err(); err != nil {
			return nil // interrupted
		}
		t.step(step.title, step.text)
		if err := step.play(ctx, w, t); err != nil && ctx.Err() == nil {
			t.fail(err)
		}
	}
	t.say("\nThe story took %.1f s.", time.Since(started).Seconds())
	switch {
	case t.failed > 0 && exit:
		return problem{fmt.Errorf("%s of the story went otherwise", review.Count(t.failed, "step"))}
	case exit:
		return nil
	}
	t.say(`
It all goes on until you press ^C. Try, in another terminal:

  git clone %[1]s catalog && cd catalog && git log --oneline --graph origin/main origin/status
  tidewaiter list --repo %[1]s
  tidewaiter show greeter --repo %[1]s
  tidewaiter resolve greeter@1.latest --server %[2]s
  curl -s %[2]s/metrics | grep ^tidewaiter_

Edit a spec under images/, commit and push: the daemon looks every %[3]s.`, w.repoURL, w.pageURL, demoInterval)
	<-ctx.Done()
	return nil
}

// step is one event of the story: what people do, and what has to come of it.
type step struct {
	title, text string
	play        func(context.Context, *world, *teller) error
}

// greeter is the image that the story is about.
const greeter = "images/demo/greeter.yaml"

func greeterSpec(w *world, tag, mode, from, notes string) string {
	if from != "" {
		from = "\n    from: " + from
	}
	return fmt.Sprintf(`apiVersion: tidewaiter/v1
kind: Image
metadata:
  name: greeter
spec:
  summary: Says hello in many languages
  image:
    registry: %s
    repository: demo/greeter
    tag: "%s"
    platforms: [linux/amd64, linux/arm64]
  upgrade:
    mode: %s%s
    notes: %s
`, w.host("docker.io"), tag, mode, from, notes)
}

func greeterImage(tag string) registrytest.Image {
	return registrytest.Image{Seed: "greeter " + tag, Platforms: []string{"linux/amd64", "linux/arm64"}}
}

// upgrade merges a spec of the greeter and waits for the channels that must come of it, as "channel version".
func upgrade(tag, mode, from, notes string, want ...string) func(context.Context, *world, *teller) error {
	return func(ctx context.Context, w *world, t *teller) error {
		if _, err := w.push(ctx, "docker.io", "demo/greeter", tag, greeterImage(tag)); err != nil {
			return err
		}
		return mergeGreeter(ctx, w, t, greeterSpec(w, tag, mode, from, notes), "Upgrade greeter: "+notes, want...)
	}
}

func mergeGreeter(ctx context.Context, w *world, t *teller, spec, subject string, want ...string) error {
	if err := w.merge(ctx, t, subject, map[string]string{greeter: spec}); err != nil {
		return err
	}
	status, err := w.await(ctx, "greeter", func(s release.ImageStatus) bool { return serves(s, want, 0) })
	for _, c := range status.Channels {
		if len(strings.Split(c.Name, ".")) < 3 {
			t.result("greeter %-9s %s", c.Name, c.Version)
		}
	}
	return err
}

// serves reports whether channels mean those versions, as "channel version", and so many requests are open.
func serves(s release.ImageStatus, want []string, open int) bool {
	channels := map[string]string{}
	for _, c := range s.Channels {
		channels[c.Name] = c.Version.String()
	}
	for _, w := range want {
		name, version, _ := strings.Cut(w, " ")
		if channels[name] != version {
			return false
		}
	}
	return len(s.Requests) == open
}

var story = []step{
	{
		title: "The catalog is merged for the first time",
		text:  "Each spec under images/ asks for a release. Nothing was released before, so they start at 1.0.0.",
		play: func(ctx context.Context, w *world, t *teller) error {
			if err := w.publishExample(ctx, t); err != nil {
				return err
			}
			for _, image := range w.example {
				status, err := w.await(ctx, image, func(s release.ImageStatus) bool { return ready(s) != "" && ready(s) != release.Verifying })
				latest := "-"
				if len(status.Channels) > 0 {
					latest = status.Channels[0].Version.String()
				}
				t.result("%-18s %-7s %s", image, latest, ready(status))
				if err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		title: "A team adds an image",
		text:  "The first release is 1.0.0, whatever mode the spec declares.",
		play:  upgrade("1.0", "compatible-feature", "", "The first one.", "latest 1.0.0", "1.latest 1.0.0"),
	},
	{
		title: "A compatible feature",
		text:  "minor+1. Pipelines on 1.latest follow by themselves.",
		play:  upgrade("1.1", "compatible-feature", "", "Says hello in Frisian.", "latest 1.1.0", "1.latest 1.1.0"),
	},
	{
		title: "A pull request gets its verdict",
		text:  "Before anybody merges, the daemon says what merging would do: at first that it cannot, then as which version.",
		play: func(ctx context.Context, w *world, t *teller) error {
			if _, err := w.push(ctx, "docker.io", "demo/greeter", "1.1-fixed", greeterImage("1.1-fixed")); err != nil {
				return err
			}
			for _, change := range []struct{ mode, subject, want string }{
				{"fix", "Spell it right", "1 problem to correct"},
				{"compatible-fix", "Spell it right, and the mode", "releases greeter 1.1.0 → 1.1.1"},
			} {
				spec := greeterSpec(w, "1.1-fixed", change.mode, "", "Spells it right.")
				r, err := w.propose(ctx, t, t.steps, change.subject, map[string]string{greeter: spec})
				if err != nil {
					return err
				}
				for _, problem := range r.Problems {
					t.result("%s", problem)
				}
				if t.result("%s: %s", r.State, r.Summary); r.Summary != change.want {
					return fmt.Errorf("want %s", change.want)
				}
			}
			return nil
		},
	},
	{
		title: "It is merged: a compatible fix",
		text:  "patch+1, as was said.",
		play:  upgrade("1.1-fixed", "compatible-fix", "", "Spells it right.", "latest 1.1.1", "1.latest 1.1.1"),
	},
	{
		title: "An incompatible upgrade",
		text:  "major+1. Nobody on 1.latest gets it unasked.",
		play:  upgrade("2.0", "incompatible", "", "Says goodbye instead.", "latest 2.0.0", "1.latest 1.1.1"),
	},
	{
		title: "A fix for the old line",
		text:  "The spec says from: 1.1.1, so the fix becomes 1.1.2 while latest stays.",
		play:  upgrade("1.1-security", "compatible-fix", "1.1.1", "Closes a hole.", "latest 2.0.0", "1.latest 1.1.2"),
	},
	{
		title: "A spec with mistakes is merged",
		text:  "Nothing is released, nobody else is delayed, and the status says what is wrong and where.",
		play: func(ctx context.Context, w *world, t *teller) error {
			spec := strings.Replace(greeterSpec(w, "2.1", "compatible", "", "Oops."), "summary:", "sumary:", 1)
			if err := w.merge(ctx, t, "Upgrade greeter in a hurry", map[string]string{greeter: spec}); err != nil {
				return err
			}
			status, err := w.await(ctx, "greeter", func(s release.ImageStatus) bool { return ready(s) == release.InvalidSpec })
			for _, problem := range status.Problems {
				t.result("%s", problem)
			}
			for _, place := range []string{greeter + ":6:3: ", greeter + ":13:11: "} {
				if err == nil && !strings.Contains(strings.Join(status.Problems, "\n"), place) {
					err = fmt.Errorf("nothing is said of the mistake at %s", place)
				}
			}
			return err
		},
	},
	{
		title: "An image that does not exist yet",
		text:  "The mistakes are corrected, but the image is not pushed. The request waits and is looked at again and again.",
		play: func(ctx context.Context, w *world, t *teller) error {
			spec := greeterSpec(w, "2.1", "compatible-feature", "", "Says hello again.")
			if err := w.merge(ctx, t, "Upgrade greeter, with care", map[string]string{greeter: spec}); err != nil {
				return err
			}
			status, err := w.await(ctx, "greeter", func(s release.ImageStatus) bool { return ready(s) == release.ImageNotFound })
			t.result("%s: %s", ready(status), ready(status).Message())
			return err
		},
	},
	{
		title: "The image is pushed",
		text:  "Then it is verified again. No commit is needed.",
		play: func(ctx context.Context, w *world, t *teller) error {
			digest, err := w.push(ctx, "docker.io", "demo/greeter", "2.1", registrytest.Image{
				Seed: "greeter 2.1", Platforms: []string{"linux/amd64", "linux/arm64"},
			})
			if err != nil {
				return err
			}
			t.command("docker push %s/demo/greeter:2.1    # %.19s…", w.host("docker.io"), digest)
			w.daemon.Hurry()
			status, err := w.await(ctx, "greeter", func(s release.ImageStatus) bool {
				return serves(s, []string{"latest 2.1.0", "1.latest 1.1.2"}, 0)
			})
			if len(status.Channels) > 0 {
				t.result("greeter latest    %s", status.Channels[0].Reference)
			}
			return err
		},
	},
	{
		title: "A fix that is none",
		text:  "It drops a platform, and whoever runs 2.latest there would be stranded. It is refused before anybody gets it.",
		play: func(ctx context.Context, w *world, t *teller) error {
			if _, err := w.push(ctx, "docker.io", "demo/greeter", "2.1-slim", registrytest.Image{Seed: "greeter 2.1-slim"}); err != nil {
				return err
			}
			if err := w.merge(ctx, t, "Slim greeter down", map[string]string{greeter: slimSpec(w)}); err != nil {
				return err
			}
			status, err := w.await(ctx, "greeter", func(s release.ImageStatus) bool { return ready(s) == release.UpgradeContradicted })
			if err != nil {
				return err
			}
			if !serves(status, []string{"latest 2.1.0"}, 1) {
				return errors.New("a channel moved to it")
			}
			verdict := status.Requests[0].Verdict
			for _, finding := range verdict.Findings {
				t.result("%s", finding)
			}
			t.result("mode: %s would be right, or accept: %s", verdict.Right, strings.Join(verdict.Accept, ", "))
			return nil
		},
	},
	{
		title: "The author accepts what was found",
		text:  "The line that was offered, with a reason that reviewers see. It counts for this release only.",
		play: func(ctx context.Context, w *world, t *teller) error {
			status, err := w.await(ctx, "greeter", func(s release.ImageStatus) bool { return ready(s) == release.UpgradeContradicted })
			if err != nil {
				return err
			}
			accept := strings.Replace(status.Requests[0].Verdict.Accept[0], "…", "nobody runs it there", 1)
			t.result("accept: [%s]", accept)
			return mergeGreeter(ctx, w, t, slimSpec(w)+"    accept: ["+accept+"]\n", "Slim greeter down, knowingly", "latest 2.1.1", "2.latest 2.1.1", "1.latest 1.1.2")
		},
	},
}

// slimSpec asks for a fix that is there for one platform only.
func slimSpec(w *world) string {
	spec := greeterSpec(w, "2.1-slim", "compatible-fix", "", "Is half the size.")
	return strings.Replace(spec, ", linux/arm64]", "]", 1)
}

func ready(s release.ImageStatus) release.Reason {
	for _, c := range s.Conditions {
		if c.Type == "Ready" {
			return c.Reason
		}
	}
	return ""
}

// teller writes the story, in colour on a terminal.
type teller struct {
	w      io.Writer
	colour bool
	steps  int
	failed int
}

func newTeller(w io.Writer) *teller {
	f, isFile := w.(*os.File)
	return &teller{w: w, colour: isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}

func (t *teller) paint(code, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (t *teller) say(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t *teller) step(title, text string) {
	t.steps++
	t.say("\n%s\n   %s", t.paint("1", fmt.Sprintf("%d. %s", t.steps, title)), text)
}

func (t *teller) command(format string, args ...any) {
	t.say("   %s", t.paint("2", "$ "+fmt.Sprintf(format, args...)))
}

func (t *teller) result(format string, args ...any) {
	t.say("   %s %s", t.paint("32", "→"), fmt.Sprintf(format, args...))
}

func (t *teller) fail(err error) {
	t.failed++
	t.say("   %s %v", t.paint("31", "✘ it went otherwise:"), err)
}
