"""A model of several pieces, each in a place of its own: a base, an adapter, an encoder, another UNet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from synthkit.errors import RecipeError
from synthkit.recipe.load import load
from tests.helpers.hub_server import HubServer
from tests.helpers.pieced_colours import ADAPTERS, BASE, FEW_STEPS, PLAIN, UNET
from tests.helpers.pieced_machine import ENCODER, RECIPE, Machine, content_of, sha256
from tests.helpers.warm import Warm

OTHER_ENCODERS = {
    "half/config.json": b"{}",
    "half/model.fp16.safetensors": b"half",
    "whole/config.json": b"{}",
    "whole/model.safetensors": b"whole",
    "image_embedder/config.json": b"{}",
    "image_embedder/diffusion_pytorch_model.bin": b"pickle",
}


@pytest.fixture
def machine(hub: HubServer, commands: Warm, tmp_path: Path) -> Machine:
    hub.add_repo("lab/base", "model", BASE | {"README.md": b"---\nlicense: openrail++\n---\n"})
    hub.add_repo("lab/adapters", "model", ADAPTERS)
    hub.add_repo("lab/few", "model", FEW_STEPS)
    return Machine(hub, tmp_path, commands)


@pytest.mark.slow
def test_a_release_states_its_pieces_and_is_made_again(machine: Machine) -> None:
    machine.build()
    generator = machine.facts()["generator"]
    whole = BASE | ENCODER | {"adapter/adapter.safetensors": PLAIN}
    assert (generator["name"], generator["revision"]) == ("lab/base", content_of(whole))
    adapters, base = (machine.hub.commits(f"lab/{name}", "model")[0] for name in ("adapters", "base"))
    assert [(part["role"], part["repository"], part["file"]) for part in generator["parts"]] == [
        ("adapter", "lab/adapters", "models/plain.safetensors"),
        ("image_encoder", "lab/adapters", "models/image_encoder/config.json"),
        ("image_encoder", "lab/adapters", "models/image_encoder/model.safetensors"),
        ("image_processor", "lab/adapters", "models/image_processor/preprocessor_config.json"),
        ("pipeline", "lab/base", "model_index.json"),
        ("unet", "lab/base", "unet/config.json"),
        ("unet", "lab/base", UNET),
    ]
    assert {(part["repository"], part["revision"], part["license"]) for part in generator["parts"]} == {
        ("lab/adapters", adapters, "apache-2.0"),
        ("lab/base", base, "openrail++"),
    }
    assert machine.recipe()["model"] == {
        "id": "lab/base",
        "revision": base,
        "sha256": content_of(BASE),
        "license": "openrail++",
        "dtype": "float32",
        "adapter": {
            "id": "lab/adapters",
            "revision": adapters,
            "sha256": sha256(PLAIN),
            "license": "apache-2.0",
            "file": "models/plain.safetensors",
        },
        "encoder": {
            "id": "lab/adapters",
            "revision": adapters,
            "sha256": content_of(ENCODER),
            "license": "apache-2.0",
            "folder": "models/image_encoder",
        },
    }
    used = {*BASE, *(part["file"] for part in generator["parts"]), "README.md"}
    assert machine.downloaded() <= used
    machine("verify", "out/small", "--deep")
    assert "1 of 1 identical" in machine("replay", "out/small", "0")
    # An adapter whose repository is gone, and that has another name on this disk.
    (machine.folder / "mine").mkdir()
    (machine.folder / "mine" / "renamed.safetensors").write_bytes(PLAIN)
    mine = ("--set", "model.adapter.id=mine", "--set", "model.adapter.file=renamed.safetensors")
    assert "1 of 1 identical" in machine("replay", "out/small", "0", *mine)
    card = (machine.folder / "out/small/README.md").read_text()
    assert "lab/adapters" in card and "apache-2.0" in card
    # From the release's own recipe: the same bytes, and the adapter's repository is not asked any more.
    machine.hub.remove_repo("lab/adapters", "model")
    shutil.copy(machine.folder / "out/small/recipe.yaml", machine.folder / "recipe.yaml")
    machine.build(out="again")
    assert machine.facts("again")["files"] == machine.facts()["files"]


@pytest.mark.slow
def test_any_copy_of_a_piece_will_do_and_no_other(machine: Machine) -> None:
    machine.build()
    copies = machine.folder / "copies"
    for path, content in (BASE | ENCODER | {"renamed.safetensors": PLAIN}).items():
        (copies / path).parent.mkdir(parents=True, exist_ok=True)
        (copies / path).write_bytes(content)
    local = ("id=copies", "adapter={id: copies, file: renamed.safetensors}", "encoder={id: copies}")
    machine.build(*local, out="local")
    assert machine.facts("local")["recipe_digest"] == machine.facts()["recipe_digest"]
    machine.build("unet={id: lab/few, file: few_4step.safetensors}", out="few")
    facts = machine.facts("few")["generator"]["parts"]
    assert [(part["repository"], part["file"]) for part in facts if part["role"] == "unet"] == [
        ("lab/base", "unet/config.json"),
        ("lab/few", "few_4step.safetensors"),
    ]
    digests = {machine.facts(out)["recipe_digest"] for out in ("out", "few")}
    assert len(digests) == 2
    machine("verify", "few/small")
    pin = f"adapter.sha256={sha256(PLAIN)}"
    told = machine.build("adapter.id=lab/gone", pin, "adapter.mirrors=[lab/few, lab/adapters]", out="mirror")
    assert "model.adapter: taken from lab/adapters" in told
    line = machine.build("adapter.file=models/other.safetensors", pin, out="other", fails=True)
    assert "error: model.adapter.sha256: lab/adapters has other content" in line


@pytest.mark.slow
def test_another_unet_spares_the_download_of_the_bases(machine: Machine) -> None:
    told = machine("doctor", "recipe.yaml", "--set", "model.unet={id: lab/few, file: few_4step.safetensors}")
    size = sum(map(len, BASE.values())) - len(BASE[UNET])
    assert f"not here; {size} B to download from the Hub" in told
    machine.build("unet={id: lab/few, file: few_4step.safetensors}")
    assert UNET not in machine.downloaded()
    machine.build(out="plain")
    told = machine("doctor", "recipe.yaml")
    assert [line.split()[:2] for line in told.splitlines() if " at " in line and "lab/" in line] == [
        ["model", "lab/base"],
        ["adapter", "lab/adapters"],
        ["encoder", "lab/adapters"],
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["adapter=null"], "model.adapter: is missing; a Pieced takes images through an adapter: ip-adapter"),
        (["encoder=null"], "model.encoder: is missing; lab/base has no image encoder: name where it is"),
        (
            ["id=builtin:flat-colours"],
            "model.adapter: a FlatColours takes images itself; remove model.adapter",
        ),
        pytest.param(
            ["id=builtin:flat-colours", "adapter=null"],
            "model.encoder: builtin:flat-colours uses its own image encoder; remove model.encoder",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["id=builtin:tiny-unclip-digits", "adapter=null"],
            "model.encoder: builtin:tiny-unclip-digits uses its own image encoder; remove model.encoder",
            marks=pytest.mark.slow,
        ),
        (
            ["adapter.file=models/plane.safetensors"],
            "model.adapter.file: lab/adapters has no models/plane.safetensors; "
            "did you mean models/plain.safetensors?",
        ),
        pytest.param(
            ["adapter.file=gone/it.safetensors"],
            "model.adapter.file: lab/adapters has no gone/it.safetensors",
            marks=pytest.mark.slow,
        ),
        (
            ["encoder.folder=pickled/image_encoder"],
            "model.encoder.id: lab/adapters has the weights of pickled/image_encoder only as "
            "pytorch_model.bin, a pickle, which can run code; name a copy that has them in safetensors",
        ),
        (
            ["encoder={id: lab/other, folder: half}"],
            "model.encoder.id: lab/other has the weights of half only as model.fp16.safetensors, a variant, ",
        ),
        pytest.param(
            ["encoder={id: lab/other, folder: whole}"],
            "model.encoder.id: lab/other has the weights of image_embedder only as "
            "diffusion_pytorch_model.bin, a pickle, ",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["encoder.folder=nowhere"],
            "model.encoder.folder: lab/adapters has no nowhere/config.json",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["encoder.id=lab/gone"],
            "model.encoder.id: lab/gone is not on the Hub",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["encoder.id=./gone"],
            "model.encoder.id: there is no folder ./gone; name a folder or a Hub repository",
            marks=pytest.mark.slow,
        ),
        (["adapter.id=other/secret"], "model.adapter.id: other/secret is gated; accept its terms on the Hub"),
        (
            ["id=lab/pickled"],
            "model.id: lab/pickled has the weights of unet only as diffusion_pytorch",
        ),
        pytest.param(
            ["id=lab/unknown"],
            "model lab/unknown: is a Unknown; synthkit runs ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_downloaded(
    machine: Machine, settings: list[str], told: str
) -> None:
    hub = machine.hub
    hub.add_repo("other/secret", "model", ADAPTERS, gated=True)
    pickled = {path: content for path, content in BASE.items() if path != UNET}
    hub.add_repo("lab/pickled", "model", pickled | {"unet/diffusion_pytorch_model.bin": b"pickle"})
    unknown = {"model_index.json": b'{"_class_name": "Unknown"}'}
    hub.add_repo("lab/unknown", "model", unknown)
    hub.add_repo("lab/other", "model", OTHER_ENCODERS)
    line = machine.build(*settings, fails=True).splitlines()[-1]
    assert told in line
    assert not any(path.endswith(".safetensors") for path in machine.downloaded())
    assert not (machine.folder / "out" / "small").exists()


@pytest.mark.parametrize(
    ("piece", "file"),
    [
        ("adapter", "models/plain.bin"),
        ("unet", "few_4step.pt"),
        ("unet", "few.ckpt"),
        ("unet", "diffusion_pytorch_model-00001-of-00002.safetensors"),
        ("adapter", "../plain.safetensors"),
        ("adapter", "/etc/plain.safetensors"),
    ],
)
def test_a_file_that_no_piece_may_have(tmp_path: Path, piece: str, file: str) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(RecipeError, match=rf"model\.{piece}\.file: "):
        load(tmp_path / "recipe.yaml", [f"model.{piece}={{id: lab/few, file: {file}}}"])


def test_a_setting_that_no_such_model_has_is_told_before_anything_is_downloaded(machine: Machine) -> None:
    scale = ("--set", "conditioning.scale=0.5")
    told = "conditioning.scale: how much the image counts against the text"
    line = machine("build", "recipe.yaml", *scale, fails=True).splitlines()[-1]
    assert line.startswith(f"error: {told}")
    assert f"model {told}" in " ".join(machine("doctor", "recipe.yaml", *scale, fails=True).split())
    assert not any(path.endswith(".safetensors") for path in machine.downloaded())


@pytest.mark.slow
def test_a_base_whose_unet_is_a_pickle_may_have_another(machine: Machine) -> None:
    pickled = {path: content for path, content in BASE.items() if path != UNET}
    machine.hub.add_repo("lab/pickled", "model", pickled | {"unet/diffusion_pytorch_model.bin": b"pickle"})
    machine.build("id=lab/pickled", "unet={id: lab/few, file: few_4step.safetensors}")
    machine("verify", "out/small")


def test_a_reader_says_where_pieces_are_and_adds_none(machine: Machine, forged: Path) -> None:
    assert ["adapter", "lab"] in [line.split() for line in machine("show", str(forged)).splitlines()]
    others = ("--set", "model.unet.id=lab/few", "--set", "model.unet.file=few_4step.safetensors")
    line = machine("replay", str(forged), "0", *others, fails=True).splitlines()[-1]
    assert line.endswith("the model of this release has no model.unet; leave it out")


def test_an_adapter_of_another_kind(machine: Machine) -> None:
    line = machine.build("adapter.file=models/other.safetensors", fails=True).splitlines()[-1]
    assert line.startswith("error: model.adapter.file: ")
    assert not (machine.folder / "out" / "small").exists()


def _other_adapter(manifest: Any) -> None:
    manifest["generator"]["parts"][0]["repository"] = "lab/few"


def _no_adapter(manifest: Any) -> None:
    del manifest["generator"]["parts"][0]


def _another_file(manifest: Any) -> None:
    manifest["generator"]["parts"][0]["file"] = "models/other.safetensors"


def _another_role(manifest: Any) -> None:
    manifest["generator"]["parts"][-1]["role"] = "adapter"


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (_other_adapter, "says model.adapter is of lab/few, the recipe's is ./lab"),
        (_no_adapter, "has files of model.adapter whose SHA-256 is "),
        (
            _another_file,
            "says generator.parts.0.file is models/other.safetensors, by the recipe it is plain.sa",
        ),
        (_another_role, "names the model's files twice or out of order"),
    ],
)
def test_a_manifest_that_tells_otherwise_of_a_piece(
    forged: Path, machine: Machine, forge: Any, told: str
) -> None:
    from synthkit.release.manifest import parse_manifest

    release = Path(shutil.copytree(forged, machine.folder / "copy"))
    manifest = json.loads((release / "manifest.json").read_text())
    forge(manifest)
    sealed = parse_manifest("manifest.json", json.dumps(manifest).encode()).sealed()
    (release / "manifest.json").write_bytes(sealed.to_json())
    assert told in machine("verify", "copy", fails=True)


@pytest.fixture(scope="module")
def forged(server: HubServer, commands: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release to be forged."""
    folder = tmp_path_factory.mktemp("forged")
    for path, content in (BASE | ENCODER | {"plain.safetensors": PLAIN}).items():
        (folder / "lab" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "lab" / path).write_bytes(content)
    recipe = RECIPE.replace("lab/base", "./lab")
    (folder / "recipe.yaml").write_text(recipe)
    made = ["adapter={id: ./lab, file: plain.safetensors}", "encoder={id: ./lab}"]
    changes = [word for setting in made for word in ("--set", f"model.{setting}")]
    process = commands.start("build", "recipe.yaml", *changes, cwd=folder)
    printed = "".join(process.communicate())
    assert process.returncode == 0, printed
    return folder / "releases" / "small"
