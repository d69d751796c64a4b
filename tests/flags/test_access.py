"""Tokens as files: which count, which are left out, and how a new one takes the place of an old one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tidegate.flags.access import Access, Caller, Refused, callers, selected, selector_token
from tidegate.flags.served import Kind


def test_a_file_has_tokens_line_by_line_or_their_hashes() -> None:
    hashed = hashlib.sha256(b"third-token-of-shop").hexdigest()
    found = callers(
        {"my.shop.server": f"# of the team\nfirst-token-of-shop\n\nsecond-token-of-shop\nsha256:{hashed}\n"}
    )
    assert len(found) == 3
    assert {(one.flag_set, one.kind) for one in found.values()} == {("my.shop", Kind.SERVER)}
    assert hashlib.sha256(b"third-token-of-shop").digest() in found


def test_what_cannot_be_right_is_told_of_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    assert (
        callers({"shop.server": "short\n", "shop.admin": "a-token-of-some-length", "server": "a-token-of-some-length"})
        == {}
    )
    assert "shop.server, line 1" in caplog.text
    assert "short" not in caplog.text.replace("shorter", "")
    assert "a-token" not in caplog.text


def test_a_new_token_holds_and_an_old_one_does_not_when_the_folder_is_seen_again(tmp_path: Path) -> None:
    file = tmp_path / "shop.client"
    file.write_text("old-token-of-shop")
    access = Access(tmp_path)
    assert isinstance(access.who("old-token-of-shop", ""), Caller)
    file.write_text("the-new-token-of-shop")
    access.look()
    assert isinstance(access.who("old-token-of-shop", ""), Refused)
    caller = access.who("the-new-token-of-shop", "shop")
    assert isinstance(caller, Caller)
    assert caller.kind is Kind.CLIENT
    assert access.listener("shop", caller.ticket) == caller
    file.unlink()
    tmp_path.rmdir()
    access.look()
    assert isinstance(access.who("the-new-token-of-shop", ""), Caller), (
        "a folder that is away takes nothing from anybody"
    )


def test_no_tokens_means_nobody(tmp_path: Path) -> None:
    access = Access(tmp_path)
    assert access.who("", "") == access.who("", "shop")
    assert isinstance(access.who("anything-at-all-here", ""), Refused)
    assert isinstance(access.listener("shop", ""), Refused)


def test_selectors() -> None:
    assert (selected("flagSetId=shop,token=abc"), selector_token("flagSetId=shop,token=abc")) == ("shop", "abc")
    assert (selected(""), selected("source=x"), selector_token("flagSetId=shop")) == ("", "", "")
