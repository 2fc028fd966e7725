"""README.md of an export: what the images are, and where they are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.release.markdown import name, quoted, sentence

if TYPE_CHECKING:
    from synthkit.exports.base import Layout
    from synthkit.release.manifest import Manifest

_TEXT = """\
# {title}

{images:,} {what} images of {classes:,} classes: {layout}. They were exported by synthkit from the release
{release}, whose manifest has the seal {seal}. The image files are those of the release, byte for byte.

{summary}Licence: {license}

Each image has its provenance as fields: the real images it was made from, how they were mixed, the prompt,
the sampler, the seed, the model. docs/provenance.md of synthkit explains them, under the same names.

```python
import {module}

{load}
```
"""


def readme(manifest: Manifest, layout: Layout) -> str:
    """Return the text; what the release's maker chose is inert in it."""
    title = f"{manifest.name} {manifest.version}"
    return _TEXT.format(
        title=name(title),
        images=manifest.images,
        what=manifest.what,
        classes=len(manifest.classes),
        layout=layout.what,
        release=quoted(title),
        seal=quoted(manifest.seal),
        summary=f"{sentence(manifest.summary)}\n\n" if manifest.summary else "",
        license=name(manifest.license),
        module=layout.module,
        load=layout.load.format(out="."),
    )
