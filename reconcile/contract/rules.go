package contract

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is one way in which an image can break, or add to, what its users rely on.
type rule struct {
	id     string
	needs  Mode
	levels [3]Level // under Fix, Feature and Incompatible
	text   string   // what was found
	advice string   // what to do about it
	// image looks at two images as a whole, platforms at which platforms they have and names some of these, and platform at one
	// that both have. A rule has one of them.
	image     func(old, new *Contract) []change
	platforms func(old, new []string) []string
	platform  func(*pair) []change
}

// rules are judged in this order. A rule whose findings need different modes or levels has a row for each. A rule is added
// by its row here, its function below, and its test.
var rules = []rule{
	{id: "platform-removed", needs: Incompatible, levels: [3]Level{Deny, Deny, Info}, platforms: platformsRemoved,
		text:   "the image is no longer there for this platform",
		advice: "build the image for this platform too, or declare incompatible"},
	{id: "platform-added", needs: Feature, levels: [3]Level{Info, Info, Info}, platforms: platformsAdded,
		text:   "the image is there for one more platform",
		advice: "declare compatible-feature, so that users see the new platform"},
	{id: "index-to-single", needs: Incompatible, levels: [3]Level{Deny, Deny, Warn}, image: indexToSingle,
		text:   "an index became a single manifest",
		advice: "push an index again, even for one platform: its users choose by platform"},
	{id: "artifact-type-changed", needs: Incompatible, levels: [3]Level{Deny, Deny, Warn}, platform: artifactTypeChanged,
		text:   "the type of the artifact differs",
		advice: "push an artifact of the same type, or declare incompatible"},
	{id: "repository-changed", needs: Incompatible, levels: [3]Level{Warn, Warn, Info}, image: repositoryChanged,
		text:   "the image is in another registry or repository",
		advice: "make sure that every user can pull from there: network, mirror and credentials"},
	{id: "entrypoint-changed", needs: Incompatible, levels: [3]Level{Deny, Deny, Info}, platform: entrypointChanged,
		text:   "the entrypoint differs",
		advice: "keep the entrypoint, or declare incompatible: users pass arguments to it"},
	{id: "cmd-changed", needs: Feature, levels: [3]Level{Warn, Info, Info}, platform: cmdChanged,
		text:   "the default command differs",
		advice: "declare compatible-feature: the image does something else when it is run without arguments"},
	{id: "user-changed", needs: Incompatible, levels: [3]Level{Deny, Deny, Info}, platform: userChanged,
		text:   "the image runs as another user",
		advice: "keep the user, or declare incompatible: mounted files belong to the old one"},
	{id: "user-to-root", needs: Incompatible, levels: [3]Level{Deny, Deny, Warn}, platform: userToRoot,
		text:   "the image did not run as root and now does",
		advice: "set USER again: clusters that require runAsNonRoot refuse the image"},
	{id: "workdir-changed", needs: Incompatible, levels: [3]Level{Warn, Warn, Info}, platform: workdirChanged,
		text:   "the working directory differs",
		advice: "keep the working directory, or declare incompatible: users pass relative paths"},
	{id: "port-removed", needs: Incompatible, levels: [3]Level{Deny, Deny, Info}, platform: portsRemoved,
		text:   "the port is no longer exposed",
		advice: "expose the port again, or declare incompatible"},
	{id: "port-added", needs: Feature, levels: [3]Level{Info, Info, Info}, platform: portsAdded,
		text:   "one more port is exposed",
		advice: "declare compatible-feature, so that users see the new port"},
	{id: "volume-removed", needs: Incompatible, levels: [3]Level{Deny, Deny, Warn}, platform: volumesRemoved,
		text:   "the path is no longer a volume",
		advice: "keep the volume, or declare incompatible and say in the notes how data moves: what users mount there is no longer read"},
	{id: "volume-added", needs: Incompatible, levels: [3]Level{Deny, Deny, Warn}, platform: volumesAdded,
		text:   "the path became a volume",
		advice: "drop the volume, or declare incompatible: what the image has there is hidden, and data goes to anonymous volumes"},
	{id: "env-removed", needs: Incompatible, levels: [3]Level{Deny, Deny, Info}, platform: contractKeysRemoved,
		text:   "a variable that users rely on is no longer set",
		advice: "set the variable again, or declare incompatible: users rely on it"},
	{id: "env-removed", needs: Incompatible, levels: [3]Level{Warn, Warn, Info}, platform: otherKeysRemoved,
		text:   "the variable is no longer set",
		advice: "set the variable again if anybody may read it"},
	{id: "env-changed", needs: Incompatible, levels: [3]Level{Deny, Deny, Info}, platform: contractKeysChanged,
		text:   "a variable that users rely on has another value",
		advice: "keep the value, or declare incompatible: users rely on it"},
	{id: "env-changed", needs: Fix, levels: [3]Level{Info, Info, Info}, platform: otherKeysChanged,
		text:   "the variable has another value",
		advice: "list the variable in contractEnv if users rely on it"},
	{id: "env-path-lost", needs: Incompatible, levels: [3]Level{Deny, Deny, Info}, platform: pathLost,
		text:   "the directory is no longer on PATH",
		advice: "put the directory back on PATH, or declare incompatible: commands are no longer found"},
	{id: "stopsignal-changed", needs: Incompatible, levels: [3]Level{Warn, Warn, Info}, platform: stopSignalChanged,
		text:   "the stop signal differs",
		advice: "keep the stop signal, or check that the image still stops cleanly"},
	{id: "shell-changed", needs: Incompatible, levels: [3]Level{Warn, Warn, Info}, platform: shellChanged,
		text:   "the shell differs",
		advice: "keep the shell, or check what is built from the image: its RUN lines use it"},
	{id: "onbuild-changed", needs: Incompatible, levels: [3]Level{Warn, Warn, Info}, platform: onBuildChanged,
		text:   "the ONBUILD triggers differ",
		advice: "keep the ONBUILD triggers, or check what is built from the image"},
	{id: "healthcheck-changed", needs: Feature, levels: [3]Level{Warn, Info, Info}, platform: healthcheckChanged,
		text:   "the health check differs",
		advice: "declare compatible-feature: engines restart or wait for containers by it"},
	{id: "label-removed", needs: Incompatible, levels: [3]Level{Deny, Deny, Info}, platform: contractLabelsRemoved,
		text:   "a label that users rely on is no longer set",
		advice: "set the label again, or declare incompatible: users rely on it"},
	{id: "label-removed", needs: Feature, levels: [3]Level{Info, Info, Info}, platform: otherLabelsRemoved,
		text:   "the label is no longer set",
		advice: "list the label in contractLabels if users rely on it"},
	{id: "base-changed", needs: Incompatible, levels: [3]Level{Warn, Warn, Info}, platform: baseChanged,
		text:   "the base image differs",
		advice: "check what is installed on top: packages, libc and shell may be others"},
	{id: "created-regressed", needs: NoMode, levels: [3]Level{Warn, Warn, Warn}, platform: createdRegressed,
		text:   "the image was created before the one it is compared with",
		advice: "check that this is the build you meant"},
	{id: "size-growth", needs: Feature, levels: [3]Level{Warn, Warn, Info}, platform: sizeDoubled,
		text:   "the compressed size grew by over 100 %",
		advice: "look at what came in, or declare compatible-feature and say in the notes why"},
	{id: "size-growth", needs: Fix, levels: [3]Level{Warn, Info, Info}, platform: sizeGrown,
		text:   "the compressed size grew by over 25 %",
		advice: "look at what came in"},
}

// platformMismatch is about the new image alone.
var platformMismatch = rule{id: "platform-mismatch", needs: NoMode, levels: [3]Level{Deny, Deny, Deny},
	text:   "the config says another platform than the index",
	advice: "build the image for the platform that the index says: it does not run there"}

// Rules are the ids of all rules, those that a policy and a spec may name.
func Rules() []string {
	ids := []string{platformMismatch.id}
	for _, r := range rules {
		ids = append(ids, r.id)
	}
	return slices.Compact(ids)
}

func platformsRemoved(old, new []string) []string { return gone(old, new) }
func platformsAdded(old, new []string) []string   { return gone(new, old) }

func indexToSingle(old, new *Contract) []change {
	if !old.Index || new.Index {
		return nil
	}
	return []change{{"", "index", "manifest"}}
}

func repositoryChanged(old, new *Contract) []change {
	if old.Repository == "" || new.Repository == "" {
		return nil
	}
	return differs(old.Repository, new.Repository)
}

func artifactTypeChanged(p *pair) []change {
	return differs(cmp.Or(p.old.ArtifactType, "container image"), cmp.Or(p.new.ArtifactType, "container image"))
}

func entrypointChanged(p *pair) []change { return listDiffers(p.old.Entrypoint, p.new.Entrypoint) }
func cmdChanged(p *pair) []change        { return listDiffers(p.old.Cmd, p.new.Cmd) }
func shellChanged(p *pair) []change      { return listDiffers(p.old.Shell, p.new.Shell) }

func userChanged(p *pair) []change {
	if isRoot(p.new.User) && !isRoot(p.old.User) {
		return nil // user-to-root says it
	}
	return differs(cmp.Or(p.old.User, "root"), cmp.Or(p.new.User, "root"))
}

func userToRoot(p *pair) []change {
	if !isRoot(p.new.User) || isRoot(p.old.User) {
		return nil
	}
	return differs(p.old.User, cmp.Or(p.new.User, "root"))
}

func workdirChanged(p *pair) []change {
	return differs(cmp.Or(p.old.Workdir, "/"), cmp.Or(p.new.Workdir, "/"))
}

func portsRemoved(p *pair) []change   { return subjects(gone(p.old.Ports, p.new.Ports)) }
func portsAdded(p *pair) []change     { return subjects(gone(p.new.Ports, p.old.Ports)) }
func volumesRemoved(p *pair) []change { return subjects(gone(p.old.Volumes, p.new.Volumes)) }
func volumesAdded(p *pair) []change   { return subjects(gone(p.new.Volumes, p.old.Volumes)) }

func contractKeysRemoved(p *pair) []change { return keysRemoved(p, p.relied) }
func otherKeysRemoved(p *pair) []change    { return keysRemoved(p, p.ordinary) }
func contractKeysChanged(p *pair) []change { return keysChanged(p, p.relied) }
func otherKeysChanged(p *pair) []change    { return keysChanged(p, p.ordinary) }

func keysRemoved(p *pair, counts func(string) bool) (changes []change) {
	for key, value := range p.old.Env {
		if _, kept := p.new.Env[key]; !kept && counts(key) {
			changes = append(changes, change{key, readable(key, value), ""})
		}
	}
	return changes
}

func keysChanged(p *pair, counts func(string) bool) (changes []change) {
	for key, old := range p.old.Env {
		if new, kept := p.new.Env[key]; kept && new != old && key != "PATH" && counts(key) {
			changes = append(changes, change{key, readable(key, old), readable(key, new)})
		}
	}
	return changes
}

// readable is a value of the environment where it may be shown: of the others there is only a hash.
func readable(key, value string) string {
	if key == "PATH" || key == "LANG" {
		return value
	}
	return ""
}

// relied reports whether users rely on a key of the environment.
func (p *pair) relied(key string) bool {
	switch key {
	case "PATH", "LD_LIBRARY_PATH", "HOME", "LANG":
		return true
	}
	return strings.HasPrefix(key, "LC_") || strings.HasSuffix(key, "_HOME") || p.env[key]
}

// volatile are the endings of keys that change with what is installed.
var volatile = []string{
	"_VERSION", "_REVISION", "_COMMIT", "_DOWNLOAD_URL", "_CHECKSUM", "_SHA", "_SHA1", "_SHA256", "_SHA512", "_MD5",
}

// ordinary reports whether a key is neither relied on nor one whose value only says what is installed.
func (p *pair) ordinary(key string) bool {
	return !p.relied(key) && !slices.ContainsFunc(volatile, func(ending string) bool { return strings.HasSuffix(key, ending) })
}

// pathLost is about the directories of a PATH that is still there; one that is gone is env-removed.
func pathLost(p *pair) []change {
	path, kept := p.new.Env["PATH"]
	if !kept || path == p.old.Env["PATH"] {
		return nil
	}
	return subjects(gone(directories(p.old.Env["PATH"]), directories(path)))
}

func stopSignalChanged(p *pair) []change {
	return differs("SIG"+cmp.Or(p.old.StopSignal, "TERM"), "SIG"+cmp.Or(p.new.StopSignal, "TERM"))
}

func onBuildChanged(p *pair) []change     { return hashDiffers(p.old.OnBuild, p.new.OnBuild) }
func healthcheckChanged(p *pair) []change { return hashDiffers(p.old.Healthcheck, p.new.Healthcheck) }

func contractLabelsRemoved(p *pair) []change {
	return subjects(slices.DeleteFunc(gone(p.old.Labels, p.new.Labels), func(key string) bool { return !p.labels[key] }))
}

func otherLabelsRemoved(p *pair) []change {
	return subjects(slices.DeleteFunc(gone(p.old.Labels, p.new.Labels), func(key string) bool {
		return p.labels[key] || strings.HasPrefix(key, "org.opencontainers.")
	}))
}

// baseChanged needs the annotation on both sides: many builders write none.
func baseChanged(p *pair) []change {
	if p.old.Base == "" || p.new.Base == "" {
		return nil
	}
	return differs(p.old.Base, p.new.Base)
}

func createdRegressed(p *pair) []change {
	old, new := p.old.Created, p.new.Created
	if old.IsZero() || new.IsZero() || !new.Before(old) {
		return nil
	}
	return differs(old.Format(time.RFC3339), new.Format(time.RFC3339))
}

func sizeDoubled(p *pair) []change {
	if old, new := p.old.Size, p.new.Size; old > 0 && new > 2*old {
		return []change{{"", Bytes(old), Bytes(new)}}
	}
	return nil
}

func sizeGrown(p *pair) []change {
	if old, new := p.old.Size, p.new.Size; old > 0 && 4*new > 5*old && new <= 2*old {
		return []change{{"", Bytes(old), Bytes(new)}}
	}
	return nil
}

// Bytes is a size in units of 10³ or 10⁶ bytes, as registries and engines show it.
func Bytes(n int64) string {
	if n < 1e6 {
		return strconv.FormatFloat(float64(n)/1e3, 'f', 1, 64) + " kB"
	}
	return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
}

// gone are the entries of old that new does not have; both are sorted.
func gone(old, new []string) (entries []string) {
	for _, entry := range old {
		if _, kept := slices.BinarySearch(new, entry); !kept {
			entries = append(entries, entry)
		}
	}
	return entries
}

func subjects(entries []string) (changes []change) {
	for _, entry := range entries {
		changes = append(changes, change{subject: entry})
	}
	return changes
}

func differs(old, new string) []change {
	if old == new {
		return nil
	}
	return []change{{"", old, new}}
}

func listDiffers(old, new []string) []change {
	if slices.Equal(old, new) {
		return nil
	}
	return []change{{"", list(old), list(new)}}
}

// list writes an argument list in the exec form of a Dockerfile.
func list(arguments []string) string {
	if len(arguments) == 0 {
		return "unset"
	}
	quoted := make([]string, len(arguments))
	for i, a := range arguments {
		quoted[i] = strconv.Quote(a)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// hashDiffers is for what only a hash is known of.
func hashDiffers(old, new string) []change {
	switch {
	case old == new:
		return nil
	case old == "":
		return []change{{"", "unset", "set"}}
	case new == "":
		return []change{{"", "set", "unset"}}
	}
	return []change{{"", "set", "set otherwise"}}
}
