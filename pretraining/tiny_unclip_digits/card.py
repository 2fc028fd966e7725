"""The model card: what the pipeline is, what it was trained on, how it measured, what it is not for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pretraining.tiny_unclip_digits.conditions import HOLES_SHARE, KIND_SHARES, KINDS, VIEW_STRENGTH
from pretraining.tiny_unclip_digits.prompts import TEMPLATES

if TYPE_CHECKING:
    from pathlib import Path

    from pretraining.tiny_unclip_digits.check import Report

CARD = """\
---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-image
tags: [stable-unclip, digits, tiny]
---

# Tiny unCLIP digits

A miniature but complete `StableUnCLIPImg2ImgPipeline`: it draws 32x32 handwritten digits, conditioned on
a prompt and on the CLIP embedding of an image, and runs at tens of images per second on two CPU cores.
It exists so that synthkit can be tried, tested and benchmarked end to end with no download and no GPU.
Every part has the type, the interfaces and the conditioning of the large pipeline; only the sizes differ.

```python
import torch
from diffusers import StableUnCLIPImg2ImgPipeline

pipe = StableUnCLIPImg2ImgPipeline.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
images = pipe(
    image=[image],
    prompt=["three"],
    guidance_scale=2.0,
    num_inference_steps=25,
    generator=[torch.Generator().manual_seed(0)],
).images
```

The weights are stored in float16, so give the dtype when loading: float32 or bfloat16 on a CPU. Give one
generator per image: noise is drawn for the embedding (even at noise level 0) before it is drawn for the
latents.

## Data

897 images, the `pretrain` part of `synthkit.sources.digits`, and nothing else. The `train` and `test`
parts (disjoint from it by content) served only to measure: the judge below learns from `pretrain` and the
training pool, and is tested on `test`. The images come from the Optical Recognition of Handwritten Digits
data set (E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
Repository, CC BY 4.0), of which scikit-learn bundles the test set: 8x8 pixels in 17 grey levels, here
enlarged to 32x32.

## Architecture

| part | type | size |
| --- | --- | --- |
| `vae` | `AutoencoderKL` | channels 16, 32, 48; 4x8x8 latents |
| `image_encoder` | `CLIPVisionModelWithProjection` | 4 layers of 64, 16 patches of 8x8, embedding 128 |
| `text_encoder`, `tokenizer` | `CLIPTextModel`, `CLIPTokenizer` | 2 layers of 64, 32 positions |
| `unet` | `UNet2DConditionModel` | channels 64, 96; cross-attention 64; class vector 256 |
| `scheduler` | `PNDMScheduler` | v-prediction, scaled-linear betas 0.00085 to 0.012 |
| `image_normalizer`, `image_noising_scheduler` | as in Stable unCLIP | cosine noise levels |

## Training

`python -m pretraining.tiny_unclip_digits --out DIR` from the repository: {minutes:.0f} minutes on two CPU
cores. The images are augmented throughout (turned up to 12 degrees, shifted up to 2 pixels, scaled up to
12 %; in the third stage {strength:.0%} of that).

1. The autoencoder: L1 and a light KL term.
2. The CLIP towers: an image matches the prompt of its class, two augmentations of an image match each
   other, random crops match their class, and the embedding lightly recovers a blurred image.
3. The diffusion model, on frozen latents and embeddings. The embedding that accompanies an augmented image
   is, by share of the training:

{kinds}

   In {holes:.0%} of the cases some of its coordinates are zeroed as well. Prompts are dropped too. So the
   embedding is a hint about style, the prompt is the subject, and the seed decides the rest.

Prompts it knows: the class name (zero to nine) or the numeral, bare or in a phrase such as
{templates}. Words it does not know count for little.

## Measurements

`python -m pretraining.tiny_unclip_digits.check` generates about 240 images for each line, balanced
over the classes: 25 PNDM steps, guidance 2 unless stated, noise level 0, float32, conditioning images from
the `train` part. Whether an image shows its class is decided by a small classifier trained on real images,
the judge. Agreements are shares of images; spreads are mean Euclidean distances between images of a group,
grey values in [0, 1] (or the judge's 64 features), and closeness is in the same pixel distance. "Real"
images are those of the test part for spreads, the 60 of each class's training pool for closeness.

{tables}

## Limits

It knows ten digits in one scanner's style and nothing else. It was trained on some of the manipulations
that synthkit applies to embeddings (zeroed coordinates, mixtures of two images of a class, crops), so it
tolerates them better than a large model would: it shows that a recipe runs and what the parts do, not how
much a method would gain with a model trained on photographs. Its settings were chosen while measuring
with the `train` part.

## Licence

The weights are under Apache-2.0. The data are under CC BY 4.0 (see above).
"""

KIND_NAMES = {
    "itself": "its own",
    "same image": "that of another augmentation of the same image",
    "same class": "that of another image of the class",
    "mixture": "a mixture of the last two",
    "crop": "that of a random crop of the image",
    "zeros": "all zeros before noising, as in text-only generation",
    "absent": "absent, as in the unconditional branch of guidance",
}


def write_card(folder: Path, report: Report, minutes: float) -> None:
    """Write README.md into the pipeline's folder."""
    kinds = [f"   - {KIND_NAMES[kind]}: {share:.0%}" for kind, share in zip(KINDS, KIND_SHARES, strict=True)]
    text = CARD.format(
        minutes=minutes,
        kinds="\n".join(kinds),
        holes=HOLES_SHARE,
        strength=VIEW_STRENGTH,
        templates=", ".join(f'"{TEMPLATES[row].format("three")}"' for row in (3, 8, 10)),
        tables="\n\n".join(_table(heading, numbers) for heading, numbers in report.items()),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _table(heading: str, numbers: dict[str, float]) -> str:
    rows = [f"| {name} | {value:.3g} |" for name, value in numbers.items()]
    return "\n".join([f"| {heading} | |", "| --- | --- |", *rows])
