package release

import "time"

// ConditionStatus is True, False or Unknown, as Kubernetes has it.
type ConditionStatus string

// The three values of a condition.
const (
	True    ConditionStatus = "True"
	False   ConditionStatus = "False"
	Unknown ConditionStatus = "Unknown"
)

// Condition follows kstatus: Ready always; Reconciling and Stalled only while they hold.
type Condition struct {
	Type    string          `json:"type"`
	Status  ConditionStatus `json:"status"`
	Reason  Reason          `json:"reason"`
	Message string          `json:"message"`
	Since   time.Time       `json:"lastTransitionTime"`
}

// ImageStatus is the state of one image as images/<name>.yaml on the status branch holds it.
type ImageStatus struct {
	Conditions []Condition `json:"conditions"`
	Listed     bool        `json:"listed"`
	Channels   []Channel   `json:"channels,omitempty"`
	Changed    Commit      `json:"changed"` // the last commit that changed the spec
	Spec       *Spec       `json:"spec,omitempty"`
	Problems   []string    `json:"problems,omitempty"`
	Requests   []Request   `json:"requests,omitempty"`
	Backlog    []Change    `json:"backlog,omitempty"`
	Concluded  Reason      `json:"concluded,omitempty"`
}

// CatalogStatus is the state of the whole catalog as catalog.yaml on the status branch holds it.
type CatalogStatus struct {
	Conditions []Condition `json:"conditions"`
	// Observed is the first-parent commit up to which every change is in the statuses; empty for a catalog without commits.
	Observed string `json:"observed"`
	// Policy is true once a catalog.yaml was seen: from then on its absence is a mistake.
	Policy bool `json:"policy"`
	// Held is the commit whose deletions wait to be accepted, if any.
	Held     string    `json:"held,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is a file under images/ that stands for no image.
type Problem struct {
	Path    string `json:"path"`
	Reason  Reason `json:"reason"`
	Message string `json:"message"` // with its position
}
