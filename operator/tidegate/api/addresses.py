"""Where a user's URL must not lead the operator: its own machine, its link, and what hands out a machine's secrets.

The operator asks on behalf of whoever may write a release, from a place where more can be reached than they may.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address
METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
"""Where clouds tell a machine its credentials; the last is Azure's wire server, which hands out its certificates."""
_NOWHERE = ip_network("0.0.0.0/8")
_NAT64 = ip_network("64:ff9b::/96")


def literal(host: str) -> Address | None:
    """The address that a host is written as, if it is; without its zone."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def forbidden(address: Address) -> str:
    """What kind of address it is that no gate may ask; nothing where it may."""
    real = _within(address)
    kinds = (
        ("loopback", real.is_loopback),
        ("a metadata service", real in METADATA),
        ("link-local", real.is_link_local),
        ("unspecified", real.is_unspecified or (real.version == 4 and real in _NOWHERE)),
        ("multicast", real.is_multicast),
        ("reserved", real.version == 4 and real.is_reserved),
    )
    return next((kind for kind, is_so in kinds if is_so), "")


def _within(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
