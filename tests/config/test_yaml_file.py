"""Any model can be read from a file as recipes are, and what is wrong is told in the words of its kind."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from synthkit.config.section import Section
from synthkit.config.yaml_file import FileKind, files_of, load_model
from synthkit.errors import ScoreError


class Constant(Section):
    kind: Literal["constant"]
    rate: float = Field(gt=0, description="Learning rate of every epoch.")


class Cosine(Section):
    kind: Literal["cosine"]
    warm_up: int = 0


class Optimizer(Section):
    schedule: Annotated[Constant | Cosine, Field(discriminator="kind")] = Cosine(kind="cosine")
    note: str = ""


class Protocol(Section):
    name: str
    epochs: int = Field(ge=1, description="Passes over the data.")
    network_args: dict[str, Any] = Field({})
    evaluation: dict[str, Any] = Field({})
    optimizer: Optimizer = Optimizer()
    mean: tuple[float, float] = Field((0.5, 0.5), strict=False)


PROTOCOL = FileKind(Protocol, "protocol", ScoreError, line="epochs: 20", override="epochs=20")
BASE = """\
name: digits
epochs: 20
network_args: {channels: [32, 64]}
evaluation:
  split: test
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "shipped" / "digits.yaml", BASE)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ScoreError) as caught:
        load_model(path, PROTOCOL, overrides)
    return str(caught.value)


def test_a_file_is_its_model(base: Path) -> None:
    protocol = load_model(base, PROTOCOL)
    assert protocol == Protocol(
        name="digits", epochs=20, network_args={"channels": [32, 64]}, evaluation={"split": "test"}
    )


def test_extends_across_folders_states_only_differences(base: Path, tmp_path: Path) -> None:
    middle = write(
        tmp_path / "mine" / "wide.yaml", "extends: ../shipped/digits.yaml\nnetwork_args: {stem: 8}\n"
    )
    path = write(tmp_path / "longer.yaml", "extends: mine/wide.yaml\nepochs: 90\nevaluation: {part: test}\n")
    protocol = load_model(path, PROTOCOL)
    assert (protocol.name, protocol.epochs) == ("digits", 90)
    assert protocol.network_args == {"channels": [32, 64], "stem": 8}
    assert protocol.evaluation == {"split": "test", "part": "test"}
    assert files_of(path, PROTOCOL) == [path, middle, tmp_path / "mine" / ".." / "shipped" / "digits.yaml"]


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("network_args.stem_width=16", "network_args", {"channels": [32, 64], "stem_width": 16}),
        ("network_args.channels=[8, 16]", "network_args", {"channels": [8, 16]}),
        ("network_args.norm={eps: 1.0e-3}", "network_args", {"channels": [32, 64], "norm": {"eps": 0.001}}),
        ("network_args.norm.eps=1.0", "network_args", {"channels": [32, 64], "norm": {"eps": 1.0}}),
        ("network_args.name=8", "network_args", {"channels": [32, 64], "name": 8}),
        ("evaluation.part=validation", "evaluation", {"split": "test", "part": "validation"}),
        ("evaluation.kind=folder", "evaluation", {"split": "test", "kind": "folder"}),
        ("evaluation={part: test}", "evaluation", {"part": "test"}),
        ("evaluation.split=null", "evaluation", {"split": None}),
        ("mean=[0, 1]", "mean", (0.0, 1.0)),
    ],
)
def test_overrides_into_mappings_of_any_keys_are_plain_yaml(
    base: Path, override: str, field: str, value: Any
) -> None:
    assert getattr(load_model(base, PROTOCOL, [override]), field) == value


def test_a_section_that_the_file_leaves_out_can_be_overridden(tmp_path: Path) -> None:
    path = write(tmp_path / "short.yaml", "name: short\nepochs: 1\n")
    assert load_model(path, PROTOCOL, ["evaluation.part=test"]).evaluation == {"part": "test"}


def test_text_fields_at_any_depth_need_no_quotes(base: Path) -> None:
    protocol = load_model(base, PROTOCOL, ["name=2012", "optimizer.note=a: b"])
    assert (protocol.name, protocol.optimizer.note) == ("2012", "a: b")


def test_another_kind_of_a_section_empties_it_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path / "warm.yaml", BASE + "optimizer: {schedule: {kind: cosine, warm_up: 5}}\n")
    constant = Constant(kind="constant", rate=0.1)
    kind, rate = "optimizer.schedule.kind=constant", "optimizer.schedule.rate=0.1"
    for overrides in ([kind, rate], [rate, kind]):
        assert load_model(path, PROTOCOL, overrides).optimizer.schedule == constant
    kept = load_model(path, PROTOCOL, ["optimizer.schedule.kind=cosine"]).optimizer.schedule
    assert kept == Cosine(kind="cosine", warm_up=5)


def test_all_errors_at_once_each_with_the_file_and_line_it_is_in(base: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.yaml",
        "extends: shipped/digits.yaml\nepoch: 3\nmean: 1\noptimizer:\n  schedule: {kind: cosine, warm: 1}\n",
    )
    base.write_text(BASE.replace("epochs: 20", "epochs: 0"))
    assert refused(path).splitlines() == [
        f"{path}: 4 errors",
        f"  {base.parent.parent}/shipped/digits.yaml: line 2: epochs: must be at least 1, is 0",
        f"  {path}: line 2: epoch: unknown key (did you mean epochs?)",
        f"  {path}: line 3: mean: must be a list, is 1",
        f"  {path}: line 5: optimizer.schedule.warm: unknown key (did you mean warm_up?)",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("just words", "is not a protocol: expected keys and values, as in `epochs: 20`"),
        ("name: x", "epochs: is missing: Passes over the data."),
        (
            "name: !shell ls",
            "line 1: is not plain YAML: could not determine a constructor for the tag '!shell'; "
            "protocols are plain data, remove the tag",
        ),
        (
            "evaluation: &a {}\nnetwork_args: *a",
            "line 1: anchors and aliases are not used in protocols; write the value out",
        ),
        (
            "network_args:\n  stem: 1\n  stem: 2",
            "line 3: network_args.stem: is given twice; keep one of them",
        ),
        ("network_args:\n  1: a", "line 2: a key must be plain text; put it in quotes"),
        ("network_args: [1]", "line 1: network_args: must be a mapping, is [1]"),
        (
            "optimizer: {schedule: {kind: cosin}}",
            "optimizer.schedule.kind: must be one of constant, cosine; is 'cosin' (did you mean cosine?)",
        ),
        ("optimizer: {schedule: {}}", "line 1: optimizer.schedule: needs `kind:`, one of constant, cosine"),
        (
            "optimizer: {schedule: {kind: constant}}",
            "line 1: optimizer.schedule.rate: is missing: Learning rate of every epoch.",
        ),
        ("extends: 3", "line 1: extends: must be the path of another protocol"),
        ("extends: gone.yaml", "line 1: extends: there is no file"),
        ("a: " + "x" * 1_000_000, "is more than 1,000,000 bytes long; that is not a protocol"),
    ],
)
def test_a_file_that_is_no_protocol(tmp_path: Path, text: str, told: str) -> None:
    message = refused(write(tmp_path / "mine.yaml", text))
    assert told in message
    assert str(tmp_path / "mine.yaml") in message


def test_a_file_that_is_not_there(base: Path) -> None:
    path = base.with_name("digit.yaml")
    assert refused(path) == f"{path}: there is no such protocol (did you mean {base}?)"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("epochs", "write it as section.field=value, e.g. epochs=20"),
        ("epochs.x=1", "epochs is not a section"),
        ("extends=x.yaml", "extends cannot be set; write it in the file"),
        ("network_args.channels=[", "the value is not plain YAML"),
        ("evaluation={a: 1, a: 2}", "line 1: a: is given twice; keep one of them"),
        ("epoch=3", "epoch: unknown key (did you mean epochs?)"),
        ("epochs=0", "epochs: must be at least 1, is 0"),
    ],
)
def test_a_bad_override_is_one_line_that_repeats_it(base: Path, override: str, told: str) -> None:
    message = refused(base, override)
    assert message.startswith(f"--set {override}: {told}")
    assert "\n" not in message


# --- many errors, deep nesting, long chains ---------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        BASE + "".join(f"key_{number}: 1\n" for number in range(20_000)),
        BASE + "optimizer: {" + ", ".join(f"key_{number}: 1" for number in range(20_000)) + "}\n",
        BASE + "mean: [" + ", ".join("x" for _ in range(20_000)) + "]\n",
    ],
)
def test_of_many_errors_the_first_ten_are_told_and_how_many_more(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    nearest = difflib.get_close_matches
    monkeypatch.setattr(
        difflib, "get_close_matches", lambda *given, **how: compared.append(given) or nearest(*given, **how)
    )
    message = refused(write(tmp_path / "mine.yaml", text)).splitlines()
    if len(message) > 1:
        assert message[0] == f"{tmp_path}/mine.yaml: 20,000 errors"
        assert len(message) == 12
        assert message[1].startswith(f"  {tmp_path}/mine.yaml: line ")
        assert message[11] == "  … and 19,990 more"
    # Comparing names is what takes long.
    assert len(compared) <= 10


def test_of_many_overrides_too(base: Path) -> None:
    message = refused(base, *(f"key_{number}=1" for number in range(2_000))).splitlines()
    assert (message[0], message[-1]) == (f"{base}: 2,000 errors", "  … and 1,990 more")
    assert len(message) == 12


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (f"{'a' * 5_000}=1", "unknown key"),
        (f"{'a.' * 5_000}a=1", "no field is 5001 sections deep"),
        (f"network_args={'[' * 50_000}", "the value is not plain YAML"),
        (f"epochs={'1' * 5_000}", "the value is not plain YAML: the number "),
    ],
)
def test_a_long_override_is_told_in_a_short_line(base: Path, override: str, told: str) -> None:
    message = refused(base, override)
    assert told in message
    assert len(message) < 1_000


@pytest.mark.parametrize("text", ["a: " + "{a: " * 100_000, "a: " + "[" * 400_000, "- " * 300_000])
def test_endless_nesting_is_no_plain_yaml(tmp_path: Path, text: str) -> None:
    """It is refused before it is read to its end."""
    message = refused(write(tmp_path / "mine.yaml", text))
    assert "is not plain YAML: exceeded maximum nesting depth" in message


def chain(folder: Path, length: int) -> Path:
    """A file that extends another, and so on, so many in all."""
    for number in range(length - 1):
        write(folder / f"{number}.yaml", f"extends: {number + 1}.yaml\n")
    write(folder / f"{length - 1}.yaml", BASE)
    return folder / "0.yaml"


def test_a_chain_of_extends_has_an_end(tmp_path: Path) -> None:
    longest = chain(tmp_path / "whole", 33)
    assert load_model(longest, PROTOCOL).name == "digits"
    assert len(files_of(longest, PROTOCOL)) == 33
    for length in (34, 2_000):
        message = refused(chain(tmp_path / str(length), length))
        assert message == (
            f"{tmp_path}/{length}/33.yaml: more than 32 files extend each other in a row; "
            "write some of them into one"
        )
