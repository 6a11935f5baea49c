// Package reconcile keeps a catalog: it watches a Git repository of specs, releases what was merged, and writes back what
// became of it. [Daemon.Pass] is the whole story; read it first.
//
// # One pass
//
// A pass asks where the branches are, reads what was written (only if somebody else wrote), walks the first parents since
// the commit observed last, lets package release work out what follows, and writes the outcome as one commit on exactly
// what was read. It never waits for a registry: what is unknown is asked in the background, and when answers come, the next
// pass goes on with them. So a registry that hangs delays its own images and nobody else's.
//
// Where the branch has not moved, no answer came and nothing is due, a pass is one request for refs.
//
// # What is where
//
// Git is the only state. The catalog's branch is people's: it is read and never written. The status branch is the daemon's:
// release records that never change, one status per image with every request that is not final, and the commit observed. A
// status holds what planning needs, so a start reads statuses and the specs at the observed commit, and no history before it.
//
// Whoever asks before a merge (tidewaiter check) is answered by the same planner and verifier on states that are thrown away, and
// whoever asks after it (the page and the API) by a copy of what is written, one for each pass that changed something.
//
// Everything in memory is either a copy of what Git holds or follows from it and the answers of registries. When another
// daemon writes first, all that follows is thrown away and worked out again from what is there now.
//
// Pull requests are reviewed in rounds beside the passes (reviews.go), in a repository of their own, so that what a stranger pushes
// is bounded and holds up nothing. A pass only tells them what moved and what was written. What they find is in memory alone: a
// restart works it out again, and forges are told it again where they show something else (posts.go).
//
// # Invariants
//
//  1. People's files are never written.
//  2. A pass makes at most one commit, exactly on what was read, or nothing.
//  3. A pass without outside change is silent: no commit, no request but for the refs and what an audit or a review that is due asks.
//  4. A release record never changes.
//  5. A version is greater than the release it upgrades and is never used twice; a channel moves back or empties only by a
//     withdrawal or a delisting.
//  6. The outcome is independent of polling and crashes.
//  7. The author's mistake, the world's answer and our own error are three kinds and never mixed.
//
// # Decisions
//
// What is news. A status is written when something that people or consumers see has changed: a release, a condition, a
// channel, a problem. Everything else (the commit that changed a title, a request that is being looked at) is written along
// with the next news, or worked out again by the next start. That keeps quiet catalogs quiet and makes statuses readable.
//
// Backlog. A commit may be observed while a request before it has no answer yet. What it did is then kept in the image's
// status as it is, and taken into account when its turn comes. This is what makes the outcome independent of how fast
// registries answer, and lets the observed commit move on for all other images.
//
// Reading the specs again at a start costs a few seconds for ten thousand of them. It is what a file that is invalid, or one
// of two with the same name, means that makes it worthwhile: there is no second copy of that in the statuses that could be wrong.
//
// Files that a spec refers to (a Dockerfile by path, a logo) decide nothing about a release, so a pass does not look at them;
// tidewaiter check does, and the page shows them as they are. The same holds for categories and debug projects.
//
// What a release promised is compared from its record and never read from the registry again: a check costs no request, and
// holds when the old image is gone. Only a record without a contract, which a daemon does not write, makes an UpgradeUnknown.
//
// Audits are started and taken in between passes, so they make none of their own: what one finds is known an interval later,
// and written when it has lasted. That a tag moved is said of a release once and for good. Tags that move do so again and
// again, and a status that followed them would be a commit each time.
//
// What is said before a merge holds as long as nothing else is merged and no tag moves. For that the reviews know what was merged and is
// not written, since it is no news; tidewaiter check knows the statuses alone, and counts from there. That a digest changed since its review is
// said and decides nothing, because nothing that is not in Git may. Which pull request a release came of is found by what was asked,
// reference and declaration, since a squash or a rebase leaves no other trace in Git; who merged it is for the forge to say.
//
// A record waits a moment for the forge to name who approved, and not at all where the forge did not answer the time before
// (approvals.go). So two daemons may differ on who is named, never on what is released.
//
// A file with a mistake stands for the image last read at its path even if it names another one, so that a mistake never
// delists.
package reconcile
