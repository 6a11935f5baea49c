package review

// State is what a review comes to, in the words that forges have for commit statuses.
type State string

// The states.
const (
	Success State = "success"
	Failure State = "failure"
	Pending State = "pending" // it is being looked at
	Error   State = "error"   // nobody can tell now
)
