package reconcile

import (
	"io"
	"log/slog"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/registry"
)

// Config is everything the daemon is told when it starts. Flags and environment are the command's matter.
type Config struct {
	Git          gitrepo.Options
	Branch       string // of the catalog
	StatusBranch string // where statuses and release records are written; may be the catalog's
	Registry     registry.Options

	// Interval is the pause between two looks at the repository.
	Interval time.Duration
	// Settle is how long a transient reason, and what an audit found, must last before it is written to Git.
	Settle time.Duration

	// AuditInterval is how often Run looks again at every release that a channel serves; 0 is never.
	AuditInterval time.Duration

	// Reviews say which pull requests Run reviews before they merge.
	Reviews ReviewConfig

	// AcceptRewrite is the commit to go on from after a rewrite of the catalog's history.
	AcceptRewrite string
	// AcceptDelisting is the commit whose deletion of more than half of the specs is meant.
	AcceptDelisting string

	// CommitSuffix is added to the subject of every commit, like "[skip ci]".
	CommitSuffix string
	Author       gitrepo.Person // of every commit
	// DryRun, if set, is told what would be written, and nothing is.
	DryRun io.Writer

	// MetricsPerImage is whether Metrics has gauges of each image, of the first thousand by name.
	MetricsPerImage bool

	Version string // of tidewaiter, for commits and metrics
	Log     *slog.Logger
	Now     func() time.Time
}
