"""How to cite a release and the method it was made by, as BibTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from synthkit.release.hub_address import dataset_url

if TYPE_CHECKING:
    from synthkit.release.manifest import Manifest


class Paper(NamedTuple):
    """What a method is called, who wrote of it and where, as Markdown, and its BibTeX entry."""

    method: str
    authors: str
    bibtex: str


_AUGMENTED = Paper(
    "augmented conditioning",
    "Chen, Zhang, Romero-Soriano, [arXiv 2502.04475](https://arxiv.org/abs/2502.04475)",
    """@article{chen2025augmented,
  title   = {Augmented Conditioning Is Enough For Effective Training Image Generation},
  author  = {Chen, Jiahui and Zhang, Amy and Romero-Soriano, Adriana},
  journal = {arXiv preprint arXiv:2502.04475},
  year    = {2025},
  url     = {https://arxiv.org/abs/2502.04475}
}""",
)
# Of the methods that are not of that paper.
_OTHERS = {
    "real-guidance": Paper(
        "Real Guidance",
        "He et al., [arXiv 2210.07574](https://arxiv.org/abs/2210.07574)",
        """@inproceedings{he2023synthetic,
  title     = {Is synthetic data from generative models ready for image recognition?},
  author    = {He, Ruifei and Sun, Shuyang and Yu, Xin and Xue, Chuhui and Zhang, Wenqing and Torr, Philip and
               Bai, Song and Qi, Xiaojuan},
  booktitle = {International Conference on Learning Representations},
  year      = {2023},
  url       = {https://arxiv.org/abs/2210.07574}
}""",
    ),
    "retrieval": Paper(
        "retrieval",
        "Geng et al., [arXiv 2406.05184](https://arxiv.org/abs/2406.05184)",
        """@article{geng2024unmet,
  title   = {The Unmet Promise of Synthetic Training Images: Using Retrieved Real Images Performs Better},
  author  = {Geng, Scott and Hsieh, Cheng-Yu and Ramanujan, Vivek and Wallingford, Matthew and
             Li, Chun-Liang and Koh, Pang Wei and Krishna, Ranjay},
  journal = {arXiv preprint arXiv:2406.05184},
  year    = {2024},
  url     = {https://arxiv.org/abs/2406.05184}
}""",
    ),
    "da-fusion": Paper(
        "DA-Fusion",
        "Trabucco et al., [arXiv 2302.07944](https://arxiv.org/abs/2302.07944); tokens by textual inversion, "
        "Gal et al., [arXiv 2208.01618](https://arxiv.org/abs/2208.01618)",
        """@article{trabucco2023effective,
  title   = {Effective Data Augmentation With Diffusion Models},
  author  = {Trabucco, Brandon and Doherty, Kyle and Gurinas, Max and Salakhutdinov, Ruslan},
  journal = {arXiv preprint arXiv:2302.07944},
  year    = {2023},
  url     = {https://arxiv.org/abs/2302.07944}
}""",
    ),
    "fill-up": Paper(
        "Fill-Up",
        "Shin et al., [arXiv 2306.07200](https://arxiv.org/abs/2306.07200); tokens by textual inversion, "
        "Gal et al., [arXiv 2208.01618](https://arxiv.org/abs/2208.01618)",
        """@article{shin2023fillup,
  title   = {Fill-Up: Balancing Long-Tailed Data with Generative Models},
  author  = {Shin, Joonghyuk and Kang, Minguk and Park, Jaesik},
  journal = {arXiv preprint arXiv:2306.07200},
  year    = {2023},
  url     = {https://arxiv.org/abs/2306.07200}
}""",
    ),
}


def paper_of(method: str) -> Paper:
    """Return the paper of a method of `conditioning.METHODS`."""
    return _OTHERS.get(method, _AUGMENTED)


def about(manifest: Manifest) -> str:
    """Return a sentence on what a release is, where its recipe has none."""
    if manifest.retrieval is not None:
        return "Real images of another source, nearest to each class: what synthetic ones are compared with."
    return f"Synthetic training images made by {paper_of(manifest.method).method}."


def data_set(manifest: Manifest) -> str:
    """Return the BibTeX entry of the release: what its manifest states, and no author that it does not."""
    what = f"{manifest.images:,} {manifest.what} images"
    fields = {
        "title": f"{manifest.name}: {what} of {len(manifest.classes)} classes",
        "author": f"{{{manifest.repo_id.partition('/')[0]}}}" if manifest.repo_id else "",
        "year": manifest.released[:4] if manifest.released else "",
        "version": manifest.version,
        "publisher": "Hugging Face" if manifest.repo_id else "",
        "url": dataset_url(manifest.repo_id) if manifest.repo_id else "",
        "note": f"Made with synthkit {manifest.environment.get('synthkit', '')}".rstrip(),
    }
    lines = [f"  {name:<9} = {{{value}}}" for name, value in fields.items() if value]
    return "@misc{" + manifest.name + ",\n" + ",\n".join(lines) + "\n}"
