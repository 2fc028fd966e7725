"""What can be refused at once: before images are read, a model is loaded or other machines begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.builder.engines import ENGINES, find_engine
from synthkit.builder.guiding import refuse_untrained
from synthkit.builder.options import WHOLE
from synthkit.builder.remote_shards import RemoteShards, refuse_password
from synthkit.builder.signer import check_signing
from synthkit.builder.two_passes import refuse_parts
from synthkit.errors import BuildError, GeneratorError
from synthkit.generators import needs_device
from synthkit.generators.base import check_dtype
from synthkit.generators.batch_size import refuse_auto
from synthkit.generators.checkpoint import find_local
from synthkit.system.environment import choose_device
from synthkit.system.files import check_place
from synthkit.system.known_hashes import MODELS, known_if_begun

if TYPE_CHECKING:
    from synthkit.builder.options import Options
    from synthkit.recipe.schema import Recipe


def check_build(recipe: Recipe, options: Options) -> None:
    """Raise a SynthkitError or an OSError, within seconds, for a build into a folder that cannot go well."""
    engine = find_engine(options.engine)
    if options.part != WHOLE:
        refuse_parts(recipe, f"--shards {options.part}")
    if ENGINES[options.engine].spans_machines:
        refuse_parts(recipe, f"--engine {options.engine}")
    engine.check(options)
    check_place(options.releases)
    if options.part != WHOLE or ENGINES[options.engine].spans_machines:
        refuse_auto(recipe)
    if options.part != WHOLE:
        refuse_untrained(recipe)
    # If it has begun, there may be nothing left to generate.
    if options.release(recipe.name).exists() or any(options.work_root.glob(f"{recipe.name}-*")):
        return
    check_signing(recipe.output)
    if not ENGINES[options.engine].spans_machines:
        _check_dtype(recipe, options)


def check_delivery(recipe: Recipe, url: str, options: Options) -> None:
    """Raise a SynthkitError, within seconds, for a build to an address that cannot go well."""
    # First: the errors below name the address.
    refuse_password(url)
    refuse_parts(recipe, f"--out {url}")
    engine = find_engine(options.engine)
    if not ENGINES[options.engine].spans_machines:
        able = " or ".join(name for name, entry in ENGINES.items() if entry.spans_machines)
        raise BuildError(f"--out {url}: only --engine {able} writes to an address; give a folder")
    if options.limit is not None:
        raise BuildError(f"--out {url}: a preview is small; give a folder")
    engine.check(options)
    refuse_auto(recipe)
    check_signing(recipe.output)
    RemoteShards(url)


def _check_dtype(recipe: Recipe, options: Options) -> None:
    """Refuse arithmetic that the device has not got."""
    if recipe.model.dtype != "float16":
        return
    try:
        check_dtype(recipe.model.dtype, choose_device(options.device))
    except GeneratorError:
        # To find a model in a folder is to read all of it: only now.
        with known_if_begun(options.work_root / MODELS) as known_hashes:
            checkpoint = find_local(recipe.model, known_hashes)
        if checkpoint is None or needs_device(checkpoint):
            raise
