"""`synthkit release`: a version in git and DVC."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from synthkit.cli import completion
from synthkit.cli.help import PUBLISH
from synthkit.cli.shared import app, user_errors
from synthkit.system.names import printable


@app.command(
    rich_help_panel=PUBLISH,
    epilog="Examples: `synthkit release digits-lt-augcond` · `synthkit release digits-lt-augcond --tag`",
)
def release(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A release that params.yaml lists.",
            show_default=False,
            autocompletion=completion.listed_releases,
        ),
    ],
    tag: Annotated[
        bool, typer.Option("--tag", help="Run the two git commands, too: commit and tag.")
    ] = False,
) -> None:
    """Make a release by the pipeline, verify it and record it in git and DVC, ready to tag.

    The tree must be clean and the version new. What is recorded: dvc.lock, the reports, and
    changelog/NAME.yaml with what changed since the version before.
    """
    with user_errors():
        from synthkit.versions import params
        from synthkit.versions.changelog import write_changelog

        listed = params.find(name)
        params.check_clean(listed)
        before = params.check_version(listed)
        if note := before.note(listed):
            print(f"note: {note}", file=sys.stderr)
        params.keep_audit(listed)
        params.reproduce(listed)
        told = write_changelog(listed, before.version)
        print(f"{listed.folder}: {name} {listed.entry.version} is made and verified; {printable(told)}")
        commands = params.commands(listed)
        if tag:
            for command in commands:
                params.run(command)
            print(f"Committed and tagged {listed.tag}. Then: {params.push_command(listed)}; dvc push")
        else:
            print("Make it a version with:")
            *commit, tagging = map(shlex.join, commands)
            for line in filter(None, (" && ".join(commit), tagging)):
                print(f"  {line}")
        print(f"Publish it: synthkit publish {listed.folder} ORGANISATION/NAME")
