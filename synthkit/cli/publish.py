"""`synthkit publish`: a release on the Hugging Face Hub."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.cli.help import PUBLISH
from synthkit.cli.shared import FolderArgument, app, user_errors
from synthkit.cli.signing import CertificateOption, ChainOption, KeyOption, SigstoreOption, identity_of
from synthkit.errors import ReleaseError, SignatureError, SynthkitError
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit.hub.repository import Repository
    from synthkit.publish.outgoing import Outgoing
    from synthkit.publish.publish import Publication
    from synthkit.publish.sign import SigningIdentity
    from synthkit.publish.space import PagePublication


@app.command(
    rich_help_panel=PUBLISH,
    epilog="Examples: `synthkit publish releases/digits-lt-augcond my-lab/digits --dry-run` · "
    "`synthkit publish releases/digits-lt-augcond my-lab/digits`",
)
def publish(
    release: FolderArgument,
    repo_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ORG/NAME",
            help="The repository. Default: hub.repo_id of the recipe.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and list what would be sent; send nothing.")
    ] = False,
    public: Annotated[
        bool | None,
        typer.Option(
            "--public/--private",
            help="Who may see the repository if it is new. Default: hub.private of the recipe, else private.",
            show_default=False,
        ),
    ] = None,
    page: Annotated[
        bool | None,
        typer.Option(
            "--page/--no-page",
            help="Put the release's page into the static Space ORG/NAME-page, too; the card links it. "
            "Default: hub.page of the recipe, else no.",
            show_default=False,
        ),
    ] = None,
    page_sources: Annotated[
        bool,
        typer.Option(
            "--page-sources",
            help="On the page, show the real images beside those made from them, made small; without it "
            "they are named.",
        ),
    ] = False,
    score: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="On the page, show this score of the release. Repeatable.",
            show_default=False,
        ),
    ] = None,
    sign: Annotated[
        bool,
        typer.Option(
            "--sign", help="Sign what is sent, with --key or --sigstore; the release here stays as it is."
        ),
    ] = False,
    accept_model_license: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Publish although this licence of the model restricts training on the images; repeatable.",
            show_default=False,
        ),
    ] = None,
    key: KeyOption = None,
    certificate: CertificateOption = None,
    chain: ChainOption = None,
    sigstore: SigstoreOption = False,
) -> None:
    """Upload a release to the Hugging Face Hub under a tag such as v1.0.0.

    It sets the tag once all files are there with the right SHA-256; the tag never moves. Stop it at any
    time: the same command sends the rest.
    """
    with user_errors():
        from synthkit.cli.publish_page import prepare_space
        from synthkit.hub.repository import Repository
        from synthkit.publish.model_licenses import check_model_licenses
        from synthkit.publish.outgoing import address_to, refuse_lost_signature
        from synthkit.publish.publish import check_release, prepare, target
        from synthkit.publish.publish import sign as sign_outgoing
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.recipe_file import read_recipe

        if not sign and (key or certificate or chain or sigstore):
            raise SignatureError("--key, --certificate, --chain and --sigstore sign: add --sign")
        identity = identity_of(key, certificate, chain, sigstore=sigstore) if sign else None
        with ReleaseFolder.at(release).opened() as manifest:
            repository = Repository(target(release, manifest, repo_id))
            for warning in check_model_licenses(release, manifest, accept_model_license or ()):
                print(printable(f"warning: {warning}"), file=sys.stderr)
            check_release(release, manifest)
            hub = read_recipe(release).hub
            with_page = bool(hub.page) if page is None else page
            if not with_page and (page_sources or score):
                raise ReleaseError("--page-sources and --score: are for the page; add --page")
            outgoing = address_to(release, manifest, repository.repo_id, page=with_page)
            private = hub.private if public is None else not public
            try:
                publication = prepare(repository, outgoing, private=private)
            except SynthkitError:
                if dry_run:
                    _print_list(repository, outgoing, None)
                raise
            if identity is None and not publication.tagged:
                refuse_lost_signature(release, publication.outgoing)
            if identity is not None and (publication.tagged or not dry_run):
                publication = sign_outgoing(publication, identity)
            space = prepare_space(publication, score or (), sources=page_sources) if with_page else None
        if dry_run:
            _tell(publication, space, identity)
        else:
            _carry_out(publication, space, identity)
        if public is not None and publication.private is public:
            print(f"It stays {_visibility(publication)}: change that at {repository.url}/settings")


def _tell(publication: Publication, space: PagePublication | None, identity: SigningIdentity | None) -> None:
    """Say what would be sent."""
    from synthkit.cli.publish_page import print_page

    if publication.done:
        _print_done(publication)
    else:
        _print_list(publication.repository, publication.outgoing, publication)
        _print_identity("The manifest would be signed by", identity)
    if space is not None:
        print_page(space, publication)
    if not publication.done or (space is not None and not space.done):
        print("Nothing was sent; publish it with the same command without --dry-run")


def _carry_out(
    publication: Publication, space: PagePublication | None, identity: SigningIdentity | None
) -> None:
    """Publish a release, and then its page."""
    from synthkit.cli.publish_page import send_page
    from synthkit.publish.publish import publish as carry_out
    from synthkit.publish.space import make_space

    if publication.done:
        _print_done(publication)
    else:
        # Before the release, so that a token which may not make the Space is told of before anything is sent.
        space = space and make_space(space)
        done = carry_out(publication)
        for note in dict.fromkeys((*publication.notes, *done.notes)):
            print(printable(note))
        _print_published(publication)
        _print_identity("Signed by", identity)
    if space is not None:
        send_page(space, publication)


def _print_list(repository: Repository, outgoing: Outgoing, publication: Publication | None) -> None:
    from synthkit.publish.branch import branch_of
    from synthkit.system.progress import data_size

    manifest = outgoing.manifest
    print(f"{manifest.name} {manifest.version} -> {repository.url}, tag {outgoing.tag}")
    width = max(map(len, outgoing.facts))
    for path, facts in sorted(outgoing.facts.items()):
        fate = "" if publication is None else "  send" if path in publication.send else "  there already"
        print(printable(f"  {path:<{width}}  {data_size(facts.bytes):>8}{fate}"))
    total = sum(facts.bytes for facts in outgoing.facts.values())
    print(f"{len(outgoing.facts)} files, {data_size(total)}", end="")
    if publication is None:
        print()
        return
    print(f"; {len(publication.send)} to send, {data_size(publication.bytes_to_send)}")
    if publication.by_branch:
        print(f"  in several commits on the branch {branch_of(outgoing)}, then all at once on main")
    for path in publication.delete:
        print(printable(f"  {path}: not part of this version; it is deleted in the new commit"))
    for note in publication.notes:
        print(printable(f"  {note}"))
    new = "to be made, " if publication.head is None else ""
    print(f"Repository: {new}{_visibility(publication)}. The card is in order.")


def _print_done(publication: Publication) -> None:
    repository, tag = publication.repository, publication.outgoing.tag
    print(f"{repository.url}: {tag} is published already, and whole; nothing to do")
    if publication.outgoing.is_signed:
        print(f"It is signed; by whom: synthkit verify {repository.repo_id}@{tag} --signer WHO")


def _print_identity(what: str, identity: SigningIdentity | None) -> None:
    if identity is not None:
        print(printable(f"{what} {identity}"))


def _visibility(publication: Publication) -> str:
    return "private" if publication.private else "public"


def _print_published(publication: Publication) -> None:
    from synthkit.system.progress import data_size

    outgoing, repository = publication.outgoing, publication.repository
    print(
        f"{repository.url}/tree/{outgoing.tag}: {outgoing.manifest.name} {outgoing.manifest.version} is "
        f"published: {len(outgoing.facts)} files, {len(publication.send)} of them new or changed "
        f"({data_size(publication.bytes_to_send)})"
    )
    print(
        f'Load it: load_dataset("{repository.repo_id}", revision="{outgoing.tag}", split="train", '
        "streaming=True)"
    )
    signer = " --signer WHO" if outgoing.is_signed else ""
    print(f"Check a copy: synthkit verify {repository.repo_id}@{outgoing.tag}{signer}")
