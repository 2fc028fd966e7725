"""Parts of a build, made by many machines, brought together into one release."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.builder.folder_shards import FolderShards
from synthkit.builder.guiding import refuse_untrained
from synthkit.builder.make import complete
from synthkit.builder.outcome import Made
from synthkit.builder.remote_shards import RemoteShards, is_url, is_whole
from synthkit.builder.shard_plans import ShardPlans
from synthkit.builder.store import check_alike
from synthkit.builder.tokens import require_tokens
from synthkit.builder.two_passes import refuse_parts
from synthkit.errors import BuildError
from synthkit.generators.batch_size import refuse_auto
from synthkit.release.shards import ShardFacts, finished
from synthkit.system.progress import progress
from synthkit.system.work_root import WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options
    from synthkit.builder.outcome import Outcome
    from synthkit.builder.workspace import Workspace
    from synthkit.recipe.schema import Recipe

_SHOWN = 20


Place = FolderShards | RemoteShards
Found = tuple[Place, ShardFacts]


def merge(recipe: Recipe, folders: Sequence[str], options: Options) -> Outcome:
    """Collect finished shards from folders (and the own work folder), and complete the release.

    A folder is what a build of a part was given as `--out`, its work folder, or a folder of shards; or
    the same at an address (s3://…), from which shards are brought here.
    Raises BuildError if a shard is missing, damaged, of another recipe or environment, or there twice
    with different content; the release is then not touched.
    """
    refuse_auto(recipe)
    refuse_untrained(recipe)
    refuse_parts(recipe, "synthkit merge")
    roots = [_root(folder) for folder in folders]
    return complete(recipe, options, partial(_collect, roots), partial(_tokens, roots))


def _tokens(roots: Sequence[Place], inputs: Inputs, options: Options) -> Inputs:
    """Return inputs with the learned tokens that the parts were made with."""
    folders = [root.folder.absolute() for root in roots if isinstance(root, FolderShards)]
    # What a build was given as --out, its work folder, or that folder's shards.
    beside = [
        place for folder in folders for place in (folder / WORK_FOLDER, folder.parent, folder.parents[1])
    ]
    return require_tokens(inputs, options.work_root, options.tokens, beside)


def _collect(roots: Sequence[Place], work: Workspace, inputs: Inputs, options: Options) -> Made:
    """Fill the work folder with shards that were made elsewhere."""
    found = [shard for root in roots for shard in _shards_of(root, inputs, work)]
    _check(found, work, inputs)
    _bring(found, work)
    return Made()


def _check(found: Sequence[Found], work: Workspace, inputs: Inputs) -> None:
    """Raise BuildError for what is wrong by the sidecars, before a shard is brought here."""
    every = {shard.name: shard for shard in work.finished().values()}
    for place, shard in found:
        other = every.setdefault(shard.name, shard)
        if other.sha256 != shard.sha256:
            raise BuildError(
                f"{place}/{shard.name}: differs from another one of that name; two machines made it with "
                "different bits: remove the one that you do not trust"
            )
        every[shard.name] = shard
    missing = [number for number in work.numbers if work.name(number) not in every]
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN])) + (" …" if len(missing) > _SHOWN else "")
        earlier = [number for number in missing if number not in inputs.plan.newest]
        hint = "; name the release of the earlier version with --earlier" if earlier else ""
        raise BuildError(
            f"{len(missing):,} of {inputs.plan.shards:,} shards are missing ({shown}, counted from 0); name "
            f"the folders that have them, or make them here with synthkit build{hint}"
        )
    check_alike(inputs.plan.blocks, {number: every[work.name(number)] for number in work.numbers})


def _bring(found: Sequence[Found], work: Workspace) -> None:
    """Bring shards into the work folder, and check the SHA-256 of each there."""
    taken: dict[str, str] = {}
    with progress("merging", len(found), unit="shards") as advance:
        for place, shard in found:
            here = finished(work.shards, shard.name) == shard
            if not here:
                place.fetch(shard, work.shards)
                taken[shard.name] = f"{place}/{shard.name}"
            (advance.known if here else advance)(1)
    whole = work.intact()
    for number in work.numbers:
        if number not in whole:
            name = work.name(number)
            raise _damaged(taken.get(name, str(work.shards / name)))


def _shards_of(root: Place, inputs: Inputs, work: Workspace) -> list[Found]:
    """Find the finished shards below a folder or an address that a user named, with the place of each.

    Raises BuildError if there are none, or if one has not the sizes that its sidecar states.
    """
    name, found = work.folder.name, list[Found]()
    known = {work.name(number): number for number in work.numbers}
    plans = ShardPlans(inputs)
    below = ("shards", f"{name}/shards", f"{WORK_FOLDER}/{name}/shards")
    for place in (root, *(root.below(folder) for folder in below)):
        sizes = place.listed()
        for sidecar, stated in sorted(place.sidecars().items()):
            shard = _checked(f"{place}/{sidecar}", stated, inputs, known, plans)
            if not is_whole(shard, sizes):
                raise _damaged(f"{place}/{shard.name}")
            found.append((place, shard))
    if not found:
        raise BuildError(
            f"{root}: has no finished shards of {name}{_others(root)}; give the same --set as its build"
        )
    return found


def _root(named: str) -> Place:
    """Return what a user named. Raises BuildError for a folder that is not there, or an unusable address."""
    if is_url(named):
        return RemoteShards(named)
    if not Path(named).is_dir():
        raise BuildError(f"{named}: there is no such folder")
    return FolderShards(Path(named))


def _others(root: Place) -> str:
    """Tell whose shards are in a folder that has none of this build."""
    if isinstance(root, RemoteShards):
        return ""
    names = sorted({path.parents[1].name for path in root.folder.glob("**/shards/train-*.json")})
    return f"; it has those of {', '.join(names)}: of another recipe" if names else ""


def _checked(
    sidecar: str, shard: ShardFacts | None, inputs: Inputs, known: Mapping[str, int], plans: ShardPlans
) -> ShardFacts:
    """Return what a sidecar states. Raises BuildError unless it is a shard of this build, one of `known`."""
    if shard is None:
        raise BuildError(f"{sidecar}: is damaged; remove it, and make the shard again there")
    digest = inputs.generation_digest
    if shard.origin.digest != digest:
        raise BuildError(
            f"{sidecar}: was made from another recipe (digest {shard.origin.digest[:12]}, this one is "
            f"{digest[:12]}); merge what one recipe made"
        )
    if shard.name not in known:
        raise BuildError(
            f"{sidecar}: {shard.name} does not belong to this build, which has {inputs.plan.shards} shards"
        )
    if shard.plan != plans.digest(known[shard.name]):
        raise BuildError(
            f"{sidecar}: holds other images than this recipe plans for it: it has another target, or other "
            "real images; merge what one recipe made"
        )
    return shard


def _damaged(shard: str) -> BuildError:
    return BuildError(f"{shard}: is not what its sidecar says; copy it again, or make it again")
