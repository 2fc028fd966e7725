"""What is said of a model before it is downloaded, piece by piece, and downloads that are interrupted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from werkzeug import Response

from tests.helpers.hub_server import Fault, HubServer, Request
from tests.helpers.pieced_colours import ADAPTERS, BASE, PLAIN, UNET
from tests.helpers.pieced_machine import ENCODER, Machine, sha256
from tests.helpers.warm import Warm

WEIGHTS = "models/image_encoder/model.safetensors"
# Large enough for a limit on the size of files that spares all others.
LARGE = ADAPTERS | {WEIGHTS: bytes(3_000_000)}
BASE_SIZE = sum(map(len, BASE.values()))
OTHERS = len(PLAIN) + sum(map(len, ENCODER.values()))
FLUX = "flux-1-dev-non-commercial-license"


@pytest.fixture
def machine(hub: HubServer, commands: Warm, tmp_path: Path) -> Machine:
    hub.add_repo("lab/base", "model", BASE | {"README.md": b"---\nlicense: openrail++\n---\n"})
    hub.add_repo("lab/adapters", "model", ADAPTERS)
    return Machine(hub, tmp_path, commands)


def doctor(machine: Machine, *settings: str, fails: bool = False) -> list[str]:
    """What doctor says from the model on, each line with its mark."""
    changes = [word for setting in settings for word in ("--set", f"model.{setting}")]
    lines = machine("doctor", "recipe.yaml", *changes, fails=fails).splitlines()
    first = next(number for number, line in enumerate(lines) if line[2:].startswith("model "))
    return [
        " ".join(line[2:].split()) if line[0] == " " else " ".join(line.split()) for line in lines[first:]
    ]


def test_doctor_tells_what_would_be_downloaded_and_under_which_licences(machine: Machine) -> None:
    base, adapters = (machine.hub.commits(f"lab/{name}", "model")[0][:12] for name in ("base", "adapters"))
    rail, free = (
        f"licence {line}"
        for line in (
            "openrail++: claims no rights in the images; neither they nor the model may be put to the uses "
            "that it forbids",
            "apache-2.0: sets no limit to training other models on the images",
        )
    )
    size = len(PLAIN)
    told = doctor(machine)
    assert told[:6] == [
        f"! model lab/base at {base}: not here; {BASE_SIZE} B to download from the Hub",
        rail,
        f"! adapter lab/adapters at {adapters}: not here; {size} B to download from the Hub",
        free,
        f"! encoder lab/adapters at {adapters}: not here; {OTHERS - size} B to download from the Hub",
        free,
    ]
    assert (
        told[6].startswith(f"download {BASE_SIZE + OTHERS} B to ") and " are free there; how much " in told[6]
    )
    assert not any(path.endswith(".safetensors") for path in machine.downloaded())


@pytest.mark.slow
def test_doctor_tells_which_pieces_are_here_and_which_licence_restricts_training(machine: Machine) -> None:
    machine.build()
    told = doctor(machine, "adapter.file=models/other.safetensors", f"encoder.license={FLUX}")
    pieces = [line.split(": ")[1] for line in told if "lab/" in line]
    assert [piece.split(";")[0].split(",")[0] for piece in pieces] == ["here", "not here", "here"]
    (line,) = [line for line in told if FLUX in line]
    assert line.startswith(f"! licence {FLUX}: the images may not train a model that competes with FLUX")
    assert line.endswith(f"; publish wants --accept-model-license {FLUX}")
    # An adapter that does not fit is told once all is here.
    folder = machine.folder / "adapters"
    folder.mkdir()
    (folder / "other.safetensors").write_bytes(ADAPTERS["models/other.safetensors"])
    told = doctor(machine, "adapter={id: ./adapters, file: other.safetensors}", fails=True)
    assert any(line.startswith("x model model.adapter.file: has a LoRA") for line in told)


def test_each_piece_that_cannot_be_had_is_named(machine: Machine) -> None:
    machine.hub.add_repo("other/secret", "model", ADAPTERS, gated=True)
    told = doctor(machine, "adapter.id=other/secret", "encoder.id=lab/withdrawn", fails=True)
    assert told[0].startswith("! model lab/base at ")
    assert [line.split("; ")[0] for line in told if line.startswith("x ")] == [
        "x model model.adapter.id: other/secret is gated",
        "x model model.encoder.id: lab/withdrawn is not on the Hub "
        "(withdrawn, renamed, or private and you are not logged in)",
    ]
    line = machine.build("adapter.id=other/secret", fails=True).splitlines()[-1]
    assert line.startswith(
        "error: model.adapter.id: other/secret is gated; accept its terms on the Hub and log in"
    )
    assert not any(path.endswith(".safetensors") for path in machine.downloaded())


def test_a_download_that_the_disk_cannot_take(machine: Machine) -> None:
    def vast(request: Request, response: Response) -> Response | None:
        if "/tree/" not in request.path:
            return None
        entries = json.loads(response.get_data())
        for entry in entries:
            if entry["path"] == UNET:
                entry["size"] = 10**18
        return Response(json.dumps(entries), mimetype="application/json")

    machine.hub.on_answer = vast
    (line,) = [line for line in doctor(machine, fails=True) if line.startswith("x ")]
    assert line.startswith("x download 1,000,000.00 TB to ")
    assert line.endswith(": make room, or set HF_HOME to a folder on another disk")


@pytest.mark.slow
def test_plan_asks_how_large_the_download_is(machine: Machine) -> None:
    assert "The model is not here: --download asks" in machine("plan", "recipe.yaml")
    assert not machine.hub.requests
    told = machine("plan", "recipe.yaml", "--download").splitlines()[-1]
    assert told == (
        f"Download: {BASE_SIZE + OTHERS} B (model {BASE_SIZE} B of lab/base, adapter {len(PLAIN)} B of "
        f"lab/adapters, encoder {OTHERS - len(PLAIN)} B of lab/adapters)"
    )
    download = json.loads(machine("plan", "recipe.yaml", "--download", "--json"))["download"]
    assert download["bytes"] == BASE_SIZE + OTHERS
    assert [(piece["field"], piece["repository"]) for piece in download["pieces"]] == [
        ("model", "lab/base"),
        ("model.adapter", "lab/adapters"),
        ("model.encoder", "lab/adapters"),
    ]
    gone = ("--set", "model.adapter.id=lab/withdrawn")
    told = machine("plan", "recipe.yaml", "--download", *gone).splitlines()[-1]
    assert told.startswith("Download: not known: model.adapter.id: lab/withdrawn is not on the Hub")


@pytest.mark.slow
def test_plan_asks_nobody_where_the_model_is(machine: Machine) -> None:
    gone = ("--set", "model.adapter.id=lab/withdrawn")
    assert json.loads(machine("plan", "recipe.yaml", "--download", "--json", *gone))["download"] == {
        "bytes": None,
        "pieces": None,
    }
    machine.build()
    machine.hub.requests.clear()
    assert (
        machine("plan", "recipe.yaml", "--download").splitlines()[-1]
        == "Download: nothing; the model is here"
    )
    assert not machine.hub.requests


# The client of the Hub waits before it asks again for what was cut off.
@pytest.mark.parametrize("kind", ["403", pytest.param("truncate", marks=pytest.mark.slow)])
def test_a_download_that_stopped_goes_on_where_it_was(machine: Machine, kind: str) -> None:
    """Whole files are not fetched again, and no half of one is taken for whole."""
    machine.hub.add_repo("lab/large", "model", LARGE)
    encoder = "encoder.id=lab/large"
    machine.hub.faults = [Fault(kind, path=sha256(LARGE[WEIGHTS]), times=99)]
    told = machine.build(encoder, fails=True)
    assert told.splitlines()[-1].startswith("error: model.encoder.id: not all of lab/large was downloaded: ")
    assert told.endswith("; the files that are here whole are not fetched again\n")
    assert "downloading: " in told
    assert not (machine.folder / "out" / "small").exists()
    machine.hub.faults = []
    pieces = [line for line in doctor(machine, encoder) if "lab/" in line]
    assert [line.split(": ")[1].split(",")[0] for line in pieces[:2]] == ["here", "here"]
    assert ": not here; 3 MB to download from the Hub" in pieces[2]
    machine.hub.requests.clear()
    machine.build(encoder)
    stored = re.findall(r"[0-9a-f]{64}", " ".join(request.path for request in machine.hub.requests))
    assert set(stored) == {sha256(LARGE[WEIGHTS])}
    parts = {part["file"]: part["sha256"] for part in machine.facts()["generator"]["parts"]}
    assert parts[WEIGHTS] == sha256(LARGE[WEIGHTS])


@pytest.mark.slow
def test_a_disk_that_fills_up_while_a_piece_is_downloaded(machine: Machine, commands: Warm) -> None:
    machine.hub.add_repo("lab/large", "model", LARGE)
    words = ("build", "recipe.yaml", "--out", "out", "--set", "model.encoder.id=lab/large")
    process = commands.start(*words, cwd=machine.folder, file_size=1_000_000)
    line = process.communicate()[1].splitlines()[-1]
    assert line.startswith(
        "error: model.encoder.id: not all of lab/large was downloaded: File too large; make room"
    )
    assert "set HF_HOME to a folder on another disk" in line
    machine.build("encoder.id=lab/large")


def test_pins_reach_every_piece(machine: Machine) -> None:
    old = {name: machine.hub.commits(f"lab/{name}", "model")[0] for name in ("base", "adapters")}
    machine.hub.commit("lab/adapters", dict.fromkeys((*ADAPTERS, "config.json"), b"newer"), repo_type="model")
    machine.hub.commit("lab/base", {UNET: b"newer"}, repo_type="model")
    machine.hub.requests.clear()
    machine.build(
        f"revision={old['base']}",
        f"adapter.revision={old['adapters']}",
        f"encoder.revision={old['adapters']}",
    )
    parts = machine.facts()["generator"]["parts"]
    assert {(part["repository"], part["revision"]) for part in parts} == {
        (f"lab/{name}", commit) for name, commit in old.items()
    }
    assert sha256(PLAIN) in {part["sha256"] for part in parts}
    asked = [request.path for request in machine.hub.requests if "/resolve/" in request.path]
    assert asked and all(
        f"/lab/{name}/" not in path or commit in path for name, commit in old.items() for path in asked
    )
    shutil.rmtree(machine.folder / "out")
