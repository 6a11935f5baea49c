package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite what the scripts expect to be shown")

// TestMain makes this binary the programs that scripts run: tidewaiter itself, and daemon, which is tidewaiter run on a free
// port with its log in the file daemon.log.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tidewaiter": main,
		"daemon": func() {
			log, err := os.Create(filepath.Join(os.Getenv("WORK"), daemonLog))
			if err != nil {
				panic(err)
			}
			os.Stderr = log
			os.Args = slices.Concat([]string{"tidewaiter", "run", "--listen", "127.0.0.1:0"}, os.Args[1:])
			main()
		},
	})
}

// TestScripts runs every scenario in testdata/script. Whatever a scenario is about, at its end the repository on the server is
// whole, no release record was ever changed or deleted, and no channel ever named a version of another line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		Setup:         setStage,
		Cmds:          commands(),
		UpdateScripts: *update,
	})
}

// TestExampleCatalog holds the catalog that people copy to what it teaches.
func TestExampleCatalog(t *testing.T) {
	var stdout, stderr strings.Builder
	if code := execute(t.Context(), []string{"check", "../../catalog-example"}, nil, &stdout, &stderr); code != 0 {
		t.Errorf("tidewaiter check catalog-example: exit code %d\n%s%s", code, &stdout, &stderr)
	}
}

// TestDemo plays the whole story of the demo.
func TestDemo(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	if code := execute(t.Context(), []string{"demo", "--exit", "--verbose"}, nil, &stdout, &stderr); code != 0 {
		t.Errorf("tidewaiter demo --exit: exit code %d\n%s%s", code, &stdout, &stderr)
	}
	t.Log(stdout.String())
}
