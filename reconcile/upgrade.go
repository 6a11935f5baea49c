package reconcile

import (
	"fmt"
	"slices"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// Bounds on what is written about one image.
const (
	maxFindings = 200 // of a release record; the gravest are kept
	maxAgainst  = 30  // of a status, against the declared mode
)

// comparison is what the upgrade checks found of an image under the mode it would be released with.
type comparison struct {
	contract contract.Contract // of the image, with what its spec says of it
	baseline *schema.Baseline
	findings []contract.Finding
	contract.Verdict
	unknown bool // nothing is known of what the baseline promised
}

// compare holds an image to the release that it upgrades, and to what its own documents say. What that release promised is in
// its record, so that nothing has to be asked and the check still works when its image is gone; nil for an image without one.
func compare(c release.Check, found registry.Image, baseline *contract.Contract, policy release.Policy) comparison {
	p := contract.Policy{Mode: contract.Mode(c.Mode), Inform: c.Inform, Levels: map[string]contract.Level{}}
	for rule, text := range policy.UpgradeChecks {
		var level contract.Level
		if level.UnmarshalText([]byte(text)) == nil { // the schema lets no other in
			p.Levels[rule] = level
		}
	}
	for _, a := range c.Upgrade.Accept {
		p.Accept = append(p.Accept, contract.Accept{Rule: a.Rule, Subject: a.Subject, Reason: a.Reason})
	}
	cmp := comparison{contract: found.Contract}
	cmp.contract.Repository = c.Image.Registry + "/" + c.Image.Repository
	cmp.contract.ContractEnv, cmp.contract.ContractLabels = c.ContractEnv, c.ContractLabels
	cmp.findings = contract.Inspect(cmp.contract, p)
	if c.Baseline != nil {
		cmp.baseline = &schema.Baseline{Version: c.Baseline.Version, Digest: c.Baseline.Digest}
		if cmp.unknown = baseline == nil || len(baseline.Images) == 0; !cmp.unknown {
			cmp.findings = append(cmp.findings, contract.Compare(*baseline, cmp.contract, p)...)
		}
	}
	cmp.Verdict = contract.Judge(cmp.findings, p)
	return cmp
}

// against is what the planner is told: what speaks against the mode, or no reason.
func (c comparison) against(policy release.Policy) (release.Reason, *release.Verdict) {
	verdict := &release.Verdict{Right: release.Mode(c.Right)}
	if c.baseline != nil {
		verdict.Baseline = c.baseline.Version
	}
	switch {
	case c.Contradicted:
	case c.unknown && !policy.AllowUnknownUpgrade:
		return release.UpgradeUnknown, verdict
	default:
		return "", nil
	}
	for _, a := range c.Accept {
		verdict.Accept = append(verdict.Accept, acceptLine(a))
	}
	for _, f := range c.findings {
		if slices.ContainsFunc(c.Accept, func(a contract.Accept) bool { return a.Rule == f.Rule && a.Subject == f.Subject }) {
			verdict.Findings = append(verdict.Findings, f.String()+"; "+f.Advice)
		}
	}
	verdict.Accept = verdict.Accept[:min(len(verdict.Accept), maxAgainst)]
	verdict.Findings = verdict.Findings[:min(len(verdict.Findings), maxAgainst)]
	return release.UpgradeContradicted, verdict
}

// acceptLine is a line of upgrade.accept, but for the reason that only its author knows.
func acceptLine(a contract.Accept) string {
	if a.Subject == "" {
		return fmt.Sprintf("{rule: %s, reason: …}", a.Rule)
	}
	return fmt.Sprintf("{rule: %s, subject: %q, reason: …}", a.Rule, a.Subject)
}

// recorded are the findings that a release record keeps: all, or where they are many the gravest.
func (c comparison) recorded() []contract.Finding {
	if len(c.findings) <= maxFindings {
		return c.findings
	}
	kept := slices.Clone(c.findings)
	slices.SortStableFunc(kept, func(a, b contract.Finding) int { return int(b.Level) - int(a.Level) })
	return kept[:maxFindings]
}

// checker answers the planner's question whether a mode is true, for one image, and keeps what it compared.
type checker struct {
	policy   release.Policy
	statuses *Statuses
	found    func(release.Check) registry.Image // what the look at the image found
	// promised is what releases promised, as far as their records were read; nil for one without a contract.
	promised map[release.Version]*contract.Contract
	made     map[string]comparison // by the request's commit
	failed   error                 // of reading a record
}

func (k *checker) check(c release.Check) (release.Reason, *release.Verdict) {
	var baseline *contract.Contract
	if c.Baseline != nil {
		var err error
		if baseline, err = k.baseline(c.Name, *c.Baseline); err != nil {
			k.failed = err
			return release.InternalError, nil
		}
	}
	compared := compare(c, k.found(c), baseline, k.policy)
	k.made[c.Commit] = compared
	return compared.against(k.policy)
}

// baseline is what a release promised: as it was found a moment ago, or as its record has it.
func (k *checker) baseline(name string, r release.Release) (*contract.Contract, error) {
	if compared, ok := k.made[r.Request.ID]; ok {
		return &compared.contract, nil
	}
	if known, ok := k.promised[r.Version]; ok {
		return known, nil
	}
	record, found, err := k.statuses.Record(name, r.Version)
	if err != nil {
		return nil, err
	}
	k.promised[r.Version] = nil
	if found {
		k.promised[r.Version] = &record.Contract
	}
	return k.promised[r.Version], nil
}

// tell counts what was found of an image that is released, and logs what its author should know.
func (d *Daemon) tell(name string, r release.Release, c comparison) {
	d.metrics.found(c.findings)
	log := d.log.With("image", name, "version", r.Version.String())
	for _, a := range c.Unused {
		log.Warn("upgrade.accept names a finding that was not made; remove it", "rule", a.Rule, "subject", a.Subject)
	}
	for _, f := range c.findings {
		if f.Level != contract.Info {
			log.Warn("released with a finding", "finding", f.String(), "advice", f.Advice)
		}
	}
	if c.unknown {
		log.Warn("released although it could not be compared with the release it upgrades", "baseline", c.baseline.Version.String())
	}
}
