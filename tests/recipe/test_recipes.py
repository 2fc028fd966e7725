"""Every recipe that ships, on its data set in miniature: plan, preview, pool."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from synthkit.conditioning import METHODS
from synthkit.levels import Levels
from synthkit.recipe.load import load
from synthkit.sources import held_out, open_source
from synthkit.sources.leaks import leaks
from synthkit.sources.pool import read_all
from synthkit.system.known_hashes import KnownHashes
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.methods import by
from tests.helpers.paths import ROOT

RECIPES = ROOT / "recipes"
BENCHMARKS = ("caltech101", "flowers102", "coco", "voc")
TINY = (
    "model.id=builtin:tiny-unclip-digits",
    "model.dtype=float32",
    # What is compiled for a hundred thousand images is not for four.
    "arithmetic.compile=false",
    # The embedded model reads 32 tokens; some of ImageNet's synonyms need more.
    "prompt=digit",
    "sampler.steps=1",
    "sampler.batch_size=4",
    "output.size=32",
)
# Where the pictures do not matter, no model is loaded.
FLAT = ("model={id: builtin:flat-colours}", "sampler.batch_size=4", "sampler.size=null")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The settings that point each recipe to its data set in miniature."""
    root = tmp_path_factory.mktemp("data")
    facts = miniatures.imagenet_lt_classes()
    in_subset = [int(row["index"]) for row in facts if row["in_90_subset"] == "1"]
    miniatures.imagenet(root / "imagenet", in_subset, 2, root / "list.txt")
    imagenet = [f"source.root={root / 'imagenet'}", f"source.list={root / 'list.txt'}"]
    return {
        "imagenet_lt_90": imagenet,
        "imagenet_lt": [*imagenet, f"source.subset={json.dumps(in_subset[:4])}"],
        "caltech101": [f"source.root={miniatures.caltech101(root / 'caltech-101')}"],
        "flowers102": [f"source.root={miniatures.flowers102(root / 'flowers-102')}"],
        "coco": [f"source.root={miniatures.coco(root / 'coco')}"],
        "voc": [f"source.root={miniatures.voc2012(root / 'voc')}"],
        "cifar10_lt_ecd": [
            f"source.id={miniatures.cifar10(root / 'hub')}",
            "source.long_tail.max_per_class=10",
            "source.long_tail.imbalance_factor=5.0",
        ],
        "digits_few_shot": [],
        "digits_lt_ecd": [],
        "digits_lt_feedback": ["sampler.feedback.classifier.training.steps=2"],
        "digits_lt_ecd_filtered": [],
        "template": [f"source.root={root / 'caltech-101' / '101_ObjectCategories'}"],
    }


def settings(data: dict[str, list[str]], recipe: str) -> list[str]:
    recipe = LIKE_ANOTHER.sub("", recipe)
    if recipe in data:
        return data[recipe]
    # Its levels need two steps.
    return ["sampler.steps=2"] if recipe.startswith("digits") else data["imagenet_lt"]


def flags(values: list[str] | tuple[str, ...]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


# One of another way to sample.
FEEDBACK = "digits_lt_feedback"
DIGITS = sorted(
    path.stem for path in RECIPES.glob("digits_lt_*.yaml") if not re.search("ecd|discl|feedback", path.stem)
)
SHIPPED = sorted({path.stem for path in RECIPES.glob("*.yaml")} - set(DIGITS))


# Those that differ from another one in the generator, or in how it samples; and in the method alone.
LIKE_ANOTHER = re.compile("_(sd15|sdxl_lightning|fast|real_guidance|da_fusion|discl)$")
ANOTHER_METHOD = re.compile("imagenet_lt_(?!ecd|dropout|90)")


def is_like_another(name: str) -> bool:
    return bool(LIKE_ANOTHER.search(name) or ANOTHER_METHOD.match(name))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if is_like_another(name) else []) for name in SHIPPED],
)
def test_every_recipe_plans_and_makes_a_preview(name: str, data: dict[str, list[str]], cli: Cli) -> None:
    recipe = RECIPES / f"{name}.yaml"
    changes = flags([*(TINY if name.startswith("digits") else FLAT), *settings(data, name)])
    plan = cli("plan", recipe, *changes, "--json")
    assert plan.exit_code == 0, plan.output
    planned = json.loads(plan.stdout)["totals"]
    built = cli("build", recipe, *changes, "--limit", "4")
    assert built.exit_code == 0, built.output
    (preview,) = (cli.folder / "releases").glob("*-preview")
    manifest = json.loads((preview / "manifest.json").read_text())
    assert manifest["partial"] == {"of": planned["synthetic"]}
    assert manifest["source"]["images"] == planned["real"]
    told = cli("verify", preview)
    assert told.exit_code == 0, told.output


def test_the_digits_with_feedback_differ_in_that_alone() -> None:
    base, recipe = (load(RECIPES / f"{name}.yaml") for name in ("digits_lt_random_image", FEEDBACK))
    assert recipe.name == "digits-lt-feedback" and recipe.sampler.feedback is not None
    sampler = recipe.sampler.model_copy(update={"feedback": None})
    words = {"name": base.name, "summary": base.summary, "sampler": sampler}
    assert recipe.model_copy(update=words) == base


def test_the_digits_come_by_all_methods_and_differ_in_nothing_else() -> None:
    base = load(RECIPES / "digits_lt_ecd.yaml")
    methods = {base.conditioning.method}
    for name in DIGITS:
        recipe = load(RECIPES / f"{name}.yaml")
        methods.add(recipe.conditioning.method)
        assert name == f"digits_lt_{recipe.conditioning.method.replace('-', '_')}"
        assert recipe.name == f"digits-lt-{recipe.conditioning.method}"
        # One that begins from real images says how far they are noised.
        own = {"method": base.conditioning.method, "strength": None}
        same = recipe.conditioning.model_copy(update=own)
        # One that retrieves says from where, one that learns tokens how.
        others = {"retrieval": None, "tokens": None}
        words = {"name": base.name, "summary": base.summary, "conditioning": same, **others}
        assert recipe.model_copy(update=words) == base
    assert methods == set(METHODS)
    assert len(DIGITS) == 14


def test_the_recipes_with_levels_differ_from_others_in_nothing_else() -> None:
    for name, like in (("digits_lt", "digits_lt_real_guidance"), ("imagenet_lt", "imagenet_lt_ecd")):
        recipe, base = load(RECIPES / f"{name}_discl.yaml"), load(RECIPES / f"{like}.yaml")
        # Image guidance of 0, 0.1, 0.3 and 0.5 (arXiv 2410.13674, appendix A.2.2).
        assert recipe.conditioning.strength == Levels((1.0, 0.9, 0.7, 0.5))
        own = {"method": base.conditioning.method, "strength": base.conditioning.strength}
        same = recipe.conditioning.model_copy(update=own)
        words = {"name": base.name, "summary": base.summary, "conditioning": same}
        assert recipe.model_copy(update=words) == base


KINDS = ("imagenet_lt", "caltech101", "flowers102", "coco", "voc", "cifar10_lt_ecd")
# Each source once, by another method; all their pairs take half a minute.
PAIRS = [
    pytest.param(kind, method, marks=[] if number == place else [pytest.mark.slow])
    for number, method in enumerate(METHODS)
    for place, kind in enumerate(KINDS)
]


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_every_method_through_every_source(
    kind: str, method: str, data: dict[str, list[str]], cli: Cli
) -> None:
    recipe = RECIPES / f"{'imagenet_lt_ecd' if kind == 'imagenet_lt' else kind}.yaml"
    changes = [*settings(data, kind), *TINY, *by(method, 1.0), "name=mine"]
    if METHODS[method].retrieves:
        # There are 897 images to retrieve.
        changes += ["target_per_class=null", "synthetic_per_class=4"]
    if METHODS[method].learns:
        # The token stands for the class's name.
        changes += ["prompt={name}"]
    built = cli("build", recipe, *flags(changes), "--limit", "2")
    assert built.exit_code == 0, built.output
    import pyarrow.parquet as pq

    rows = pq.read_table(cli.folder / "releases/mine-preview/provenance/train-00000.parquet").to_pylist()
    assert [(row["method"], len(row["sources"])) for row in rows] == [(method, METHODS[method].sources)] * 2


@pytest.mark.parametrize("trial", [0, 3])
@pytest.mark.parametrize("name", [*BENCHMARKS, "digits_few_shot"])
def test_a_few_shot_pool_is_k_images_a_class_and_none_that_scores(
    name: str, trial: int, data: dict[str, list[str]]
) -> None:
    recipe = load(RECIPES / f"{name}.yaml", [*data[name], f"source.trial={trial}"])
    pool, scoring = (
        read_all(open_source(config), on_error="stop", known_hashes=KnownHashes(), advance=lambda count: None)
        for config in (recipe.source, held_out(recipe.source))
    )
    assert np.bincount(pool.listing.labels).tolist() == [recipe.source.shots] * len(pool.listing.classes)
    assert len(scoring.listing) >= len(pool.listing.classes)
    assert scoring.listing.classes == pool.listing.classes
    assert not set(pool.listing.ids) & set(scoring.listing.ids)
    assert not set(pool.sha256) & set(scoring.sha256)
    assert leaks(pool, scoring.source, lambda count: None) == []


def test_the_pool_is_in_the_manifest_by_id_and_hash_and_nothing_else_is_used(
    data: dict[str, list[str]], cli: Cli
) -> None:
    import pyarrow.parquet as pq

    changes = flags([*data["voc"], *FLAT, "source.shots=2", "synthetic_per_class=2", "name=mine"])
    built = cli("build", RECIPES / "voc.yaml", *changes)
    assert built.exit_code == 0, built.output
    release = cli.folder / "releases/mine"
    source = json.loads((release / "manifest.json").read_text())["source"]
    assert (source["shots"], source["trial"], source["images"]) == (2, 0, 40)
    root = Path(data["voc"][0].removeprefix("source.root="))
    for image in source["pool"]:
        assert hashlib.sha256((root / image["id"]).read_bytes()).hexdigest() == image["sha256"]
    pool = {(image["id"], image["sha256"], image["label"]) for image in source["pool"]}
    assert len(pool) == 40
    rows = pq.read_table(release / "provenance/train-00000.parquet").to_pylist()
    used = {(s["id"], s["sha256"], row["label"]) for row in rows for s in row["sources"]}
    assert used
    assert used <= pool
    assert "exactly 2 images of each class, trial 0" in (release / "README.md").read_text()


def test_imagenet_lt_from_the_list_alone(cli: Cli) -> None:
    list_file = miniatures.imagenet_lt_list(cli.folder / "ImageNet_LT_train.txt")
    result = cli("plan", RECIPES / "imagenet_lt_ecd.yaml", "--set", f"source.list={list_file}", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["totals"]["synthetic"] == 1_164_154
    assert plan["totals"]["real"] == 115_846
    assert {name: group["classes"] for name, group in plan["groups"].items()} == {
        "many": 385,
        "medium": 479,
        "few": 136,
    }
    for item, facts in zip(plan["classes"], miniatures.imagenet_lt_classes(), strict=True):
        assert (item["name"], item["group"]) == (facts["name"], facts["group"])
        assert (item["real"], item["synthetic"]) == (
            int(facts["train_images"]),
            1280 - int(facts["train_images"]),
        )


def test_the_90_class_subset_from_the_list_alone(cli: Cli) -> None:
    list_file = miniatures.imagenet_lt_list(cli.folder / "ImageNet_LT_train.txt")
    result = cli("plan", RECIPES / "imagenet_lt_90.yaml", "--set", f"source.list={list_file}", "--json")
    plan = json.loads(result.stdout)
    assert plan["totals"]["synthetic"] == 107_586
    assert {name: group["classes"] for name, group in plan["groups"].items()} == {
        "many": 30,
        "medium": 30,
        "few": 30,
    }
    chosen = [row["name"] for row in miniatures.imagenet_lt_classes() if row["in_90_subset"] == "1"]
    assert [item["name"] for item in plan["classes"]] == chosen


def test_the_tables_settings() -> None:
    table2 = {
        name: load(RECIPES / f"imagenet_lt_{name}.yaml") for name in ("ecd", "dropout", "mixup_dropout")
    }
    assert {recipe.sampler.guidance_scale for recipe in table2.values()} == {2.0}
    assert {recipe.target_per_class for recipe in table2.values()} == {1280}
    assert [recipe.conditioning.method for recipe in table2.values()] == [
        "embed-cutmix-dropout",
        "dropout",
        "mixup-dropout",
    ]
    assert load(RECIPES / "imagenet_lt_90.yaml").sampler.guidance_scale == 10.0
    for name in BENCHMARKS:
        recipe = load(RECIPES / f"{name}.yaml")
        assert (recipe.synthetic_per_class, recipe.sampler.guidance_scale) == (16, 10.0)
        assert recipe.prompt == "a photo of a {name}"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_recipe_says_what_it_makes_and_how(name: str) -> None:
    text = (RECIPES / f"{name}.yaml").read_text()
    header = text.split("\n\n")[0] + text.split("\nname:")[0]
    assert f"synthkit build {'my-release.yaml' if name == 'template' else f'recipes/{name}.yaml'}" in header
    if name != "template":
        for word in ("Makes ", "Takes ", "Source ", "Setting "):
            assert f"\n# {word}" in header, word


def test_the_commands_in_the_headers_are_valid() -> None:
    """Every `--set` in a header is a field with a value that fits."""
    for path in RECIPES.glob("*.yaml"):
        for line in path.read_text().splitlines():
            command = re.match(r"#\s+synthkit build (recipes/\S+)(.*)", line)
            if command:
                values = re.findall(r"--set (\S+)", command[2].split(" #")[0])
                load(
                    ROOT / command[1],
                    [v.replace("$m", "dropout").replace("${g%.0}", "2").replace("$g", "2.0") for v in values],
                )
