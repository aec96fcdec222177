"""Tokens: shown once, kept hashed, scoped, rotated while requests come in."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serve_app.tokens import TokenBook, add_token, read_tokens, remove_token
from wsus.errors import ConfigError


def test_a_token_is_found_and_never_stands_in_its_file(tmp_tokens: Path) -> None:
    secret = add_token(tmp_tokens, "reader", ("predict",))
    found = TokenBook(tmp_tokens).find(secret)
    assert found is not None
    assert (found.name, found.scopes) == ("reader", ("predict",))
    assert secret not in tmp_tokens.read_text()
    assert stat.S_IMODE(tmp_tokens.stat().st_mode) == 0o600
    assert len(secret) >= 43


@pytest.mark.parametrize("presented", ["", "wsus_", "wsus_ü", "x" * 10_000, "wsus_\udcff"])
def test_anything_else_is_not_found(presented: str, tmp_tokens: Path) -> None:
    add_token(tmp_tokens, "reader", ("predict",))
    assert TokenBook(tmp_tokens).find(presented) is None


def test_two_tokens_are_told_apart(tmp_tokens: Path) -> None:
    first, second = add_token(tmp_tokens, "a", ("predict",)), add_token(tmp_tokens, "b", ("predict", "admin"))
    book = TokenBook(tmp_tokens)
    assert [getattr(book.find(secret), "name", None) for secret in (first, second)] == ["a", "b"]


def test_expiry(tmp_tokens: Path) -> None:
    now = datetime.now(UTC)
    secret = add_token(tmp_tokens, "guest", ("predict",), (now + timedelta(hours=1)).isoformat())
    book = TokenBook(tmp_tokens)
    assert book.find(secret, now) is not None
    assert book.find(secret, now + timedelta(hours=2)) is None


def test_a_change_of_the_file_counts_at_once_and_a_broken_file_changes_nothing(tmp_tokens: Path) -> None:
    first = add_token(tmp_tokens, "first", ("predict",))
    book = TokenBook(tmp_tokens)
    second = add_token(tmp_tokens, "second", ("predict",))
    assert book.find(second) is not None
    remove_token(tmp_tokens, "first")
    assert book.find(first) is None
    tmp_tokens.write_text("{")
    assert book.find(second) is not None
    tmp_tokens.unlink()
    assert book.find(second) is not None


def test_names_are_unique_and_known(tmp_tokens: Path) -> None:
    add_token(tmp_tokens, "reader", ("predict",))
    with pytest.raises(ConfigError, match="has a token 'reader' already"):
        add_token(tmp_tokens, "reader", ("predict",))
    with pytest.raises(ConfigError, match="no token 'other'; it has reader"):
        remove_token(tmp_tokens, "other")
    with pytest.raises(ConfigError, match="scopes among predict, admin"):
        add_token(tmp_tokens, "x", ("everything",))
    with pytest.raises(ConfigError, match="name its zone"):
        add_token(tmp_tokens, "x", ("predict",), "2027-01-31T00:00:00")
    assert [token.name for token in read_tokens(tmp_tokens)] == ["reader"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[]", "expected"),
        ('{"tokens": {}}', "expected"),
        ('{"tokens": ["secret"]}', "a token is an object"),
        ('{"tokens": [{"name": "a"}]}', "missing or unknown field"),
        ('{"tokens": [{"name": "a", "scopes": ["predict"], "sha256": "plain-secret"}]}', "64 hexadecimal digits"),
    ],
)
def test_what_is_no_token_file_is_refused(content: str, said: str, tmp_tokens: Path) -> None:
    tmp_tokens.write_text(content)
    with pytest.raises(ConfigError, match=said):
        TokenBook(tmp_tokens)


def test_a_missing_file_says_how_to_make_one(tmp_tokens: Path) -> None:
    with pytest.raises(ConfigError, match="wsus tokens add"):
        TokenBook(tmp_tokens)


def test_the_file_is_plain_json(tmp_tokens: Path) -> None:
    add_token(tmp_tokens, "reader", ("predict",))
    (entry,) = json.loads(tmp_tokens.read_text())["tokens"]
    assert set(entry) == {"name", "scopes", "sha256", "expires", "per_minute"}
