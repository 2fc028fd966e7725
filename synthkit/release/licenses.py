"""Licences as addresses: the Hub's words for licences, and where each licence's text is.

Source: the list of licences in the Hub's documentation (huggingface.co/docs/hub/repositories-licenses) and
the SPDX licence list (spdx.org/licenses). The Hub also has words for families (`cc`, `gpl`, `openrail`), for
several texts under one name, and for anything else (`other`); these have no address.
"""

from __future__ import annotations

_SPDX = """
    AFL-3.0 AGPL-3.0 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear
    CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-ND-3.0
    CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0
    CC0-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 ECL-2.0 EPL-1.0 EPL-2.0 etalab-2.0
    EUPL-1.1 EUPL-1.2 GPL-2.0 GPL-3.0 ISC LGPL-2.1 LGPL-3.0 LPPL-1.3c MIT MPL-2.0 MS-PL
    NCSA OFL-1.1 OSL-3.0 PostgreSQL Unlicense WTFPL Zlib
"""
# The Hub's words that are not SPDX's in small letters.
_OTHERWISE = {
    "BSL-1.0": "bsl-1.0",
    "C-UDA-1.0": "c-uda",
    "ODbL-1.0": "odbl",
    "ODC-By-1.0": "odc-by",
    "PDDL-1.0": "pddl",
}
_URLS = {
    **{name.lower(): f"https://spdx.org/licenses/{name}.html" for name in _SPDX.split()},
    **{word: f"https://spdx.org/licenses/{name}.html" for name, word in _OTHERWISE.items()},
    "creativeml-openrail-m": "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    "bigscience-bloom-rail-1.0": "https://huggingface.co/spaces/bigscience/license",
    "openrail++": "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
}


def license_url(word: str) -> str:
    """Return the address of a licence that the Hub has a word for (`cc-by-4.0`); another word as it is."""
    return _URLS.get(word.lower(), word)
