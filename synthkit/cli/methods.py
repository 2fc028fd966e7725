"""`synthkit methods`: pictures of what the conditioning methods make of a recipe's real images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthkit.cli.help import MAKE
from synthkit.cli.shared import DeviceOption, RecipeArgument, SetOption, app, load_recipe, user_errors
from synthkit.system.names import printable


@app.command(
    rich_help_panel=MAKE,
    epilog="Examples: `synthkit methods recipes/digits_lt_ecd.yaml` · "
    "`synthkit methods my.yaml --key 12 --seeds 3 --out pictures`",
)
def methods(
    recipe: RecipeArgument,
    override: SetOption = None,
    key: Annotated[
        int, typer.Option(min=0, metavar="KEY", help="Take the real images of this image of the release.")
    ] = 0,
    seeds: Annotated[int, typer.Option(min=1, max=12, metavar="N", help="How many images of each kind.")] = 6,
    device: DeviceOption = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Put the pictures there. Default: pictures/NAME.", show_default=False
        ),
    ] = None,
) -> None:
    """Draw what each method makes of one pair of real images, and what dropout and the class name alone make.

    Every image is the one that a build by that method would make from these real images and that seed.
    """
    with user_errors():
        from synthkit.inspection.methods import MethodImages
        from synthkit.inspection.methods_picture import draw_all
        from synthkit.system.environment import check_device
        from synthkit.system.files import check_place, make_folder, write_file
        from synthkit.system.work_root import work_root

        loaded = load_recipe(recipe, override)
        folder = Path("pictures") / loaded.name if out is None else out
        check_place(folder)
        check_device(device)
        drawn = draw_all(MethodImages(loaded, key, work_root(None), device), seeds)
        make_folder(folder)
        for name, picture in drawn.pictures.items():
            write_file(folder / name, picture)
            print(printable(f"{folder / name}"))
        for line in drawn.left_out:
            print(printable(f"left out: {line}"))
