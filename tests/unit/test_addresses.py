"""Where a user's URL must not lead the operator."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tidegate.api.addresses import forbidden, literal


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("169.254.169.254", "a metadata service"),
        ("fd00:ec2::254", "a metadata service"),
        ("100.100.100.200", "a metadata service"),
        ("168.63.129.16", "a metadata service"),
        ("::ffff:168.63.129.16", "a metadata service"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
    ],
)
def test_forbidden(address: str, kind: str) -> None:
    assert forbidden(ip_address(address)) == kind


@pytest.mark.parametrize("address", ["10.96.0.10", "192.168.1.1", "172.16.0.1", "8.8.8.8", "fd12::1", "2001:db8::1"])
def test_allowed(address: str) -> None:
    assert not forbidden(ip_address(address))


def test_a_host_that_is_an_address() -> None:
    assert literal("fe80::1%eth0") == ip_address("fe80::1")
    assert literal("[::1]") == ip_address("::1")
    assert literal("shop.example") is None
