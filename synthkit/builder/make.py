"""Recipe in, release out: the whole way through, resumable at every shard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.builder.engines import find_engine
from synthkit.builder.estimate import log_rate
from synthkit.builder.growth import take_earlier
from synthkit.builder.inputs import check_leaks, read_inputs
from synthkit.builder.options import WHOLE
from synthkit.builder.outcome import Delivered, Made, Outcome
from synthkit.builder.preflight import check_build, check_delivery
from synthkit.builder.remote_store import RemoteStore
from synthkit.builder.signer import check_signing
from synthkit.builder.store import check_planned
from synthkit.builder.target import Target
from synthkit.builder.tokens import with_tokens
from synthkit.builder.two_passes import make_in_two_passes, needs_two_passes
from synthkit.builder.workspace import Workspace
from synthkit.system.files import naming_the_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options
    from synthkit.builder.store import ShardStore
    from synthkit.recipe.schema import Recipe

    # Brings the shards that are not finished into a work folder.
    Fill = Callable[[Workspace, Inputs, Options], Made]
    # Finds the learned tokens of a build, or learns them.
    FindTokens = Callable[[Inputs, Options], Inputs]


def make_release(recipe: Recipe, options: Options) -> Outcome:
    """Build a release, or a part of one, going on from finished shards; do nothing if it is there already.

    Raises a SynthkitError that says what to do; finished shards survive any error.
    """
    check_build(recipe, options)
    return complete(recipe, options, generate_missing)


def learn_missing(inputs: Inputs, options: Options) -> Inputs:
    """Return inputs with their learned tokens; those that are not here are learned now."""
    earlier = (options.earlier or options.release(inputs.recipe.name)) if inputs.recipe.grown else None
    return with_tokens(inputs, options.work_root, options.device, options.tokens, earlier)


def complete(
    recipe: Recipe, options: Options, fill: Fill, find_tokens: FindTokens = learn_missing
) -> Outcome:
    """Have a work folder filled with shards, and write the release from them unless they are only a part."""
    whole = options.part == WHOLE
    with naming_the_place(options.work_root):
        inputs = read_inputs(recipe, options.work_root, limit=options.limit, device=options.device)
        target, work = Target(inputs, options), Workspace(options.work_root, inputs, options.part)
        if target.is_current():
            return Outcome(target.path, inputs, made=None)
        with target.locked(shared=not whole):
            if target.is_current():  # Another build may just have ended, or what a kill left was set right.
                return Outcome(target.path, inputs, made=None)
            if whole:
                target.check_replaceable(work)
            check_leaks(inputs)
            with work.opened(fresh=options.fresh):
                inputs = find_tokens(inputs, options)
                target = Target(inputs, options)
                if inputs.recipe.grown and not (options.fresh or inputs.preview):
                    release = options.earlier or target.path
                    take_earlier(work, inputs, release, named=options.earlier is not None)
                made = fill(work, inputs, options)
                if made.images:
                    log_rate(work, inputs, made)
                if whole:
                    target.write(work)
    return Outcome(target.path if whole else work.folder, inputs, made, options.part)


def deliver(recipe: Recipe, url: str, options: Options) -> Delivered:
    """Build the shards of a release, or of a part of one, into an address; go on from those that are there.

    Raises a SynthkitError that says what to do; what is there stays there.
    """
    check_delivery(recipe, url, options)
    with naming_the_place(options.work_root):
        inputs = read_inputs(recipe, options.work_root)
        work = RemoteStore(url, inputs, options.part)
        check_leaks(inputs)
        with work.opened(fresh=options.fresh):
            inputs = learn_missing(inputs, options)
            made = generate_missing(work, inputs, options)
        return Delivered(work.url, inputs, work.total(), made)


def generate_missing(work: ShardStore, inputs: Inputs, options: Options) -> Made:
    """Generate the shards that are not finished. Heavy imports happen here, if there are any.

    Raises BuildError if a finished shard was made from other inputs, and SignatureError if images cannot be
    signed.
    """
    if isinstance(work, Workspace) and needs_two_passes(inputs.recipe):
        return make_in_two_passes(work, inputs, options, _generate)
    return _generate(work, inputs, options)


def _generate(work: ShardStore, inputs: Inputs, options: Options) -> Made:
    done = work.intact()
    check_planned(work.place, inputs, done)
    missing = tuple(number for number in work.numbers if number not in done)
    if not missing:
        return Made()
    check_signing(inputs.recipe.output)
    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job

    blocks = inputs.plan.blocks
    begun = {blocks.block_of(number) for number in missing}
    beside = tuple(facts for number, facts in done.items() if blocks.block_of(number) in begun)
    job = Job(inputs, work, missing, beside)
    kept = sum(shard.images for shard in done.values())
    with Display(kept + job.images, kept, inputs.making) as display:
        workers = find_engine(options.engine).run(job, options, display)
        made = Made(display.images, display.seconds, display.lost_images, workers)
    work.settle()
    return made
