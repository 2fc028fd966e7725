"""Addresses of shards, without a cluster."""

from __future__ import annotations

import re

import pytest

from synthkit.errors import BuildError
from synthkit.remote_shards import refuse_password
from tests.conftest import Cli

FLAT = ("--set", "model.id=builtin:flat-colours")


@pytest.mark.parametrize("url", ["ftp://user:secret@127.0.0.1:1/set", "sftp://user:sec/ret@127.0.0.1/set"])
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_password_in_an_address_is_refused_and_never_shown(cli: Cli, url: str, engine: str) -> None:
    recipe = cli.recipe()
    build = ("build", recipe, *FLAT, "--engine", engine, "--out", url)
    for command in (build, ("merge", recipe, *FLAT, url)):
        result = cli(*command)
        assert result.exit_code == 1
        assert "error: an address with a password in it" in result.output.splitlines()[-1]
        assert not re.search(r"sec(ret|/ret)|user:sec", result.output)
    with pytest.raises(BuildError, match=r"give it in the store's own configuration or environment"):
        refuse_password(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a@b:c",
        "hf://datasets/user/set@main",
        "abfs://container@account.dfs.core.windows.net/a:b",
        "ftp://user@host:21/a@b",
        "ftp://host:21/a@b",
        "ftp://[::1]:21/a@b",
        "file:///a:b@c",
    ],
)
def test_other_addresses_hold_none(url: str) -> None:
    refuse_password(url)
