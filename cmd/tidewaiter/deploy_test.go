package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"tidewaiter/reconcile/web"
)

const deployDir = "../../catalog-example/deploy"

// deployment is how one of the ways to deploy runs the daemon.
type deployment struct {
	arguments []string
	mounts    map[string]bool // by path in the container: whether it can be written to
	port      int             // that the page is expected on
}

// TestDeployments: what people copy runs. Its arguments are those of tidewaiter run, and secrets are where the README has them. Each
// file that they name is mounted and nothing else is, and nothing but /tmp can be written to.
func TestDeployments(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]deployment{"compose": compose(t), "kustomize": kustomize(t)} {
		t.Run(name, func(t *testing.T) {
			cmd, arguments, err := newRoot().Find(d.arguments)
			if err != nil || cmd.Name() != "run" {
				t.Fatalf("%q does not run the daemon: %v", d.arguments, err)
			}
			if err := cmd.ParseFlags(arguments); err != nil {
				t.Fatalf("tidewaiter run: %v", err)
			}
			if err := newDoctor().ParseFlags(arguments); err != nil {
				t.Errorf("tidewaiter doctor, which tries what tidewaiter run needs: %v", err)
			}
			if rest := cmd.Flags().Args(); len(rest) > 0 {
				t.Errorf("tidewaiter run takes no arguments like %q", rest)
			}
			needed := map[string]bool{"/tmp": true}
			for _, argument := range arguments {
				flag, file, _ := strings.Cut(argument, "=")
				if !strings.HasPrefix(file, "/") {
					continue
				}
				if !strings.Contains(string(readme), flag+" "+file) {
					t.Errorf("the README starts the daemon without %s %s", flag, file)
				}
				mounted := false
				for mount := range d.mounts {
					if within(file, mount) {
						mounted, needed[mount] = true, true
					}
				}
				if !mounted {
					t.Errorf("%s: nothing is mounted there", argument)
				}
			}
			for mount, writable := range d.mounts {
				if !needed[mount] || writable != (mount == "/tmp") {
					t.Errorf("%s is mounted, can be written to: %t, and is needed: %t", mount, writable, needed[mount])
				}
			}
			if _, tmp := d.mounts["/tmp"]; !tmp {
				t.Error("there is no /tmp for the Git cache")
			}
			if listen := cmd.Flag("listen").Value.String(); listen != fmt.Sprint(":", d.port) {
				t.Errorf("the daemon listens on %s, and the page is expected on port %d", listen, d.port)
			}
		})
	}
}

func within(file, dir string) bool { return strings.HasPrefix(file+"/", dir+"/") }

// compose is what the compose file runs. Files of this repository that it mounts must be there.
func compose(t *testing.T) deployment {
	t.Helper()
	var file struct {
		Services map[string]struct {
			Command  []string
			ReadOnly bool `json:"read_only"`
			Tmpfs    []string
			Volumes  []string
			Ports    []string
		}
		Volumes map[string]any
	}
	decode(t, "compose.yaml", &file)
	for name, service := range file.Services {
		for _, volume := range service.Volumes {
			source := strings.Split(volume, ":")[0]
			if _, named := file.Volumes[source]; named || source == "./secrets" {
				continue
			}
			if _, err := os.Stat(filepath.Join(deployDir, source)); err != nil || !strings.HasSuffix(volume, ":ro") {
				t.Errorf("%s mounts %s: it must be there, and be read only: %v", name, volume, err)
			}
		}
	}
	// Prometheus scrapes the daemon, and Grafana asks Prometheus and reads the dashboards.
	for config, needs := range map[string][]string{
		"prometheus.yaml": {"targets: [tidewaiter:8080]", "rule_files: [tidewaiter.rules.yaml]"},
		"../grafana/provisioning/datasources/prometheus.yaml": {"url: http://prometheus:9090"},
		"../grafana/provisioning/dashboards/tidewaiter.yaml":  {"path: /var/lib/grafana/dashboards/tidewaiter"},
	} {
		text, err := os.ReadFile(filepath.Join(deployDir, config))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range needs {
			if !strings.Contains(string(text), line+"\n") {
				t.Errorf("%s does not say %s, as the compose file has it", config, line)
			}
		}
	}
	for service, volume := range map[string]string{
		"prometheus": "../prometheus/tidewaiter.rules.yaml:/etc/prometheus/tidewaiter.rules.yaml:ro",
		"grafana":    "../grafana:/var/lib/grafana/dashboards/tidewaiter:ro",
	} {
		if !slices.Contains(file.Services[service].Volumes, volume) {
			t.Errorf("compose.yaml: %s lacks %s", service, volume)
		}
	}
	service := file.Services["tidewaiter"]
	if !service.ReadOnly {
		t.Error("compose.yaml: the daemon's root can be written to")
	}
	d := deployment{arguments: service.Command, mounts: map[string]bool{}}
	for _, tmpfs := range service.Tmpfs {
		d.mounts[tmpfs] = true
	}
	for _, volume := range service.Volumes {
		d.mounts[strings.Split(volume, ":")[1]] = !strings.HasSuffix(volume, ":ro")
	}
	if len(service.Ports) > 0 {
		_, _ = fmt.Sscanf(service.Ports[0], "127.0.0.1:8080:%d", &d.port)
	}
	return d
}

// pod is what there is of a Deployment, or of a patch of one.
type pod struct {
	Spec struct {
		Template struct {
			Spec struct {
				EnableServiceLinks *bool
				AutomountToken     *bool `json:"automountServiceAccountToken"`
				SecurityContext    struct {
					RunAsNonRoot bool
					RunAsUser    int
				}
				Containers []struct {
					Args            []string
					Ports           []struct{ ContainerPort int }
					LivenessProbe   probe
					ReadinessProbe  probe
					SecurityContext struct {
						Escalation   *bool `json:"allowPrivilegeEscalation"`
						ReadOnlyRoot bool  `json:"readOnlyRootFilesystem"`
						Capabilities struct{ Drop []string }
					}
					VolumeMounts []struct {
						MountPath string
						ReadOnly  bool
					}
				}
				Volumes []struct {
					Projected struct {
						Sources []struct {
							Secret struct {
								Name  string
								Items []struct{ Key, Path string }
							}
						}
					}
				}
			}
		}
	}
}

type probe struct{ HTTPGet struct{ Path string } }

// kustomize is what the Deployment of the base runs with the arguments of the example.
func kustomize(t *testing.T) deployment {
	t.Helper()
	var base, patch pod
	decode(t, "kustomize/base/deployment.yaml", &base)
	decode(t, "kustomize/example/arguments.yaml", &patch)
	spec, with := base.Spec.Template.Spec, patch.Spec.Template.Spec
	if len(spec.Containers) != 1 || len(with.Containers) != 1 {
		t.Fatal("there is one container")
	}
	container, added := spec.Containers[0], with.Containers[0]
	no := func(b *bool) bool { return b != nil && !*b }
	if !container.SecurityContext.ReadOnlyRoot || !no(container.SecurityContext.Escalation) || !spec.SecurityContext.RunAsNonRoot ||
		!slices.Equal(container.SecurityContext.Capabilities.Drop, []string{"ALL"}) || !no(spec.AutomountToken) {
		t.Errorf("the pod may more than it needs: %+v", spec)
	}
	d := deployment{arguments: added.Args, mounts: map[string]bool{}, port: container.Ports[0].ContainerPort}
	for _, mount := range slices.Concat(container.VolumeMounts, added.VolumeMounts) {
		d.mounts[mount.MountPath] = !mount.ReadOnly
	}

	// The image says who runs it, and on which port.
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{fmt.Sprintf("USER %[1]d:%[1]d", spec.SecurityContext.RunAsUser), fmt.Sprint("EXPOSE ", d.port)} {
		if !strings.Contains(string(dockerfile), "\n"+line+"\n") {
			t.Errorf("the Dockerfile does not say %s", line)
		}
	}
	// Probes ask for what is served.
	page := web.Handler(web.Options{Ready: func() bool { return true }, Log: slog.New(slog.DiscardHandler)})
	for _, probe := range []probe{container.LivenessProbe, container.ReadinessProbe} {
		answer := httptest.NewRecorder()
		page.ServeHTTP(answer, httptest.NewRequest("GET", probe.HTTPGet.Path, nil))
		if answer.Code != 200 {
			t.Errorf("a probe asks for %q, and is answered %d", probe.HTTPGet.Path, answer.Code)
		}
	}
	// Each secret is made by the commands that are shown, and its keys become the files that are read.
	howTo, err := os.ReadFile(filepath.Join(deployDir, "kustomize/example/kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, source := range with.Volumes[0].Projected.Sources {
		_, made, _ := strings.Cut(string(howTo), "create secret generic "+source.Secret.Name+" ")
		made, _, _ = strings.Cut(made, "\n")
		for _, item := range source.Secret.Items {
			if !strings.Contains(made+" ", "--from-file="+item.Key+" ") && !strings.Contains(made, "--from-literal="+item.Key+"=") {
				t.Errorf("nothing says how the key %s of the secret %s is made", item.Key, source.Secret.Name)
			}
			files = append(files, path.Join(added.VolumeMounts[0].MountPath, item.Path))
		}
	}
	catalog, err := os.ReadFile("../../catalog-example/catalog.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/run/secrets/git-token"}
	for _, credential := range regexp.MustCompile(`credentials: (\S+)`).FindAllStringSubmatch(string(catalog), -1) {
		want = append(want, "/run/secrets/registries/"+credential[1]+"/username", "/run/secrets/registries/"+credential[1]+"/password")
	}
	if !slices.Equal(files, want) {
		t.Errorf("the secrets are the files %q, want %q", files, want)
	}
	// A Service called tidewaiter makes Kubernetes set variables like TIDEWAITER_PORT, which are refused as misspelled flags.
	var stderr strings.Builder
	execute(t.Context(), []string{"version"}, []string{"TIDEWAITER_PORT=tcp://10.0.0.1:80"}, io.Discard, &stderr)
	if strings.Contains(stderr.String(), "TIDEWAITER_PORT") && !no(spec.EnableServiceLinks) {
		t.Errorf("the daemon would not start: %s", &stderr)
	}
	return d
}

// TestNetworkPolicy: what the daemon serves may come in. Names, Git and every registry of the example catalog may be asked.
func TestNetworkPolicy(t *testing.T) {
	type rule struct {
		Ports []struct {
			Protocol string
			Port     int
		}
	}
	type policy struct {
		Spec struct {
			PodSelector     struct{ MatchLabels map[string]string }
			Ingress, Egress []rule
		}
	}
	var base, patch policy
	decode(t, "kustomize/base/networkpolicy.yaml", &base)
	decode(t, "kustomize/example/registry-port.yaml", &patch)
	if len(base.Spec.PodSelector.MatchLabels) == 0 {
		t.Error("the policy is for every pod of the namespace")
	}
	ports := func(rules []rule) (all []string) {
		for _, r := range rules {
			for _, p := range r.Ports {
				all = append(all, fmt.Sprint(p.Protocol, p.Port))
			}
		}
		return all
	}
	catalog, err := os.ReadFile("../../catalog-example/catalog.yaml")
	if err != nil {
		t.Fatal(err)
	}
	served, everybody := []string{"TCP8080"}, []string{"UDP53", "TCP53", "TCP443", "TCP22"}
	asked := slices.Clone(everybody)
	for _, registry := range regexp.MustCompile(`host: \S+:(\d+)`).FindAllStringSubmatch(string(catalog), -1) {
		asked = append(asked, "TCP"+registry[1])
	}
	if in := ports(base.Spec.Ingress); !slices.Equal(in, served) {
		t.Errorf("the network lets in %q, want %q", in, served)
	}
	if out := ports(base.Spec.Egress); !slices.Equal(out, everybody) {
		t.Errorf("the network lets out %q, want %q", out, everybody)
	}
	if out := ports(patch.Spec.Egress); !slices.Equal(out, asked) { // it replaces that of the base
		t.Errorf("where the example catalog is, the network lets out %q, want %q", out, asked)
	}
}

// decode reads the one document of a file.
func decode(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployDir, file))
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	data, err := json.Marshal(document) // whose decoder does not mind upper and lower case
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
