package reconcile

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
)

// DiffQuery is two images to compare outside of any catalog, and how the difference is judged.
type DiffQuery struct {
	Old, New release.Reference
	// Mode is the one to judge by; no mode judges as for a compatible fix.
	Mode release.Mode
	// ContractEnv and ContractLabels are the environment keys and labels that users rely on.
	ContractEnv, ContractLabels []string
	// PlainHTTP speaks http to registries that are not on this machine, too.
	PlainHTTP bool
}

// Difference is what two images promise differently.
type Difference struct {
	Old Side `json:"old"`
	New Side `json:"new"`
	// Mode is the one that was judged, and Right the smallest one from there on that is not contradicted.
	Mode         contract.Mode `json:"mode"`
	Contradicted bool          `json:"contradicted"`
	Right        contract.Mode `json:"right"`
	// Findings are in the order of the rules; Accept the lines of a spec that would accept those that contradict the mode.
	Findings []contract.Finding `json:"findings"`
	Accept   []string           `json:"accept"`
}

// Side is one of the two images.
type Side struct {
	Reference string             `json:"reference"` // pinned
	Platforms []release.Platform `json:"platforms"`
	Size      int64              `json:"size"` // compressed, of all platforms together, in bytes
}

// Diff reads manifests and configs of two images and compares what they promise. Whoever names an image means its host, so
// local ones may be named. The error says which image could not be read.
func Diff(ctx context.Context, client *registry.Client, q DiffQuery) (Difference, error) {
	var images [2]registry.Image
	references := [2]release.Reference{q.Old, q.New}
	group, ctx := errgroup.WithContext(ctx)
	for i, reference := range references {
		group.Go(func() (err error) {
			images[i], err = client.Describe(ctx, registry.Query{
				Name: "diff", Image: release.Image{Reference: reference}, Listed: true,
				Registry: release.Registry{Host: reference.Registry, PlainHTTP: q.PlainHTTP},
			})
			if err != nil {
				return fmt.Errorf("reading %s: %w", reference, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Difference{}, err
	}
	mode := max(q.Mode, release.Fix)
	check := release.Check{
		Look:        release.Look{Image: release.Image{Reference: q.New}},
		Mode:        mode,
		Baseline:    &release.Release{Digest: images[0].Digest},
		ContractEnv: q.ContractEnv, ContractLabels: q.ContractLabels,
	}
	old := images[0].Contract
	old.Repository = q.Old.Registry + "/" + q.Old.Repository
	compared := compare(check, images[1], &old, release.Policy{})
	d := Difference{
		Old: sideOf(q.Old, images[0]), New: sideOf(q.New, images[1]), Mode: contract.Mode(mode),
		Contradicted: compared.Contradicted, Right: compared.Right, Findings: compared.findings, Accept: []string{},
	}
	for _, a := range compared.Accept {
		d.Accept = append(d.Accept, acceptLine(a))
	}
	if d.Findings == nil {
		d.Findings = []contract.Finding{}
	}
	return d, nil
}

func sideOf(reference release.Reference, image registry.Image) Side {
	side := Side{Reference: reference.Pin(image.Digest).String(), Size: image.Size}
	for _, p := range image.Platforms {
		side.Platforms = append(side.Platforms, p.Platform)
	}
	return side
}
