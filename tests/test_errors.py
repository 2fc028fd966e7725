"""Texts of others in messages, and names that were misspelt."""

from __future__ import annotations

from synthkit.errors import did_you_mean, nearest, one_line


def test_one_line_of_any_text() -> None:
    assert one_line("two\n  lines\tof text ") == "two lines of text"
    assert one_line(ValueError("no\nluck")) == "no luck"
    assert one_line(TimeoutError()) == "TimeoutError"
    assert one_line("") == ""
    assert one_line("x" * 300) == "x" * 200
    assert one_line("x" * 300, longest=80) == "x" * 80
    assert one_line(" y" * 5000, longest=None) == " ".join("y" * 5000)


def test_the_nearest_names() -> None:
    names = ["cutmix", "mixup", "embed-cutmix"]
    assert nearest("cutmixx", names) == ["cutmix"]
    assert nearest("cutmixx", names, count=2) == ["cutmix", "embed-cutmix"]
    assert nearest("guidance", names) == []
    assert nearest("guidance", names, count=3, cutoff=0) != []
    assert nearest("cutmix" * 20, names, cutoff=0) == []


def test_a_question_at_the_end_of_a_sentence() -> None:
    assert did_you_mean("cutmixx", ["cutmix"]) == " (did you mean cutmix?)"
    assert did_you_mean("a.yml", ["a.yaml"], prefix="recipes/") == " (did you mean recipes/a.yaml?)"
    assert did_you_mean("guidance", ["cutmix"]) == ""
