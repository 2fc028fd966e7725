"""What can be refused at once is refused before images are read, a release verified or a network trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from synthkit.release.card import render_card
from synthkit.release.facts import SkippedFacts
from synthkit.release.image import read_image
from synthkit.release.manifest import read_manifest
from synthkit.system.progress import progress
from tests.conftest import Cli

LONG = ("reading", "verifying", "embedding", "generating", "comparing", "replaying", "training")
DEVICES = ("cuda", "meta", "nonsense", "cuda:7", "mps", "cpu0", "", "xla", "cuda:-1")


def refused(cli: Cli, *words: str | Path) -> str:
    result = cli(*words)
    assert isinstance(result.exception, SystemExit) and result.exit_code == 1, result.output
    assert not any(line.startswith(LONG) for line in result.output.splitlines()), result.output
    message = result.output.splitlines()[-1]
    assert message.startswith("error: ")
    return message


@pytest.mark.parametrize(
    "device", [*DEVICES[:3], *(pytest.param(device, marks=pytest.mark.slow) for device in DEVICES[3:])]
)
def test_a_device_that_is_not_here(
    cli: Cli, small_release: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if device in ("cuda", "cuda:7") and torch.cuda.device_count():
        pytest.skip("this machine has one")
    for words in (
        ("build", cli.recipe()),
        ("build", cli.recipe(), "--set", "sampler.batch_size=auto"),
        ("build", cli.recipe(), "--set", "model.id=builtin:flat-colours"),
        ("replay", small_release, "0"),
        ("audit", small_release),
        ("eval", small_release, "--protocol", "digits-lt"),
    ):
        assert f"--device {device}: there is no such device here" in refused(cli, *words, "--device", device)
    assert not (cli.folder / ".synthkit").exists()


def test_float16_without_a_gpu(cli: Cli, small_release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = refused(cli, "build", cli.recipe(), "--set", "model.dtype=float16")
    assert "model.dtype: float16 needs a GPU" in message
    # A model that would have to be downloaded first.
    remote = ("--set", "model.id=lab/model", "--set", "model.dtype=float16")
    assert "model.dtype: float16 needs a GPU" in refused(cli, "build", cli.recipe(), *remote)
    copy = shutil.copytree(small_release, cli.folder / "half")
    text = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(text.replace("dtype: float32", "dtype: float16"))
    assert "float16" in refused(cli, "replay", copy, "0")


def test_places_that_cannot_be_written_to(cli: Cli, small_release: Path) -> None:
    (cli.folder / "file").write_text("")
    file, folder = cli.folder / "file", cli.folder
    for words in (
        ("build", cli.recipe(), "--out", file),
        ("build", cli.recipe(), "--out", file / "x"),
        ("replay", small_release, "0", "--out", file),
        ("eval", small_release, "--protocol", "digits-lt", "--out", folder),
        ("eval", small_release, "--protocol", "digits-lt", "--out", file / "score.json"),
        ("eval", small_release, "--protocol", "digits-lt", "--report", file / "x" / "report.json"),
    ):
        assert str(folder) in refused(cli, *words)


@pytest.mark.parametrize("features", ["inception", "timm:resnet18.a1_in1k", "clip:lab/clip"])
def test_weights_that_cannot_be_had_stop_a_scoring_before_it_begins(
    cli: Cli, small_release: Path, monkeypatch: pytest.MonkeyPatch, features: str
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(cli.folder / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    words = ("eval", small_release, "--protocol", "digits-lt", "--features", features)
    message = refused(cli, *words)
    assert message.startswith(f"error: features {features}: ")
    assert "`--features none` leaves the metrics out" in message
    assert not (cli.folder / ".synthkit").exists()


HOSTILE = (
    "a|b/<script>alert(1)</script>.png",
    "`code` ``more`` [link](http://evil.example) ![x](http://evil.example/x.png)",
    "x\n\n# A heading\n\n<img src=http://evil.example>",
    "\u202egnp.exe \x1b[2J http://evil.example &amp; <http://evil.example>",
    "`",
    "```",
    " ",
    "",
    "x" * 5000,
)


def test_skipped_images_are_in_the_card_and_inert(small_release: Path) -> None:
    from markdown_it import MarkdownIt

    manifest = read_manifest(small_release)
    example = read_image(small_release, manifest, "0").record.to_row()
    plain = MarkdownIt("commonmark").render(render_card(manifest, example))
    names = [*HOSTILE, *(f"class/{number:02}.png" for number in range(16))]
    skipped = [SkippedFacts(id=name, reason=f"is no picture: {name}") for name in names]
    card = render_card(manifest.model_copy(update={"skipped": skipped}), example)
    assert "25 real image(s) could not be read and were left out:" in card
    assert "- `class/10.png`: `is no picture: class/10.png`\n" in card
    assert "class/11.png" not in card and "- … and 5 more, which `manifest.json` names\n" in card
    html = MarkdownIt("commonmark", {"linkify": False}).render(card)
    for tag in ("<script", "<img", "<a ", "<h1", "<h2"):
        assert html.count(tag) == plain.count(tag), tag
    assert not {"\x1b", "\u202e"} & set(card)
    assert max(map(len, card.splitlines())) < 1000


def test_a_rate_is_of_work_that_was_done(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = cli.recipe()
    assert "images/s, 0 s left" in cli("digest", recipe).output
    line = cli("digest", recipe).output.splitlines()[0]
    assert line.startswith("reading real images: ") and line.endswith(" images, all known before")
    now = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthkit.system.progress.time.monotonic", lambda: now[0])
        with progress("generating", 100, done=20) as advance:
            advance.known(30)
            now[0] = 10.0
            advance(20)
            advance.known(-10)
            advance(40)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "generating: 70 of 100 images, 2.0 images/s, 15 s left"
    assert told[-1] == "generating: 100 of 100 images, 6.0 images/s, 0 s left"
