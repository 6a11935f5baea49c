// Package release holds the arithmetic of releases: versions, requests, candidates, channels and statuses.
//
// It is pure. It promises that the same history, policy and answers give the same releases, whenever and however often
// [State.Advance] is called: what an image's commits changed is queued by [State.Observe] and taken into account one change
// at a time, each only when every request before it has its answer. It knows nothing of Git, registries, files or clocks;
// what it needs of them it is given as a [World].
//
// # The rules
//
// Let R be the versions ever released for an image, withdrawn ones included. A request is a change of the normalised
// reference or of the upgrade block against the last valid spec, made by a first-parent commit.
//
//  1. R empty: 1.0.0, or bump(from, mode) where from is given.
//  2. from given: it is in R (else UnknownBase), and the version is bump(from, mode).
//  3. Otherwise bump(max R, the greatest of the mode and the modes carried).
//  4. The version is not in R (else VersionExists).
//  5. An unknown mode is an error. No rule falls through to a default version.
//  6. A digest that is that of max R (with from: of the newest version of its major) is AlreadyReleased, except for an
//     incompatible upgrade over a withdrawn one.
//  7. An upgrade block equal to that of any release of the image is used up: UpgradeNotDeclared. The policy can turn this off.
//
// After the last rule the image itself is asked whether the mode is true; see [World.Check]. The rules of that are those of
// package contract, and what it is compared with is [State]'s to say: with from that release, for an incompatible upgrade the
// newest that is not withdrawn, otherwise what users of the line run now.
//
// # Queues
//
// Requests without from stand in the head queue; those with from in one queue for each major, except that a from equal to
// max R belongs to the head queue, drops what was carried and supersedes everything before it there. While R is empty there is
// one queue, and a newer request on another host supersedes a waiting one.
//
// Requests are taken in one first-parent order. A queue whose first request waits for a transient answer is passed over. A
// request refused for good is superseded by the next one in its queue, which carries its mode; one that names the same
// reference corrects it instead, which drops that mode and keeps what was carried. A declaration that is used up carries
// nothing whatever the request was refused for. AlreadyReleased and a delisting end a request with all that it carried.
//
// Holding releases back (suspend in a spec or in the policy, an invalid policy) is not an answer: requests keep their
// places, supersede nothing, and are taken up again where they stood.
package release
