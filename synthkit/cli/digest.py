"""`synthkit digest`: what decides every byte of a release."""

from __future__ import annotations

from synthkit.cli.help import TOOLS
from synthkit.cli.shared import (
    OutOption,
    RecipeArgument,
    ReportOption,
    SetOption,
    app,
    load_recipe,
    user_errors,
    write_report,
)


@app.command(rich_help_panel=TOOLS, epilog="Example: `synthkit digest my.yaml`")
def digest(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: OutOption = None,
    report: ReportOption = None,
) -> None:
    """Print what decides every byte of a release, as JSON: the recipe, the real images and the model.

    The same output means the same release (on the same platform). Reads the real images, makes nothing.
    """
    with user_errors():
        from synthkit.builder.inputs import read_inputs
        from synthkit.system.work_root import work_root

        write_report(read_inputs(load_recipe(recipe, override), work_root(out)).to_json(), report)
