package gitrepo

import (
	"context"
	"os/exec"
	"strings"
)

// Origin is the URL of the remote "origin" of the checkout that a directory is in, empty where there is none or no git program.
func Origin(ctx context.Context, dir string) string {
	url, err := exec.CommandContext(ctx, "git", "-C", dir, "remote", "get-url", "origin").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(url))
}
