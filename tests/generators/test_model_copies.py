"""A model is what its files are: every copy of them gives the same release, and no other model is taken."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from werkzeug import Response

from synthkit.recipe.model_content import content_sha256
from tests.conftest import digests
from tests.helpers.hub_server import Fault, HubServer, Request
from tests.helpers.warm import Warm

RECIPE = """\
name: small
source: {kind: digits, subset: [zero, one], max_per_class: 3}
synthetic_per_class: 2
model: {id: lab/model}
sampler: {batch_size: 4}
output: {shard_size: 4}
"""
INDEX = {"_class_name": "FlatColours", "size": 32, "unet": ["diffusers", "UNet2DConditionModel"]}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
# What a pipeline of these components loads.
MODEL = {
    "model_index.json": json.dumps(INDEX).encode(),
    "unet/config.json": b"{}",
    WEIGHTS: b"weights" * 9,
}


def content_of(files: dict[str, bytes]) -> str:
    return content_sha256((path, hashlib.sha256(content).hexdigest()) for path, content in files.items())


SHA256 = content_of(MODEL)
# What else repositories hold.
BESIDES = {
    "README.md": b"---\nlicense: openrail++\n---\n",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "unet/diffusion_pytorch_model.bin.index.json": b"{}",
    "sd21-unclip-h.ckpt": b"pickle",
    "sd21-unclip-h.safetensors": b"one file",
    "safety_checker/model.safetensors": b"black",
    "safety_checker/config.json": b"{}",
    "vae_onnx/model.onnx": b"onnx",
    "samples/config.json": b"{}",
    ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
}


class Machine:
    """A machine with a folder to work in, the Hub, and the cache of its client, which may be emptied."""

    def __init__(self, hub: HubServer, folder: Path, warm: Warm) -> None:
        self.hub, self.folder, self._warm = hub, folder, warm
        (folder / "recipe.yaml").write_text(RECIPE)
        self.forgets()

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """What a command prints to both outputs."""
        process = self._warm.start(*arguments, cwd=self.folder)
        printed = "".join(process.communicate())
        assert process.returncode == fails, printed
        return printed

    def build(self, *settings: str, out: str = "out", fails: bool = False) -> str:
        """Build the recipe, with settings of its model, into an empty folder."""
        shutil.rmtree(self.folder / out, ignore_errors=True)
        changes = [word for setting in settings for word in ("--set", f"model.{setting}")]
        return self("build", "recipe.yaml", "--out", out, *changes, fails=fails)

    def release(self, *settings: str, out: str = "out") -> Path:
        self.build(*settings, out=out)
        self("verify", f"{out}/small", "--deep")
        return self.folder / out / "small"

    def refused(self, *settings: str) -> str:
        """The one line of a build that is refused, which leaves nothing."""
        line = self.build(*settings, fails=True).splitlines()[-1]
        assert line.startswith("error: ")
        assert not (self.folder / "out" / "small").exists()
        return line.removeprefix("error: ")

    def forgets(self) -> None:
        """Empty the cache."""
        shutil.rmtree(self.cache, ignore_errors=True)

    @property
    def cache(self) -> Path:
        return Path(self._warm.environment["HF_HOME"], "hub")

    def downloaded(self) -> list[str]:
        """The files that were asked for in repositories, by HEAD as by GET: large ones lie elsewhere."""
        return sorted({request.path for request in self.hub.requests if "/resolve/" in request.path})


@pytest.fixture
def machine(hub: HubServer, quick: Warm, tmp_path: Path) -> Machine:
    """A Hub that has the model, with other files beside it, and a machine that has nothing."""
    hub.add_repo("lab/model", "model", MODEL | BESIDES)
    return Machine(hub, tmp_path, quick)


def written(folder: Path, files: dict[str, bytes] = MODEL) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def manifest(release: Path) -> Any:
    return json.loads((release / "manifest.json").read_text())


def recipe(release: Path) -> Any:
    return yaml.safe_load((release / "recipe.yaml").read_text())


def test_a_release_states_the_content_of_its_model(machine: Machine) -> None:
    release = machine.release()
    commit = machine.hub.commits("lab/model", "model")[0]
    facts = manifest(release)["generator"]
    assert (facts["name"], facts["revision"], facts["license"]) == ("lab/model", SHA256, "openrail++")
    assert [part["file"] for part in facts["parts"]] == sorted(MODEL)
    for part in facts["parts"]:
        content = MODEL[part["file"]]
        assert part == {
            "role": "unet" if "/" in part["file"] else "pipeline",
            "repository": "lab/model",
            "revision": commit,
            "file": part["file"],
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "license": "openrail++",
        }
    assert recipe(release)["model"] == {
        "id": "lab/model",
        "revision": commit,
        "sha256": SHA256,
        "license": "openrail++",
        "dtype": "float32",
    }
    assert not any("fp16" in path or path.endswith(("ckpt", "bin")) for path in machine.downloaded())
    kept = {path.name for path in machine.cache.rglob("snapshots/**/*") if path.is_file()}
    assert kept == {Path(path).name for path in [*MODEL, "README.md"]}


def test_doctor_says_how_large_the_download_is(machine: Machine) -> None:
    """It counts the files that the pipeline loads, not all of the repository."""
    commit, size = machine.hub.commits("lab/model", "model")[0], sum(map(len, MODEL.values()))
    told = machine("doctor", "recipe.yaml")
    assert f"lab/model at {commit[:12]}: not here; {size} B to download from the Hub" in told


@pytest.mark.slow
def test_every_copy_gives_the_same_digests(machine: Machine) -> None:
    from_hub = machine.release()
    copy = written(machine.folder / "copies" / "model", MODEL | {"README.md": b"no licence", "a.json": b"1"})
    from_folder = machine.release(f"id={copy}", out="folder")
    machine.hub.add_repo("other/mirror", "model", MODEL)
    from_mirror = machine.release("id=other/mirror", out="mirror")
    names, digests_of = set(), set()
    for release in (from_hub, from_folder, from_mirror):
        facts = manifest(release)
        names.add(facts["generator"]["name"])
        digests_of.add((facts["recipe_digest"], facts["generation_digest"], facts["generator"]["revision"]))
    assert names == {"lab/model", "model", "other/mirror"}
    assert len(digests_of) == 1
    assert recipe(from_folder)["model"] == {"id": "model", "sha256": SHA256, "dtype": "float32"}


@pytest.mark.slow
def test_the_release_is_the_same_from_any_place_when_the_repository_is_gone(machine: Machine) -> None:
    before = digests(machine.release())
    own = recipe(machine.folder / "out/small")["model"]
    pin = (f"revision={own['revision']}", f"sha256={SHA256}", f"license={own['license']}")
    del machine.hub.store.repositories["model", "lab/model"]
    other = MODEL | {WEIGHTS: b"weights" * 8}
    machine.hub.add_repo("lab/other", "model", other)
    machine.hub.add_repo("lab/mirror", "model", MODEL)
    machine.hub.store.tag(machine.hub.store.get("model", "lab/mirror"), "v1", "main")
    machine.hub.commit("lab/mirror", {WEIGHTS: b"newer"}, repo_type="model")
    machine.forgets()
    machine.hub.requests.clear()
    mirrors = "mirrors=[gone/model, nowhere, lab/other, lab/mirror@v1]"
    told = machine.build(*pin, mirrors)
    lines = [line for line in told.splitlines() if line.startswith("model: ")]
    gone = "is not on the Hub (withdrawn, renamed, or private and you are not logged in)"
    assert sorted(lines) == sorted(
        [
            f"model: lab/model {gone}",
            f"model: gone/model {gone}",
            "model: there is no folder nowhere",
            f"model: lab/other has other content ({content_of(other)[:16]}, not {SHA256[:16]})",
            "model: taken from lab/mirror",
        ]
    )
    # The weights of the other model were not downloaded to find that out.
    assert not [path for path in machine.downloaded() if "lab/other" in path and "safetensors" in path]
    after = machine.folder / "out/small"
    assert recipe(after)["model"].pop("mirrors") == ["gone/model", "nowhere", "lab/other", "lab/mirror@v1"]
    same = {name for name, sha256 in digests(after).items() if before[name] == sha256}
    assert set(before) - same <= {"recipe.yaml", "manifest.json"}
    machine("verify", "out/small")
    assert machine("replay", "out/small", "--sample", "4").count("identical") >= 1

    # From the release's own recipe, byte for byte, whichever copy there is.
    machine.forgets()
    (machine.folder / "recipe.yaml").write_bytes((after / "recipe.yaml").read_bytes())
    assert digests(machine.release(out="again")) == digests(after)
    shutil.rmtree(machine.folder / "again" / ".synthkit")
    machine.forgets()
    machine.hub.add_repo("gone/model", "model", MODEL | BESIDES)
    assert digests(machine.release(out="again")) == digests(after)


def test_another_model_is_refused_before_it_is_downloaded(machine: Machine) -> None:
    """Whatever the reason, one line says why; where there are several places, why each will not do."""
    other = MODEL | {WEIGHTS: b"weights" * 8}
    machine.hub.add_repo("lab/other", "model", other)
    pin = f"sha256={SHA256}"
    what = f"has other content ({content_of(other)[:16]}, not {SHA256[:16]})"
    line = machine.refused("id=lab/other", pin)
    assert line == f"model.sha256: lab/other {what}; get the files that model.sha256 names"
    copy = written(machine.folder / "copy", {path: MODEL[path] for path in ("model_index.json", WEIGHTS)})
    line = machine.refused("id=lab/gone", pin, "mirrors=[copy, lab/other, lab/model@v9, a//b]")
    short = content_of({path: (copy / path).read_bytes() for path in ("model_index.json", WEIGHTS)})[:16]
    assert line == (
        "model.id: no place has the model that model.sha256 names: "
        "lab/gone is not on the Hub (withdrawn, renamed, or private and you are not logged in); "
        f"copy has other content ({short}, not {SHA256[:16]}); lab/other {what}; "
        "lab/model has no revision v9; there is no folder a//b"
    )
    assert not [path for path in machine.downloaded() if path.endswith("safetensors")]
    line = machine.refused("mirrors=[lab/model]")
    assert "model.mirrors: need sha256 beside them, since a mirror is taken only for a copy" in line


def test_a_hub_that_states_false_hashes_is_not_believed(machine: Machine) -> None:
    false = MODEL | {WEIGHTS: MODEL[WEIGHTS].upper()}
    machine.hub.add_repo("lab/false", "model", false)

    def lie(request: Request, response: Response) -> Response | None:
        if "lab/false/tree" not in request.path:
            return None
        true, told = (hashlib.sha256(files[WEIGHTS]).hexdigest() for files in (false, MODEL))
        return Response(
            response.get_data().replace(true.encode(), told.encode()), mimetype="application/json"
        )

    machine.hub.on_answer = lie
    line = machine.refused("id=lab/false", f"sha256={SHA256}")
    assert line.startswith(f"model.sha256: lab/false has other content ({content_of(false)[:16]}, not ")
    assert any(path.endswith("safetensors") for path in machine.downloaded())


@pytest.mark.slow
def test_a_model_is_not_whole_until_its_weights_are_there(machine: Machine) -> None:
    """A download that was interrupted goes on, also where the commit is pinned and no Hub would be asked."""
    commit = machine.hub.commits("lab/model", "model")[0]
    pin = f"revision={commit}"
    machine.hub.faults = [Fault("403", path=WEIGHTS, times=99)]
    assert "lab/model" in machine.refused(pin)
    machine.hub.faults = []
    found = machine("doctor", "recipe.yaml", "--set", f"model.{pin}")
    assert f"lab/model at {commit[:12]}: not here; " in found
    machine.build(pin)
    machine.hub.requests.clear()
    machine.build(pin, out="again")
    machine.build(f"sha256={SHA256}", "mirrors=[lab/gone]", out="third")
    assert not machine.hub.requests, "the model is here, and nobody has to be asked"
    assert f"    sha256         {SHA256}\n" in machine("doctor", "recipe.yaml", "--set", f"model.{pin}")


@pytest.mark.slow
def test_replay_finds_any_copy(machine: Machine) -> None:
    release = machine.release("license=apache-2.0")
    assert manifest(release)["generator"]["license"] == "apache-2.0"
    del machine.hub.store.repositories["model", "lab/model"]
    # In the cache of the Hub's client, where the build read it last.
    assert "1 of 1 identical" in machine("replay", "out/small", "0")
    machine.forgets()
    shutil.rmtree(machine.folder / "out" / ".synthkit")
    told = machine("replay", "out/small", "0", fails=True)
    assert told.endswith("name a copy in model.mirrors, or point model.id at a copy or at a local folder\n")
    copy = written(machine.folder / "copy")
    assert "1 of 1 identical" in machine("replay", "out/small", "0", "--set", "model.id=copy")
    machine.hub.add_repo("other/mirror", "model", MODEL | BESIDES)
    told = machine("replay", "out/small", "0", "--set", "model.mirrors=[copy/gone, other/mirror]")
    assert "model: taken from other/mirror\n" in told and "1 of 1 identical" in told
    (copy / WEIGHTS).write_bytes(b"others")
    (copy / "unet" / "config.json").unlink()
    told = machine("replay", "out/small", "0", "--set", "model.id=copy", fails=True)
    assert told.endswith(
        f"error: model.sha256: copy has other content ({WEIGHTS} differs and 1 more); "
        "get the files that model.sha256 names\n"
    )
