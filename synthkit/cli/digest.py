"""`synthkit digest`: everything that decides the bytes of a release."""

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
    """Print all that decides the bytes of a release, as JSON: the recipe, the real images and the model.

    Two recipes with the same output make the same release, byte for byte, on the same platform. The
    command reads the real images and makes nothing.
    """
    with user_errors():
        from synthkit.builder.inputs import read_inputs
        from synthkit.system.work_root import work_root

        write_report(read_inputs(load_recipe(recipe, override), work_root(out)).to_json(), report)
