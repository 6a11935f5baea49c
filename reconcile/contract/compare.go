package contract

import (
	"cmp"
	"slices"
)

// Policy is how the differences between two images are judged.
type Policy struct {
	// Mode is the one that the image would be released with: Fix, Feature or Incompatible. There is no judging under NoMode.
	Mode Mode
	// Levels change the level of rules, by their ids. A mode that makes a finding legal never makes it worse than the
	// table says.
	Levels map[string]Level
	// Accept are the findings that the author accepts.
	Accept []Accept
	// Inform makes every difference information: the old image is not one that anybody is upgraded from.
	Inform bool
}

// Compare finds what the new image does not promise as the old one did. Equal findings on several platforms are one. The
// order is that of the rules and, of one rule, that of the subjects.
func Compare(old, new Contract, p Policy) []Finding {
	pairs, oldNames, newNames := common(&old, &new), old.names(), new.names()
	var findings []Finding
	for i := range rules {
		r := &rules[i]
		var found gathering
		switch {
		case r.image != nil:
			for _, c := range r.image(&old, &new) {
				found.add(c)
			}
		case r.platforms != nil:
			for _, name := range r.platforms(oldNames, newNames) {
				found.add(change{subject: name}, name)
			}
		default:
			for j := range pairs {
				for _, c := range r.platform(&pairs[j]) {
					found.add(c, pairs[j].old.Name)
				}
			}
		}
		findings = append(findings, r.findings(found, p, p.Inform)...)
	}
	return findings
}

// Inspect finds what is wrong with an image whatever it is compared with.
func Inspect(c Contract, p Policy) []Finding {
	var found gathering
	for _, v := range c.views() {
		if v.Config != "" {
			found.add(change{v.Name, v.Name, v.Config}, v.Name)
		}
	}
	return platformMismatch.findings(found, p, false)
}

// pair is one platform of two images.
type pair struct {
	old, new view
	// env and labels are what users of either image were told to rely on.
	env, labels map[string]bool
}

// view is all that one platform of an image promises.
type view struct {
	*Image
	*Platform
}

// common are the platforms that both images have, sorted by name.
func common(old, new *Contract) []pair {
	env, labels := union(old.ContractEnv, new.ContractEnv), union(old.ContractLabels, new.ContractLabels)
	var pairs []pair
	theirs := new.views()
	for _, a := range old.views() {
		for _, b := range theirs {
			if a.Name == b.Name {
				pairs = append(pairs, pair{a, b, env, labels})
			}
		}
	}
	return pairs
}

// views are the platforms of an image, sorted by name.
func (c *Contract) views() []view {
	var views []view
	for i := range c.Images {
		image := &c.Images[i]
		for j := range image.Platforms {
			views = append(views, view{image, &image.Platforms[j]})
		}
	}
	slices.SortFunc(views, func(a, b view) int { return cmp.Compare(a.Name, b.Name) })
	return views
}

// names are the names of an image's platforms, sorted.
func (c *Contract) names() []string {
	var names []string
	for _, v := range c.views() {
		names = append(names, v.Name)
	}
	return names
}

func union(a, b []string) map[string]bool {
	if len(a)+len(b) == 0 {
		return nil
	}
	all := map[string]bool{}
	for _, key := range slices.Concat(a, b) {
		all[key] = true
	}
	return all
}

// change is what a rule finds: what differs, and what it was and is.
type change struct{ subject, old, new string }

// gathering groups equal changes over platforms.
type gathering struct {
	changes   []change
	platforms map[change][]string
}

func (g *gathering) add(c change, platforms ...string) {
	if g.platforms == nil {
		g.platforms = map[change][]string{}
	}
	if _, known := g.platforms[c]; !known {
		g.changes = append(g.changes, c)
	}
	g.platforms[c] = append(g.platforms[c], platforms...)
}

// findings are what the rule says of the changes it found.
func (r *rule) findings(found gathering, p Policy, inform bool) []Finding {
	var findings []Finding
	for _, c := range found.changes {
		f := Finding{
			Rule: r.id, Needs: r.needs, Level: r.level(p), Platforms: found.platforms[c],
			Subject: printable(c.subject), Old: short(c.old), New: short(c.new), Text: r.text, Advice: r.advice,
		}
		if inform {
			f.Level = Info
		}
		if i := slices.IndexFunc(p.Accept, func(a Accept) bool { return a.matches(f) }); i >= 0 {
			f.Accepted, f.Reason = true, p.Accept[i].Reason
		}
		findings = append(findings, f)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Old, b.Old), cmp.Compare(a.New, b.New))
	})
	return findings
}

// level is how much what the rule finds matters under a policy.
func (r *rule) level(p Policy) Level {
	level := r.levels[p.Mode-Fix]
	changed, ok := p.Levels[r.id]
	switch {
	case !ok:
		return level
	case r.needs == NoMode || r.needs > p.Mode:
		return changed
	}
	return min(changed, level)
}

// Verdict is what all findings on an image come to.
type Verdict struct {
	// Contradicted is true where the mode that was applied is not true.
	Contradicted bool
	// Right is the smallest mode, the applied one or above, that no finding contradicts but those that need NoMode.
	Right Mode
	// Needs is the smallest mode that makes every finding legal that has such a mode and is not accepted. An applied mode
	// above it declares more than what was found.
	Needs Mode
	// Accept are the lines, without a reason yet, that would let the image pass as it is declared.
	Accept []Accept
	// Unused are the accepts of the policy that match no finding.
	Unused []Accept
}

// Judge draws the verdict from all findings on one image, those of Inspect and of Compare, made under one policy.
func Judge(findings []Finding, p Policy) Verdict {
	v := Verdict{Right: p.Mode, Needs: Fix}
	for _, f := range findings {
		if !f.Accepted {
			v.Needs = max(v.Needs, f.Needs)
		}
		if !f.contradicts(p.Mode) {
			continue
		}
		v.Contradicted = true
		v.Right = max(v.Right, f.Needs)
		if line := (Accept{Rule: f.Rule, Subject: f.Subject}); !slices.Contains(v.Accept, line) {
			v.Accept = append(v.Accept, line)
		}
	}
	for _, a := range p.Accept {
		if !slices.ContainsFunc(findings, a.matches) {
			v.Unused = append(v.Unused, a)
		}
	}
	return v
}
