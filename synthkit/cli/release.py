"""`synthkit release`: record a release as a version in git and DVC."""

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
        bool, typer.Option("--tag", help="Run the two git commands, commit and tag, as well.")
    ] = False,
) -> None:
    """Make a release with DVC, verify it, and record it as a version, ready to commit and tag.

    The git tree must be clean and the version new. It records dvc.lock, the reports, and
    changelog/NAME.yaml, which says what changed since the version before.
    """
    with user_errors():
        from synthkit.versions import git, params, stages
        from synthkit.versions.changelog import write_changelog

        listed = params.find(name)
        git.check_clean(listed)
        before = git.check_version(listed)
        if note := before.note(listed):
            print(f"note: {note}", file=sys.stderr)
        stages.keep_additions(listed)
        stages.reproduce(listed)
        told = write_changelog(listed, before.version)
        print(f"{listed.folder}: {name} {listed.entry.version} is made and verified; {printable(told)}")
        commands = git.commands(listed)
        if tag:
            for command in commands:
                git.run(command)
            print(f"Committed and tagged {listed.tag}. Then: {git.push_command(listed)}; dvc push")
        else:
            print("Make it a version with:")
            *commit, tagging = map(shlex.join, commands)
            for line in filter(None, (" && ".join(commit), tagging)):
                print(f"  {line}")
        print(f"Publish it: synthkit publish {listed.folder} ORGANISATION/NAME")
