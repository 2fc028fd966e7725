"""`synthkit croissant` of a release on the Hub: only its metadata is fetched."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer
from tests.helpers.publishing import REPO


def test_the_metadata_of_a_published_release_name_its_account(
    hub: HubServer, synthkit: Client, release: Path
) -> None:
    assert synthkit("publish", release, REPO).exit_code == 0
    before = len(hub.requests)
    ran = synthkit("croissant", f"{REPO}@v1.0.0")
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.output[ran.output.index("{") :])
    assert document["url"] == f"https://huggingface.co/datasets/{REPO}"
    assert document["creator"]["name"] == "lab"
    assert f"url       = {{https://huggingface.co/datasets/{REPO}}}" in document["citeAs"]
    fetched = [request.path for request in hub.requests[before:] if "/resolve/" in request.path]
    assert {path.rsplit("/", 1)[1] for path in fetched} == {"croissant.json", "manifest.json"}
