"""Nothing in the packages runs what lies in a file, or lets a file choose how it is decoded."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.helpers.paths import ROOT

PACKAGES = ("synthkit", "eval/synthkit_eval", "pretraining", "bench")

# Modules that run what they read, and calls that do or that let a file choose its decoder.
MODULES = frozenset(
    ("webdataset", "pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle")
)
CALLS = frozenset(
    (
        *("eval", "exec", "compile", "__import__", "PIL.Image.open", "PIL.ImageFile.Parser"),
        *("tarfile.TarFile.open", "tarfile.is_tarfile", "shutil.unpack_archive"),
        *("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "torch.serialization.load"),
        *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load"),
        *("yaml.unsafe_load_all", "pandas.read_pickle", "pandas.read_hdf", "os.system", "os.popen"),
    )
)
METHODS = frozenset(("extractall", "extractfile", "read_pickle"))
# What webdataset's `decode` is given; bytes are decoded by the names of encodings.
IMAGE_SPECS = frozenset(
    f"{kind}{bits}" for kind in ("l", "rgb", "pil", "pilrgb", "torch") for bits in ("", "8")
)
NO_WEIGHTS = ("Processor", "Tokenizer", "TokenizerFast", "Scheduler", "Config")

ALLOWED = {
    ("synthkit/sources/decoding.py", "PIL.Image.open"): "the wrapper, which names the formats",
    ("synthkit/builder/engines/process.py", "pickle"): "the orders of the process that started this one",
    ("synthkit/builder/engines/processes.py", "pickle"): "orders for the processes that this one starts",
    (
        "synthkit/release/loader_streams.py",
        "webdataset",
    ): "knows the types of its streams, decodes nothing",
    ("bench/load.py", "webdataset"): "the peer that is measured, on data made here",
    ("bench/load.py", "decode of webdataset"): "the peer that is measured, on data made here",
    ("bench/scale.py", "webdataset"): "the peer that is measured, on data made here",
    ("bench/scale.py", "tarfile.open"): "reads what it has just built",
    ("bench/scale.py", "extractfile"): "reads what it has just built",
}


def rules_broken(code: str) -> Iterator[str]:
    """What in a module runs what it reads, by the rules above."""
    tree = ast.parse(code)
    names = dict(imported(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from (top for alias in aliases if (top := alias.name.split(".")[0]) in MODULES)
            case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] in MODULES:
                yield module.split(".")[0]
            case ast.Constant(value="trust_remote_code"):
                # In a dictionary of options: the value stands beside it.
                yield from trusted(tree, node)
            case ast.Attribute() if dotted(node, names) in (
                "yaml.Loader",
                "yaml.UnsafeLoader",
                "yaml.FullLoader",
            ):
                yield "an unsafe loader of YAML"
            case ast.Call():
                yield from wrong_call(node, names)


def wrong_call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    name = dotted(node.func, names)
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    given = {word.arg: constant(word.value) for word in node.keywords}
    first = constant(node.args[0]) if node.args else None
    if name in CALLS:
        yield name
    if method in METHODS:
        yield method
    if name in ("tarfile.open", "tarfile.TarFile"):
        mode = given.get("mode", constant(node.args[1]) if len(node.args) > 1 else "r")
        if not str(mode).startswith(("w", "x")):
            yield name
    if name == "torch.load" and given.get("weights_only") is not True:
        yield "torch.load"
    if name == "numpy.load" and given.get("allow_pickle") is not False:
        yield "numpy.load"
    if given.get("allow_pickle") is True:
        yield "allow_pickle"
    if given.get("trust_remote_code"):
        yield "trust_remote_code"
    if name.endswith("YAML") and (given.get("typ") or first) == "unsafe":
        yield "an unsafe loader of YAML"
    if method == "decode" and first in IMAGE_SPECS:
        yield "decode of webdataset"
    if method == "from_pretrained" and given.get("use_safetensors") is not True:
        owner = name.split(".")[-2] if "." in name else ""
        if not owner.endswith(NO_WEIGHTS):
            yield "from_pretrained"


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Names in a module, and what they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                (a.asname or a.name.split(".")[0], a.name if a.asname else a.name.split(".")[0])
                for a in node.names
            )
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The whole name of what is called, as `numpy.load` for `np.load`."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return ""


def constant(node: ast.AST) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def trusted(tree: ast.AST, key: ast.Constant) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and key in node.keys:
            value = node.values[node.keys.index(key)]
            yield from [] if constant(value) is False else ["trust_remote_code"]


def test_no_module_runs_what_it_reads() -> None:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(paths) > 100
    found = {
        (path.relative_to(ROOT).as_posix(), rule) for path in paths for rule in rules_broken(path.read_text())
    }
    assert found == {(path, rule) for path, rule in ALLOWED if (ROOT / path).exists()}


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "import pickle as p",
        "from marshal import loads",
        "import joblib, dill",
        "def f():\n    import webdataset.autodecode",
        "from PIL import Image\nImage.open(f)",
        "from PIL import Image as I\nI.open(f, formats=('PNG',))",
        "import PIL.Image\nPIL.Image.open(f)",
        "from PIL.Image import open as o\no(f)",
        "from PIL import ImageFile\nImageFile.Parser()",
        "import tarfile\ntarfile.open(p)",
        "import tarfile\ntarfile.open(p, 'r:')",
        "import tarfile\ntarfile.open(fileobj=f, mode='r|*')",
        "import tarfile\ntarfile.TarFile(p)",
        "from tarfile import TarFile\nTarFile.open(p)",
        "tar.extractall()",
        "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)",
        "import torch\ntorch.load(p, weights_only=flag)",
        "from torch import load\nload(p)",
        "import torch\ntorch.hub.load('a/b', 'c')",
        "import numpy as np\nnp.load(p)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "np.lib.format.read_array(f, allow_pickle=True)",
        "import yaml\nyaml.load(t, Loader=yaml.SafeLoader)",
        "import yaml\nyaml.unsafe_load(t)",
        "import yaml\nclass L(yaml.Loader): ...",
        "from ruamel.yaml import YAML\nYAML(typ='unsafe')",
        "eval(text)",
        "exec(text)",
        "import os\nos.system(text)",
        "dataset.decode('pil')",
        "dataset.decode('rgb', only=['png'])",
        "Model.from_pretrained(p)",
        "Model.from_pretrained(p, use_safetensors=False)",
        "Model.from_pretrained(p, use_safetensors=True, trust_remote_code=True)",
        "options = {'trust_remote_code': True}",
    ],
)
def test_every_rule_finds_what_it_is_for(bad: str) -> None:
    assert list(rules_broken(bad))


def test_what_is_harmless_is_left_alone() -> None:
    fine = """
import tarfile, io, yaml, torch, numpy as np
from ruamel.yaml import YAML
tarfile.TarFile(fileobj=f, mode="w"); tarfile.open(p, "w"); io.open(p); p.open("rb"); webbrowser.open(u)
torch.load(p, weights_only=True); np.load(p, allow_pickle=False); yaml.safe_load(t); model.eval()
raw.decode(); raw.decode("utf-8"); vae.decode(latents); YAML().load(t); re.compile(t)
CLIPTokenizer.from_pretrained(p); Model.from_pretrained(p, use_safetensors=True, trust_remote_code=False)
options = {"trust_remote_code": False}
"""
    assert list(rules_broken(fine)) == []
