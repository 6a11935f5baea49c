package contract

import (
	"fmt"
	"strings"
	"testing"
)

// eight is an image of eight platforms whose config is as rich as that of a language image on Docker Hub; no two are alike.
func eight(change string) Source {
	var parts []part
	for i, platform := range []string{"386", "amd64", "arm/v5", "arm/v7", "arm64", "ppc64le", "riscv64", "s390x"} {
		var env []string
		for j := range 20 {
			env = append(env, fmt.Sprintf(`"KEY_%d=%d"`, j, i))
		}
		config := fmt.Sprintf(`{"Env": ["PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin", %s],
			"Entrypoint": ["/entrypoint.sh"], "Cmd": ["serve"], "ExposedPorts": {"80/tcp": {}, "443/tcp": {}}, "Volumes": {"/data": {}},
			"Labels": {"a": "", "b": "", "c": ""} %s}`, strings.Join(env, ", "), change)
		parts = append(parts, part{platform: "linux/" + platform, config: config, size: 1 << 28, created: "2026-11-01T00:00:00Z"})
	}
	return multi(parts...)
}

func BenchmarkCompareEqual(b *testing.B) { benchmarkCompare(b, eight("")) }

func BenchmarkCompareChanged(b *testing.B) {
	benchmarkCompare(b, eight(`, "Entrypoint": ["/other"], "User": "app", "ExposedPorts": {"8080/tcp": {}}, "Volumes": {}`))
}

func benchmarkCompare(b *testing.B, changed Source) {
	old, new := contractOf(b, eight("")), contractOf(b, changed)
	b.ReportAllocs()
	for b.Loop() {
		Compare(old, new, Policy{Mode: Fix})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "comparisons/s")
}

func BenchmarkNew(b *testing.B) {
	source := eight("")
	b.ReportAllocs()
	for b.Loop() {
		contractOf(b, source)
	}
}
