"""A release in Parquet on the Hub: published, signed, loaded by its tag, pulled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import digests
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer
from tests.helpers.publishing import REPO, build, published
from tests.helpers.signing import SIGNATURE, make_key

LOAD = f"""\
import json
from datasets import load_dataset

told = {{}}
for streaming in (False, True):
    rows = load_dataset("{REPO}", revision="v1.0.0", split="train", streaming=streaming)
    row = next(iter(rows))
    told[str(streaming)] = [
        type(rows.features["image"]).__name__, rows.features["label"].names, row["image"].size,
        row["label"], row["key"], len(row["sources"]), len(list(rows)),
    ]
print(json.dumps(told))
"""


@pytest.mark.slow
def test_the_whole_way(hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    release, key = build(tmp_path, "output.container=parquet"), make_key(tmp_path, "lab")
    ran = synthkit("publish", release, REPO, "--sign", "--key", key.key)
    assert ran.exit_code == 0, ran.output
    shards = [f"data/train-0000{number}.parquet" for number in range(2)]
    assert [path for path in published(hub) if path.startswith("data/")] == shards
    assert {path: digests(release)[path] for path in shards}.items() <= published(hub).items()

    environment = hub.environment(tmp_path / "home", hub.WRITE_TOKEN)
    loaded = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    told = json.loads(loaded.stdout.splitlines()[-1])
    assert told["False"] == told["True"]
    assert told["True"][:2] == ["Image", ["zero", "one"]]
    assert told["True"][4:] == ["000000000", 2, 6]

    copy = tmp_path / "pulled" / "digits"
    ran = synthkit("pull", f"{REPO}@v1.0.0", "--out", copy.parent, "--signer", key.pub)
    assert ran.exit_code == 0, ran.output
    assert digests(copy).items() >= published(hub).items()
    assert (copy / SIGNATURE).is_file()
    ran = synthkit("verify", copy, "--deep", "--signer", key.pub)
    assert ran.exit_code == 0, ran.output
