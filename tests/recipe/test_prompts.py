"""`prompts` and `captions` of a recipe: what they may be, mistakes in one line, what the digest covers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthkit.errors import RecipeError
from synthkit.recipe.load import load, load_complete
from synthkit.recipe.portable import unportable
from synthkit.recipe.prompts import MOST_BYTES, caption_in, class_fault, filled_in
from synthkit.recipe.schema import Recipe
from tests.helpers.golden_digest import FACTS, PLAIN
from tests.recipe.conftest import MINIMAL

LISTS = {"cat": ["a photo of a {name}", "{caption}"], "sea_dog": ["a {name} 😀"]}
CAPTIONS = "captions: {file: captions.csv}\n"
GENERATION: dict[str, Any] = {"revision": "r"}


def with_prompts(prompts: Any, more: str = "") -> str:
    return MINIMAL + yaml.safe_dump({"prompts": prompts}, allow_unicode=True) + more


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (3, "must be a list of templates, a mapping of each class to such a list, or the path .*; is 3"),
        ("", "must be a list of templates.*; is ''"),
        ([], "is empty: name a template"),
        ({}, "is empty: name a template"),
        ({"cat": []}, "class 'cat': has no template: name one"),
        ({"cat": "a cat"}, "class 'cat': must be a list of templates, is 'a cat'"),
        ({"cat": None}, "class 'cat': must be a list of templates, is empty"),
        (["a", 3], "a template must be text [(]in quotes[)], is 3"),
        (["a", ["b"]], r"a template must be text [(]in quotes[)], is \['b'\]"),
        (["a", None], "a template must be text [(]in quotes[)], is empty"),
        (["a {nam}"], r"'a \{nam\}': only \{name\} and \{caption\} are filled in"),
        (["a {name"], r"'a \{name': only \{name\} and \{caption\}"),
        (["a", "b", "a"], "'a' is given twice; keep one of them"),
        (["a\tb"], r"'a\\tb': U\+0009 is a control character"),
        (["x" * 501], "a template has 501 characters, 500 at most"),
        ([f"{number} {'x' * 490}" for number in range(1_900)], "take more than 750,000 bytes"),
    ],
)
def test_a_bad_list_is_one_line(write: Any, prompts: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=rf"mine\.yaml: line \d+: prompts: {message}") as raised:
        load(write(with_prompts(prompts)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'prompt: "a {name}"\nprompts: ["{name}"]\n',
            "prompts: cannot be given together with prompt: remove one of them, or set prompt to '{name}'",
        ),
        ("prompts: ['{caption}']\n", "captions: is missing: '{caption}' has {caption}; name a file"),
        ('prompt: "{caption}"\n', "captions: is missing: '{caption}' has {caption}; name a file"),
        (CAPTIONS, "captions: no prompt has {caption}: put it into one, or remove captions"),
        (f"{CAPTIONS}prompts: [a]\n", "captions: no prompt has {caption}"),
        (
            f"{CAPTIONS}prompt: '{{caption}}'\nconditioning: {{method: text-only}}\n",
            "captions: '{caption}' has {caption}, and conditioning.method text-only takes no real images",
        ),
        ("captions: {file: ''}\nprompt: '{caption}'\n", "captions.file: must not be empty"),
        ("captions: {}\nprompt: '{caption}'\n", "captions.file: is missing"),
        ("captions: {file: a.csv, sha256: b}\nprompt: '{caption}'\n", "captions.sha256: 'b' does not fit"),
    ],
)
def test_what_does_not_go_together_is_one_line(write: Any, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)) as raised:
        load(write(MINIMAL + text))
    assert "\n" not in str(raised.value)


def test_a_file_says_the_same_as_the_recipe(write: Any, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("id,caption\n")
    inline = load(write(with_prompts(LISTS, CAPTIONS), "inline.yaml"))
    forms = {"p.yaml": yaml.safe_dump(LISTS), "p.yml": yaml.safe_dump(LISTS), "p.json": json.dumps(LISTS)}
    captions = {"file": str(tmp_path / "captions.csv")}
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        recipe = load(write(with_prompts(str(tmp_path / name), yaml.safe_dump({"captions": captions}))))
        assert recipe.with_prompts().prompts == inline.prompts == LISTS
        # A moved file, and other captions in a file of the same name.
        assert recipe.portable()["prompts"] == LISTS
        assert recipe.portable()["captions"]["file"] == "captions.csv"
        assert str(tmp_path) not in json.dumps(recipe.portable()["captions"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.yaml", None, "none.yaml: there is no such list of prompts"),
        ("none.json", None, "none.json: there is no such list of prompts"),
        ("a.yaml", b"cat: [\xff]", "a.yaml: is not UTF-8 text; a list of prompts is a YAML or JSON file"),
        ("a.json", b'{"cat": ["\xff"]}', "a.json: is not UTF-8 text"),
        ("a.yaml", b"cat: [a", "a.yaml: line 1: is not plain YAML"),
        ("a.yaml", b"cat: &a [b]\ndog: *a\n", "a.yaml: line 1: anchors and aliases are not used"),
        ("a.yaml", b"cat: [a]\ncat: [b]\n", "a.yaml: line 2: cat: is given twice"),
        ("a.yaml", b"cat: !!python/object:os.system [a]\n", "a.yaml: line 1: is not plain YAML"),
        ("a.yaml", b"1: [a]\n", "a.yaml: line 1: a key must be plain text; put it in quotes"),
        ("a.yaml", b"", "a.yaml: must be a list of templates"),
        ("a.yaml", b"b.yaml", "a.yaml: must be a mapping of each class to a list of templates, is 'b.yaml'"),
        ("a.yaml", b"cat: a cat\n", "a.yaml: class 'cat': must be a list of templates"),
        ("a.json", b"{", "a.json: is not JSON of prompts: "),
        ("a.json", b"[" * 100_000, "a.json: is not JSON of prompts: it is nested too deeply"),
        ("a.json", b'{"cat": ["a"], "cat": ["b"]}', "'cat' is given twice"),
        ("a.json", b'["\\ud800"]', "U+D800 is not in UTF-8"),
        ("a.json", b" " * 1_000_001, "a.json: is more than 1,000,000 bytes long"),
        (".", None, "is a folder, not a list of prompts"),
        ("a\0b", None, "cannot be read: no file has such a name"),
    ],
)
def test_a_bad_file_is_one_line(
    write: Any, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    recipe = load(write(MINIMAL), [f"prompts={json.dumps(str(tmp_path / name))}"])
    for read in (recipe.with_prompts, lambda: recipe.digest(**FACTS), recipe.portable):
        with pytest.raises(RecipeError, match=re.escape(message)) as raised:
            read()
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith("prompts: ")


def test_a_file_without_captions_is_refused_when_it_is_read(write: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("['{caption}']")
    recipe = load(write(MINIMAL), [f"prompts={tmp_path / 'p.yaml'}"])
    with pytest.raises(RecipeError, match=r"captions: is missing: '\{caption\}' has"):
        recipe.with_prompts()


def test_a_mapping_has_the_classes_of_the_source() -> None:
    assert class_fault(LISTS, ["cat", "sea_dog"]) == ""
    assert class_fault(["a"], ["cat"]) == ""
    missing = class_fault(LISTS, [*LISTS, *"abcdef"])
    assert missing == "no prompts for class a, b, c, d, e …: every class needs some"
    unknown = class_fault(LISTS, ["cat", "sea dog"])
    assert unknown == "there is no class 'sea_dog' (did you mean sea dog?)"
    assert class_fault({"x": ["a"], "y": ["a"]}, ["cat"]) == "there is no class 'x' and 1 more"


def test_the_digest_covers_the_prompts_and_the_captions_and_no_path(write: Any, tmp_path: Path) -> None:
    first, moved, other = (tmp_path / name for name in ("first.csv", "moved.csv", "other.csv"))
    for path, caption in ((first, "x"), (moved, "x"), (other, "y")):
        path.write_text(f"id,caption\na,{caption}\n")
    plain = load(write(MINIMAL))
    drawn = load(write(with_prompts(["{name}"])))
    captioned = [
        load(write(with_prompts(["{caption}"], yaml.safe_dump({"captions": {"file": str(path)}}))))
        for path in (first, moved, other)
    ]
    digests = [recipe.digest(**FACTS) for recipe in (plain, drawn, *captioned)]
    assert digests[0] == PLAIN
    assert (digests[2], len(set(digests))) == (digests[3], 4)
    assert "prompts" not in plain.portable()
    assert captioned[0].portable()["captions"]["sha256"] != captioned[2].portable()["captions"]["sha256"]
    # What decides an image, given its prompt, is the same; so a release may grow by classes with prompts.
    assert len({recipe.generation_digest(**GENERATION) for recipe in (plain, drawn, *captioned)}) == 1


def test_a_missing_file_of_captions_is_one_line(write: Any) -> None:
    for name in ("nowhere.csv", "a\0b.csv"):
        text = yaml.safe_dump({"captions": {"file": name}})
        recipe = load(write(with_prompts(["{caption}"], text)))
        with pytest.raises(RecipeError, match=r"captions\.file: .*: (No such file|cannot be read)"):
            recipe.with_prompts()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("prompts: /etc/passwd\n", "prompts: names a file; a release states the prompts themselves"),
        (f"prompts: ['{{caption}}']\n{CAPTIONS}", "captions.sha256: is missing"),
        (
            f"prompts: ['{{caption}}']\ncaptions: {{file: /etc/passwd, sha256: {'a' * 64}}}\n",
            "captions.file: '/etc/passwd' is an absolute path",
        ),
        (
            f"prompts: ['{{caption}}']\ncaptions: {{file: ../a.csv, sha256: {'a' * 64}}}\n",
            "captions.file: '../a.csv' climbs with ..",
        ),
    ],
)
def test_a_release_names_no_file_to_open(write: Any, text: str, fault: str) -> None:
    faults = list(unportable(load_complete(write(MINIMAL + text))))
    assert any(line.startswith(fault) for line in faults), faults


def test_each_piece_of_a_releases_model_is_named_by_its_content(write: Any) -> None:
    """A commit alone would let a stranger name any file of a folder, or of a repository."""
    commit, content = "a" * 40, "b" * 64
    adapter = f"adapter: {{id: lab/adapters, file: a.safetensors, revision: {commit}"
    told = "sha256: is missing; a release names the content of its model"

    def faults(model: str) -> list[str]:
        text = MINIMAL.replace("model:\n  id: builtin:tiny-unclip-digits", f"model: {{{model}}}")
        return list(unportable(load_complete(write(text))))

    assert faults(f"id: lab/base, revision: {commit}") == []
    assert faults(f"id: lab/base, revision: {commit}, sha256: {content}, {adapter}}}") == [
        f"model.adapter.{told}"
    ]
    assert faults(f"id: lab/base, revision: {commit}, {adapter}, sha256: {content}}}") == [f"model.{told}"]


def test_the_longest_prompts_are_within_what_is_read_of_a_recipe() -> None:
    # Of each kind of character the one that takes most bytes in YAML.
    for character in "'\ufeff":
        templates = [f"{number}{character * 200}" for number in range(100)]
        size = len(yaml.safe_dump(templates, allow_unicode=True).encode())
        fits = 100 * MOST_BYTES // size * 9 // 10
        prompts = [f"{number}{character * 200}" for number in range(fits * 6 // 5)]
        recipe = Recipe.model_validate({**yaml.safe_load(MINIMAL), "prompts": prompts[:fits]})
        assert len(yaml.safe_dump(recipe.portable(), allow_unicode=True).encode()) < 800_000
        with pytest.raises(ValueError, match="take more than 750,000 bytes"):
            Recipe.model_validate({**yaml.safe_load(MINIMAL), "prompts": prompts})


def test_names_and_captions_are_filled_in_once() -> None:
    assert filled_in("{name}: {caption}", "sea_dog", "a {name}") == "sea dog: a {name}"
    assert filled_in("{name}", "{caption}", "no") == "{caption}"


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("a cat: on a mat, on a mat", "on a mat"),
        ("a cat: {caption}, {caption}", "{caption}"),
        ("a cat: on a mat, on a hat", None),
        ("a cat: , ", None),
        ("a dog: on a mat, on a mat", None),
        ("", None),
        ("a cat: " + "x" * 2001 + ", " + "x" * 2001, None),
        ("x" * 5_000_000, None),
    ],
)
def test_the_caption_in_a_prompt_is_found(prompt: str, caption: str | None) -> None:
    assert caption_in(prompt, "a {name}: {caption}, {caption}", "cat") == caption
