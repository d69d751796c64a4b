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


def test_a_file_that_is_no_text_is_left_out_and_the_others_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "zoo.server").write_bytes(b"\xff\xfe" * 12)
    (tmp_path / "shop.server").write_text("a-token-of-shop-1")
    access = Access(tmp_path)
    assert isinstance(access.who("a-token-of-shop-1", ""), Caller)
    assert "zoo.server is not UTF-8" in caplog.text


def test_a_hash_may_be_in_capitals_and_what_is_none_is_no_token_either(caplog: pytest.LogCaptureFixture) -> None:
    token = hashlib.sha256(b"third-token-of-shop")
    assert set(callers({"shop.server": f"SHA256:{token.hexdigest().upper()}"})) == {token.digest()}
    assert callers({"shop.server": f"sha256:{token.hexdigest()[:-1]}"}) == {}
    assert "shop.server, line 1: no SHA-256" in caplog.text


@pytest.mark.parametrize("files", [("shop.client", "shop.server"), ("shop.server", "shop.client")])
def test_a_token_of_two_files_is_a_client_s(files: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    (caller,) = callers(dict.fromkeys(files, "same-token-in-both-files\n")).values()
    assert caller.kind is Kind.CLIENT
    assert f"{files[1]}, line 1: another file has it too" in caplog.text
    assert "same-token" not in caplog.text


def test_who_s_token_is_gone_holds_no_more(tmp_path: Path) -> None:
    file = tmp_path / "shop.server"
    file.write_text("old-token-of-shop")
    access = Access(tmp_path)
    caller = access.who("old-token-of-shop", "")
    assert isinstance(caller, Caller)
    assert access.holds(caller)
    file.write_text("the-new-token-of-shop")
    access.look()
    assert not access.holds(caller)
