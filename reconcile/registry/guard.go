package registry

import (
	"net/netip"
	"slices"
)

// Addresses of the metadata and control services of clouds that lie outside the link-local ranges: AWS and Google over IPv6,
// Alibaba, Azure, Oracle.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("fd20:ce::254"),
	netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("192.0.0.192"),
}

// Ranges that never hold a registry: "this network" and reserved (RFC 6890), IPv4 compatible (RFC 4291), discard only
// (RFC 6666), Teredo (RFC 4380), whose addresses may stand for any IPv4 address.
var never = prefixes("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4", "::/96", "100::/64", "2001::/32")

// Ranges that hold one only where an operator says so: besides loopback, RFC 1918 and ULA, shared (RFC 6598) and benchmark
// (RFC 2544) space, site-local (RFC 3879).
var internal = prefixes("100.64.0.0/10", "198.18.0.0/15", "fec0::/10")

// Ranges whose addresses carry an IPv4 address at a byte: NAT64 (RFC 6052, RFC 8215 with the same layout) and 6to4 (RFC 3056).
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
}

// guard says why an address must not be dialled, or nothing. The policy naming a host lifts what is internal, and no more.
func guard(addr netip.Addr, named bool) (why string) {
	addr = addr.Unmap().WithZone("")
	for _, e := range embedding {
		if e.prefix.Contains(addr) {
			b := addr.As16()
			return guard(netip.AddrFrom4([4]byte(b[e.at:e.at+4])), named)
		}
	}
	contains := func(p netip.Prefix) bool { return p.Contains(addr) }
	switch {
	case slices.Contains(metadata, addr):
		return "a metadata service"
	case addr.IsLinkLocalUnicast():
		return "link-local"
	case addr.IsMulticast():
		return "multicast"
	case addr.IsLoopback():
		if !named {
			return "loopback"
		}
	case addr.IsUnspecified(), slices.ContainsFunc(never, contains):
		return "reserved"
	case addr.IsPrivate(), slices.ContainsFunc(internal, contains):
		if !named {
			return "private"
		}
	}
	return ""
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
