"""Variables of the environment that the Hub's client cannot read: told by name, where the Hub is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import synthkit
from synthkit.errors import HubError
from synthkit.hub.client import prepare_client
from synthkit.hub.environment import check_environment
from tests.conftest import Cli
from tests.helpers.paths import ROOT

REFERENCE = "lab/digits@v1.0.0"

ENDPOINTS = (
    *("", " ", "http://", "https://", "huggingface.co", "//huggingface.co", "file:///etc", "ftp://hub"),
    *(
        "http://x:abc",
        "http://x:99999",
        "http://x:-1",
        "http://x:0",
        "http://x:1:2",
        "http://[::1",
        "http://[x]",
    ),
    *(
        "http://a b",
        " http://a",
        "http://a\n",
        "http://a\x1b[2J",
        "http://..",
        "http://.a",
        "http://☃",
        "http://a%b",
    ),
    *(
        "http://user:hunter2@hub",
        "http://hunter2@hub",
        "http://hub?a=b",
        "http://hub#a",
        "http://" + "a" * 300,
    ),
)
OTHERS = (
    ("HF_HUB_DOWNLOAD_TIMEOUT", "abc"),
    ("HF_HUB_DOWNLOAD_TIMEOUT", ""),
    ("HF_HUB_ETAG_TIMEOUT", "1.5"),
    ("HF_HUB_ETAG_TIMEOUT", "-1"),
    ("HF_DATASETS_IN_MEMORY_MAX_SIZE", "big"),
    ("HTTPS_PROXY", "http://user:hunter2@x:abc"),
    ("https_proxy", "http://[::1"),
    ("HTTP_PROXY", "foo://hunter2@x"),
    ("ALL_PROXY", "http://x:99999"),
    ("ALL_PROXY", "a b"),
    ("SSL_CERT_FILE", "/nowhere/certificates.pem"),
    ("SSL_CERT_FILE", str(ROOT)),
    ("SSL_CERT_FILE", __file__),
    ("SSL_CERT_DIR", "/nowhere"),
    ("SYNTHKIT_HUB_TIMEOUT", "soon"),
)


def told(cli: Cli, *arguments: str | Path) -> str:
    result = cli(*arguments)
    assert (result.exit_code == 1 and not isinstance(result.exception, Exception)) or isinstance(
        result.exception, SystemExit
    ), result.exception
    message = result.output.splitlines()[-1]
    assert message.isprintable() and "hunter2" not in result.output
    return message


@pytest.mark.parametrize(("name", "value"), [*(("HF_ENDPOINT", value) for value in ENDPOINTS), *OTHERS])
def test_a_variable_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(HubError) as caught:
        prepare_client()
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and message.isprintable() and "hunter2" not in message


@pytest.mark.parametrize(
    "value",
    [
        *(
            "https://huggingface.co",
            "http://127.0.0.1:9",
            "http://[::1]:9",
            "http://hub",
            "https://m_1.example/",
        ),
        *("https://mirror.example/api/huggingface/models", "http://zürich.example", "HTTPS://HUB.EXAMPLE"),
    ],
)
def test_addresses_that_hubs_have(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", value)
    check_environment()
    monkeypatch.setenv("HTTPS_PROXY", value.replace("://", "://user:hunter2@"))
    monkeypatch.setenv("NO_PROXY", "[[[, *.example, 10.0.0.0/8")
    check_environment()


def test_the_environment_is_left_as_it_was(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://x:abc")
    assert told(cli, "verify", REFERENCE).startswith("error: HF_ENDPOINT: ")
    assert os.environ["HF_ENDPOINT"] == "http://x:abc"


def test_every_command_that_needs_the_hub_names_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, flat_release: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://x:abc")
    on_hub = (cli.recipe(), "--set", "model.id=lab/model")
    photos = cli.folder / "photos.yaml"
    photos.write_text(
        "{name: x, source: {kind: hub, id: lab/photos}, target_per_class: 9, "
        "model: {id: 'builtin:flat-colours'}}"
    )
    for words in (
        ("show", REFERENCE),
        ("diff", REFERENCE, flat_release),
        ("replay", REFERENCE, "0"),
        ("eval", REFERENCE, "--protocol", "digits-lt"),
        ("pull", REFERENCE),
        ("publish", flat_release, "lab/digits"),
        ("publish", flat_release, "lab/digits", "--dry-run"),
        ("build", *on_hub),
        ("build", photos),
        ("plan", photos),
        ("eval", flat_release, "--protocol", "digits-lt", "--features", "clip:lab/clip"),
    ):
        message = told(cli, *words)
        assert message.startswith("error: ") and "HF_ENDPOINT: its port is not a number" in message, (
            words,
            message,
        )
    result = cli("doctor", *on_hub)
    assert result.exit_code == 1 and "HF_ENDPOINT: its port is not a number" in result.output
    with pytest.raises(HubError, match="HF_ENDPOINT: its port is not a number"):
        synthkit.real(REFERENCE)
    assert not (cli.folder / "releases").exists()


# In a process of its own: the client reads the environment once, when it is loaded.
UNREADABLE = {"HF_ENDPOINT": "http://x:abc", "HF_HUB_ETAG_TIMEOUT": "abc", "ALL_PROXY": "foo://x"}


def ran(folder: Path, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "eval")])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_libraries_load_all_the_same_in_commands_that_need_no_hub(tmp_path: Path) -> None:
    load = "import huggingface_hub; huggingface_hub.get_session()"
    within = f"from synthkit.cli.shared import user_errors\nwith user_errors(): {load}"
    done = ran(tmp_path, "-c", within, **UNREADABLE)
    assert done.returncode == 0, done.stderr
    assert ran(tmp_path, "-c", load, **UNREADABLE).returncode == 1


@pytest.mark.slow
def test_commands_that_need_no_hub_run_all_the_same(cli: Cli) -> None:
    recipe = (cli.recipe(), "--set", "model.id=builtin:flat-colours", "--set", "target_per_class=9")
    done = ran(cli.folder, "-m", "synthkit", "build", *recipe, **UNREADABLE)
    assert done.returncode == 0, done.stderr
    assert (cli.folder / "releases/small/manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("home", ["file", "unwritable"])
def test_a_home_that_is_no_folder(cli: Cli, home: str) -> None:
    (cli.folder / "file").write_text("")
    place = cli.folder / "file" if home == "file" else Path("/proc/nowhere")
    words = ("-m", "synthkit", "verify", REFERENCE)
    done = ran(cli.folder, *words, HF_HOME=str(place), HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("error: HF_HOME: " if home == "file" else "error: lab/digits: ")
    assert len(done.stderr.splitlines()) == 1
