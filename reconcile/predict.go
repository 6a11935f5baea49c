package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/schema"
)

// Predictor says what merging specs would do: the daemon's planner and verifier, on states that are thrown away.
type Predictor struct {
	Registry *registry.Client
	// Statuses are what a daemon wrote; without them no version is known and nothing can be compared.
	Statuses *Statuses
	// Pending are the states of images of which the statuses do not say everything yet, by name, without their releases.
	Pending map[string]release.State
	// Change, if set, is what the specs are of: then only those that it touches are looked at, as those of a stranger.
	Change *Change
	Now    time.Time
}

// predictedAtOnce is how many specs are looked at at a time; the registry client bounds what one registry gets.
const predictedAtOnce = 16

// Predict adds to a report what would become of each spec that has no problem, by path. Nothing is predicted where the policy
// cannot be used. The error is that a status cannot be read.
func (p Predictor) Predict(ctx context.Context, report *Report) error {
	policy := report.policy
	if p.Change != nil {
		policy = &p.Change.policy
		report.Problems = append(report.Problems, p.Change.Problems...)
		report.Warnings = append(report.Warnings, p.Change.Warnings...)
		schema.SortProblems(report.Problems)
	}
	if policy == nil {
		return nil
	}
	wrong := map[string]int{}
	for _, problem := range report.Problems {
		wrong[problem.Path]++
	}
	// One that lacks only the digest is looked at all the same, so that it can be said which one to add.
	unpinned := func(spec *schema.Image) bool {
		return policy.RequireDigest && spec.Image.Digest == "" && wrong[spec.Path] == 1
	}
	var specs []*schema.Image
	for _, spec := range report.specs {
		untouched := p.Change != nil && !p.Change.touched[spec.Path]
		if !untouched && (wrong[spec.Path] == 0 || unpinned(spec)) {
			specs = append(specs, spec)
		}
	}
	slices.SortFunc(specs, func(a, b *schema.Image) int { return strings.Compare(a.Path, b.Path) })
	report.Predictions = make([]review.Prediction, len(specs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(predictedAtOnce)
	for i, spec := range specs {
		group.Go(func() error {
			policy := *policy
			lacks := unpinned(spec)
			policy.RequireDigest = policy.RequireDigest && !lacks
			prediction, err := p.predict(ctx, spec, policy)
			if lacks {
				prediction.Reason, prediction.Version, prediction.Channels, prediction.Candidate = release.InvalidSpec, nil, nil, nil
			}
			report.Predictions[i] = prediction
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if p.Change == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p.Change.deleted)) {
		prediction, err := p.delisted(name)
		if err != nil {
			return err
		}
		report.Predictions = append(report.Predictions, prediction)
	}
	return nil
}

// delisted is what becomes of an image whose spec is deleted.
func (p Predictor) delisted(name string) (review.Prediction, error) {
	before, err := p.state(name)
	if err != nil {
		return review.Prediction{}, err
	}
	return review.Prediction{Name: name, Path: p.Change.deleted[name], Line: 1, Column: 1, Reason: release.Delisted, Channels: moves(before.Channels(), nil)}, nil
}

// notAsked stands for the digest of an image that may not be asked for before the merge; no image has it.
const notAsked release.Digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// merged stands for the commit that would merge a spec; no commit has this name.
const merged = "merged"

func (p Predictor) predict(ctx context.Context, spec *schema.Image, policy release.Policy) (review.Prediction, error) {
	prediction := review.Prediction{Name: spec.Name, Path: spec.Path, Mode: spec.Upgrade.Mode}
	prediction.Line, prediction.Column = spec.Position("spec.upgrade.mode")
	before, err := p.state(spec.Name)
	if err != nil {
		return review.Prediction{}, err
	}
	found := map[lookKey]registry.Image{}
	refusals := map[lookKey]*registry.Refusal{}
	checker := &checker{
		policy: policy, statuses: p.Statuses, promised: map[release.Version]*contract.Contract{}, made: map[string]comparison{},
		found: func(c release.Check) registry.Image { return found[keyOf(c.Name, c.Commit, c.Image)] },
	}
	asks := p.Change == nil || p.Change.contacts(spec.Image)
	world := release.World{
		Policy: policy, Now: p.Now,
		Check: func(c release.Check) (release.Reason, *release.Verdict) {
			if c.Digest == notAsked {
				return "", nil
			}
			return checker.check(c)
		},
		Look: func(l release.Look) (release.Answer, bool) {
			if reason := before.Refused(l.Commit); ofRegistry(reason) {
				return release.Answer{Reason: reason}, true // as the daemon found it last
			}
			if !asks && l.Commit == merged {
				prediction.PullUnknown = true
				return release.Answer{Digest: notAsked}, true
			}
			key := keyOf(l.Name, l.Commit, l.Image)
			image, ok := found[key]
			if refusal := refusals[key]; refusal != nil {
				return release.Answer{Reason: refusal.Reason}, true
			}
			return release.Answer{Digest: image.Digest}, ok
		},
	}
	if policy.Suspend {
		world.Hold = release.Suspended
	}
	planned := spec.Spec()
	after, made, look := before.Observe(release.Change{Commit: release.Commit{ID: merged}, Spec: &planned}).Advance(world)
	for look != nil {
		image, err := p.Registry.Pull(ctx, queryOf(*look, policy))
		key := keyOf(look.Name, look.Commit, look.Image)
		if found[key] = image; err != nil {
			refusals[key] = registry.AsRefusal(err)
		}
		var more []release.Release
		after, more, look = after.Advance(world)
		made = append(made, more...)
	}
	if checker.failed != nil {
		return review.Prediction{}, checker.failed
	}

	key := keyOf(spec.Name, merged, spec.Image)
	if refusal := refusals[key]; refusal != nil {
		prediction.Detail = Plain(refusal.Error())
	} else if image, ok := found[key]; ok {
		prediction.Reference, prediction.Size = spec.Image.Pin(image.Digest).String(), image.Size
		if spec.Image.Digest == "" {
			prediction.Digest = image.Digest
		}
		for _, platform := range image.Platforms {
			prediction.Platforms = append(prediction.Platforms, schema.PlatformImage{Platform: platform.Platform, Digest: platform.Digest, Size: platform.Size})
		}
	}
	if compared, ok := checker.made[merged]; ok {
		prediction.Findings = compared.recorded()
		if compared.baseline != nil && !compared.unknown {
			prediction.Needs = release.Mode(compared.Needs)
		}
		for _, a := range compared.Unused {
			prediction.Unused = append(prediction.Unused, release.Accept{Rule: a.Rule, Subject: a.Subject, Reason: a.Reason})
		}
	}
	conclude(&prediction, before, after, made, world.Hold)
	if p.Statuses == nil {
		prediction.From, prediction.Version, prediction.Channels = nil, nil, nil
	}
	image, there := found[key]
	if prediction.Version != nil && there && refusals[key] == nil {
		prediction.Candidate = &review.Candidate{
			Image: spec.Image, Upgrade: spec.Upgrade, Digest: image.Digest, Version: *prediction.Version, Reference: prediction.Reference,
		}
		if _, known := policy.DebugProjects[spec.DebugProject]; known {
			prediction.Project = spec.DebugProject
		}
	}
	if p.Change != nil && spec.Image.Credentials != "" {
		prediction.Redact()
	}
	return prediction, nil
}

// ofRegistry reports whether a reason is what a registry answered. Whether a mode is true is judged anew: it is held to another
// release where the merge withdraws one.
func ofRegistry(r release.Reason) bool {
	kind := r.Kind()
	return (kind == release.Retried || kind == release.Transient) && r != release.UpgradeContradicted && r != release.UpgradeUnknown
}

// state is what is known of an image: nothing where it is new, or nobody wrote anything.
func (p Predictor) state(name string) (release.State, error) {
	if p.Statuses == nil {
		return release.State{Name: name}, nil
	}
	state := release.State{Name: name}
	status, found, err := p.Statuses.Image(name)
	if err != nil {
		return state, err
	}
	if pending, ok := p.Pending[name]; ok {
		state = pending
	} else if found {
		state = status.Restore(name, nil)
	}
	records, err := p.Statuses.Records(name)
	if err != nil {
		return state, err
	}
	state.Releases = nil
	for _, record := range records {
		state.Releases = append(state.Releases, record.Release())
	}
	return state, nil
}

// conclude says what became of the request that the merge would make.
func conclude(p *review.Prediction, before, after release.State, made []release.Release, hold release.Reason) {
	if n := len(before.Releases); n > 0 {
		p.From = &before.Releases[n-1].Version
	}
	p.Channels = moves(before.Channels(), after.Channels())
	for _, r := range made {
		if r.Request.ID == merged {
			p.Reason, p.Version, p.Mode = release.Released, &r.Version, r.Mode
			return
		}
	}
	for _, r := range after.Requests {
		if r.ID == merged {
			p.Reason, p.Mode, p.Verdict = r.Reason, r.Applied(), r.Verdict
			if p.Reason == "" {
				p.Reason = after.Reason(hold) // it stands behind another, or releases are held
			}
			return
		}
	}
	if p.Reference != "" { // it was looked at, so it was asked for
		p.Reason = release.AlreadyReleased
	}
}

// moves are the channels that differ, in the order that they are served in.
func moves(before, after []release.Channel) []review.Move {
	var list []review.Move
	version := func(channels []release.Channel, name string) *release.Version {
		i := slices.IndexFunc(channels, func(c release.Channel) bool { return c.Name == name })
		if i < 0 {
			return nil
		}
		return &channels[i].Version
	}
	for _, c := range after {
		if from := version(before, c.Name); from == nil || *from != c.Version {
			list = append(list, review.Move{Channel: c.Name, From: from, To: &c.Version})
		}
	}
	for _, c := range before {
		if version(after, c.Name) == nil {
			list = append(list, review.Move{Channel: c.Name, From: &c.Version})
		}
	}
	return list
}
