"""`synthkit eval --weights`: the trained networks, and how one of them guides a build."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkit.errors import ScoreError
from synthkit.system.files import check_place, make_folder, write_file
from synthkit_eval.training.weights import ABOUT, PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit_eval.protocol import Protocol


# Letters of what a file says of its network; ours has some hundred.
_MOST = 5_000
_SECTION = "sampler.feedback.classifier"


def weights_path(folder: Path, seed: int) -> Path:
    """Return the file of a run's weights in the folder of the runs."""
    return folder / f"seed-{seed}.network.safetensors"


@dataclass(frozen=True, slots=True)
class KeptWeights:
    """Where the networks of a score go: FOLDER/NAME-seed-N.safetensors."""

    folder: Path
    name: str

    @classmethod
    def of(cls, folder: Path, release: str, *, real_only: bool) -> KeptWeights:
        """Return that of a release's score, or of the score of its real images alone."""
        return cls(folder, f"{release}-real-only" if real_only else release)

    def path(self, seed: int) -> Path:
        """Return the file of one network."""
        return self.folder / f"{self.name}-seed-{seed}.safetensors"

    def check(self, seeds: int, protocol: Protocol, release: Path) -> None:
        """Make the folder. Raises ScoreError or OSError if something else lies in the way of a network."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ScoreError(f"--weights {self.folder}: is a file; name a folder")
        if self.folder.resolve().is_relative_to(release.resolve()):
            raise ScoreError(f"--weights {self.folder}: is inside the release, which holds nothing else")
        make_folder(self.folder)
        check_place(self.folder)
        for path in map(self.path, range(seeds)):
            if not path.exists():
                continue
            facts = facts_of(path)
            if facts is None:
                what = "no network of a score"
            elif facts.get("protocol_digest") != protocol.digest:
                what = f"of protocol {facts.get('protocol')!s:.60} as it was set then"
            else:
                continue
            raise ScoreError(f"--weights: {path}: is there, and is {what}; name another folder")

    def copy(self, runs: Path, seeds: int) -> None:
        """Copy the networks of all runs there, each whole or not at all."""
        for seed in range(seeds):
            with weights_path(runs, seed).open("rb") as source:
                write_file(self.path(seed), source.read())


def facts_of(path: Path) -> dict[str, Any] | None:
    """Return what a file of weights says of its network; None if it is none that a score kept."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[ABOUT][:_MOST])
    except (OSError, ValueError, LookupError, TypeError, RecursionError, SafetensorError):
        return None
    return facts if isinstance(facts, dict) else None


def told_weights(kept: KeptWeights, seeds: Sequence[int], protocol: Protocol) -> Iterator[str]:
    """Yield which files hold networks, and how the first guides a build, or why none can."""
    for seed in seeds:
        yield f"Network: {kept.path(seed)}"
    reason = why_not_guiding(protocol, kept.path(seeds[0]))
    if reason:
        yield f"It cannot guide a build (sampler.feedback): {reason}"
        return
    path = str(kept.path(seeds[0]))
    values = {"network": protocol.network, "size": protocol.images.size, "checkpoint": path}
    # JSON is YAML, whatever the path.
    setting = shlex.quote(f"{_SECTION}={json.dumps(values, ensure_ascii=False)}")
    yield f"Guide a build by it, beside sampler.feedback.scale: --set {setting}"


def why_not_guiding(protocol: Protocol, path: Path) -> str:
    """Return why a build cannot be guided by a network of a protocol; an empty text if it can."""
    import timm

    facts = facts_of(path)
    if facts is None:
        return f"{path} was replaced"
    if facts["fits"] != PLAIN:
        return f"timm's {protocol.network} has other layers than {facts['fits']}"
    if facts["network_args"]:
        return (
            f"it has network_args ({', '.join(facts['network_args'])}), and a guiding network has timm's own"
        )
    own = timm.get_pretrained_cfg(protocol.network)
    if own is None or [*own.mean, *own.std] != [*protocol.images.mean, *protocol.images.std]:
        return "images.mean and images.std are not timm's for this network"
    return ""
