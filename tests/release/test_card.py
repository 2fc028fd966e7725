"""The dataset card: what the Hub reads in it, its examples as printed, texts of others that do nothing."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthkit.release.card import render_card
from synthkit.release.croissant import describe
from synthkit.release.facts import GeneratorFacts, PartFacts
from synthkit.release.front_matter import front_matter
from synthkit.release.manifest import Manifest, read_manifest
from synthkit.release.records import arrow_schema
from tests.release.test_release import read_record


def body_of(release: Path) -> str:
    return (release / "README.md").read_text().split("\n---\n", 1)[1]


def snippets(body: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", body, re.DOTALL)


def card_of(release: Path, **changes: Any) -> str:
    """The card of a release whose manifest says something else."""
    example = json.loads(read_record(release, "000000000"))
    return render_card(read_manifest(release).model_copy(update=changes), example)


def test_the_card(small_release: Path) -> None:
    text = (small_release / "README.md").read_text()
    front, body = text.removeprefix("---\n").split("\n---\n", 1)
    data = yaml.safe_load(front)
    assert data["license"] == "cc-by-4.0"
    assert data["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.tar"}]}
    ]
    assert data["dataset_info"]["splits"][0]["num_examples"] == 76
    assert "| 9 | nine | few | 2 | 10 | 12 |" in body
    assert "![Real sources beside what they became](samples.png)" in body
    assert body.index("streaming=True") < body.index("Without `streaming=True`")
    record = json.loads(body.split("```json\n")[1].split("\n```")[0])
    assert record == json.loads(read_record(small_release, "000000000"))


def test_the_cards_metadata_is_valid_for_the_hub(small_release: Path) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(small_release / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.task_categories == ["image-classification"]


def test_the_cards_columns_are_written_as_datasets_writes_them(small_release: Path) -> None:
    from datasets import ClassLabel, Features, Value
    from datasets import Image as Picture

    features = Features(
        {
            "__key__": Value("string"),
            "__url__": Value("string"),
            "cls": ClassLabel(names=[item.name for item in read_manifest(small_release).classes]),
            "json": dict(Features.from_arrow_schema(arrow_schema())),
            "png": Picture(),
        }
    )
    front_matter = yaml.safe_load((small_release / "README.md").read_text().split("---\n")[1])
    assert front_matter["dataset_info"]["features"] == features._to_yaml_list()


def test_the_cards_snippets_run_as_printed(
    small_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed, webdataset, training, provenance = snippets(body_of(small_release), "python")
    monkeypatch.chdir(small_release.parents[1])
    for snippet in (streamed, streamed.replace(", streaming=True", ""), webdataset):
        names: dict[str, Any] = {}
        exec(snippet, names)
        assert names["image"].size == (32, 32)
        assert names["label"] == names["provenance"]["label"]
    exec(training, names)
    assert names["images"].shape == (64, 3, 224, 224)
    exec(provenance, names)
    assert len(names["provenance"]) == 76


def test_the_snippets_of_parquet_run_as_printed(
    parquet_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed, frame, training, provenance = snippets(body_of(parquet_release), "python")
    monkeypatch.chdir(parquet_release.parents[1])
    streamed_names, names = dict[str, Any](), dict[str, Any]()
    exec(streamed, streamed_names)
    assert streamed_names["image"].size == (32, 32)
    exec(frame, names)
    assert names["image"].startswith(b"\x89PNG")
    for name in ("label", "seed"):
        assert names[name] == streamed_names[name]
    exec(training, names)
    assert names["images"].shape == (64, 3, 224, 224)
    exec(provenance, names)
    assert len(names["provenance"]) == 76


def arguments_of_train_py(command: str) -> dict[str, str]:
    """The options of the printed command, with the defaults of timm 1.0.31's train.py for those it lacks."""
    words = shlex.split(command)
    assert words[:2] == ["python", "train.py"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options.keys() == {"--dataset", "--input-key", "--target-key", "--val-split", "--num-classes"}
    return options


@pytest.mark.parametrize(
    ("of", "reader"),
    [("small_release", "hfds"), ("small_release", "hfids"), ("parquet_release", "hfds")],
)
def test_timm_trains_on_it_by_the_printed_command(
    of: str, reader: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """train.py is not in timm's wheel: this calls what it calls, with the arguments that it passes on."""
    import torch
    from timm.data import create_dataset, create_loader

    release = request.getfixturevalue(of)
    (command,) = snippets(body_of(release), "sh")
    options = arguments_of_train_py(command)
    monkeypatch.chdir(release.parents[1])
    dataset = create_dataset(
        options["--dataset"].replace("hfds/", f"{reader}/"),
        root=None,
        split="train",
        is_training=True,
        class_map="",
        download=False,
        batch_size=16,
        seed=42,
        repeats=0,
        input_img_mode="RGB",
        input_key=options["--input-key"],
        target_key=options["--target-key"],
        num_samples=None,
        trust_remote_code=False,
    )
    loader = create_loader(
        dataset,
        input_size=(3, 32, 32),
        batch_size=16,
        is_training=True,
        num_workers=1,
        use_prefetcher=False,
        device=torch.device("cpu"),
    )
    images, labels = next(iter(loader))
    assert images.shape == (16, 3, 32, 32)
    assert set(labels.tolist()) <= set(range(int(options["--num-classes"])))
    # Without a split for validation, train.py makes no second loader.
    assert options["--val-split"] == ""
    assert list(dataset.reader.class_to_idx)[:2] == ["zero", "one"]


def test_what_is_published_is_loaded_by_its_version(flat_release: Path) -> None:
    card = card_of(flat_release, repo_id="lab/digits")
    streamed, webdataset, training, provenance = snippets(card, "python")
    for snippet in (streamed, training, provenance):
        assert 'load_dataset("lab/digits", revision="v1.2.3", ' in snippet
    assert 'snapshot_download("lab/digits", repo_type="dataset", revision="v1.2.3")' in webdataset
    download, train = snippets(card, "sh")[0].splitlines()
    assert (
        download == "hf download lab/digits --repo-type dataset --revision v1.2.3 --local-dir releases/small"
    )
    assert train.startswith("python train.py --dataset hfds/releases/small ")


def test_it_says_how_to_cite_it_and_invents_nobody(flat_release: Path) -> None:
    entry, method = snippets(card_of(flat_release, repo_id="lab/digits"), "bibtex")[0].split("\n\n")
    assert "author    = {{lab}}" in entry
    assert "year      = {2026}" in entry
    assert "url       = {https://huggingface.co/datasets/lab/digits}" in entry
    assert "arXiv:2502.04475" in method
    unpublished = snippets(card_of(flat_release, released=None), "bibtex")[0].split("\n\n")[0]
    assert not re.search("author|year|url", unpublished)


def test_it_names_the_data_set_that_it_was_made_from(flat_release: Path) -> None:
    manifest = read_manifest(flat_release)
    assert "source_datasets" not in front_matter(manifest)
    source = manifest.source.model_copy(update={"repository": "ylecun/mnist"})
    made_from = manifest.model_copy(update={"source": source})
    assert front_matter(made_from)["source_datasets"] == ["ylecun/mnist"]
    assert "[ylecun/mnist](https://huggingface.co/datasets/ylecun/mnist)" in card_of(
        flat_release, source=source
    )
    without_images = made_from.model_copy(update={"method": "text-only"})
    assert "source_datasets" not in front_matter(without_images)


def part(role: str, repository: str, file: str, license: str) -> PartFacts:
    return PartFacts(
        role=role,
        repository=repository,
        revision="a" * 40,
        file=file,
        bytes=1,
        sha256="b" * 64,
        license=license,
    )


BASE = part("unet", "lab/model", "unet/config.json", "openrail++")
MODEL = GeneratorFacts(
    name="lab/model", revision="b" * 64, dtype="float16", license="openrail++", parts=[BASE]
)


def test_it_links_the_model_and_its_licence(flat_release: Path) -> None:
    card = card_of(flat_release, generator=MODEL)
    assert f"| Model | [`lab/model`](https://huggingface.co/lab/model/tree/{'a' * 40})" in card
    assert "| Licence of the model | [`openrail++`](https://huggingface.co/" in card
    assert "| Licence of the model | not known |" in body_of(flat_release)
    assert "`manifest.json` lists its files" in card
    assert "| With the " not in card and "restricts" not in card


def test_it_names_the_pieces_of_the_model_and_which_licence_restricts_training(flat_release: Path) -> None:
    encoder = part("image_encoder", "lab/adapters", "models/image_encoder/config.json", "apache-2.0")
    other = part("adapter", "lab/redux", "redux.safetensors", "flux-1-dev-non-commercial-license")
    unet = part("unet", "few", "few_4step.safetensors", "").model_copy(update={"revision": ""})
    generator = MODEL.model_copy(update={"parts": [other, encoder, BASE, unet]})
    card = card_of(flat_release, generator=generator)
    rows = [line for line in card.splitlines() if line.startswith(("| Model |", "| With the "))]
    at = f"tree/{'a' * 40}"
    assert rows[0].startswith(f"| Model | [`lab/model`](https://huggingface.co/lab/model/{at})")
    assert rows[1:] == [
        f"| With the adapter | [`lab/redux`](https://huggingface.co/lab/redux/{at}), "
        "licence: `flux-1-dev-non-commercial-license` |",
        f"| With the image encoder | [`lab/adapters`](https://huggingface.co/lab/adapters/{at}), "
        "licence: [`apache-2.0`](https://spdx.org/licenses/Apache-2.0.html) |",
        "| With the UNet | `few`, licence: not known |",
    ]
    told = card.split("## Licence and limits")[1].split("## Citation")[0]
    assert told.count("restricts training on these images") == 1
    assert (
        "**The licence of the adapter restricts training on these images.** "
        "`flux-1-dev-non-commercial-license` (`lab/redux`): the images may not train a model"
    ) in told
    document = describe(read_manifest(flat_release).model_copy(update={"generator": generator}))
    files = document["prov:wasDerivedFrom"][1:]
    assert [file.get("license") for file in files] == [
        "flux-1-dev-non-commercial-license",
        "https://spdx.org/licenses/Apache-2.0.html",
        "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        None,
    ]
    assert "restricts training on the images: flux-1-dev-non" in document["rai:dataLimitations"]


HOSTILE = (
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![](https://evil.example/x.png)",
    "a | b ``` `c` *d* _e_",
    "https://evil.example www.evil.example me@evil.example",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_others_are_shown_and_do_nothing(flat_release: Path, text: str) -> None:
    """Names of classes and files, licences and repositories come from data sets and the Hub."""
    from markdown_it import MarkdownIt

    manifest = read_manifest(flat_release)
    classes = [manifest.classes[0].model_copy(update={"name": text}), *manifest.classes[1:]]
    adapter = part("adapter", text, text, f"flux {text} non-commercial")
    generator = manifest.generator.model_copy(update={"name": text, "license": text, "parts": [adapter]})
    card = card_of(
        flat_release,
        classes=classes,
        generator=generator,
        license=text,
        repo_id=text,
        source=manifest.source.model_copy(update={"repository": text}),
    )
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(front)["license"] == text
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    assert "<script" not in html
    assert "evil" not in "".join(re.findall(r"<[^>]*>", html))
    assert "javascript:" not in "".join(re.findall(r"<[^>]*>", html))
    # The row has as many cells as every other.
    row = next(
        row for row in html.split("<tr>") if row.lstrip().startswith('<td style="text-align:right">0</td>')
    )
    assert row.count("<td") == 6
    assert len(re.findall(r"<h2>", html)) == len(re.findall(r"^## ", body, re.MULTILINE)) == 7


def test_the_recipes_words_keep_their_links_and_begin_nothing(flat_release: Path) -> None:
    card = card_of(flat_release, summary="# Not a heading: <b>see</b> https://lab.example/a_b")
    assert "\n\\# Not a heading: \\<b\\>see\\</b\\> https://lab.example/a_b\n" in card


def test_of_large_tars_it_says_what_the_viewer_shows(flat_release: Path) -> None:
    said = "(the Hub's viewer shows the first 5 GB of the images, with their records)"
    files = [file.model_copy(update={"bytes": 2_000_000_000}) for file in read_manifest(flat_release).files]
    assert said in card_of(flat_release, files=files)
    assert said not in card_of(flat_release, files=files, container="parquet")  # those it shows whole
    assert said not in body_of(flat_release)


def test_cards_are_made_of_the_manifest_alone(flat_release: Path) -> None:
    assert card_of(flat_release) == (flat_release / "README.md").read_text()


def test_a_large_set_has_the_hubs_word_for_its_size(flat_release: Path) -> None:
    manifest: Manifest = read_manifest(flat_release)
    words = [
        front_matter(manifest.model_copy(update={"images": images}))["size_categories"][0]
        for images in (999, 1_000, 1_164_154, 100_000_000)
    ]
    assert words == ["n<1K", "1K<n<10K", "1M<n<10M", "100M<n<1B"]
