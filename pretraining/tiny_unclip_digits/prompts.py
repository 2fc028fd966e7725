"""The prompts of digits that the text tower learns."""

from __future__ import annotations

from pretraining.tiny_unclip.prompts import Language
from synthkit.sources.digits import CLASSES

TEMPLATES = (
    "{}",
    "a {}",
    "the {}",
    "the digit {}",
    "the number {}",
    "digit {}",
    "number {}",
    "a photo of {}",
    "a photo of a {}",
    "a photo of the {}",
    "a photo of the digit {}",
    "a photo of the number {}",
    "an image of a {}",
    "an image of the digit {}",
    "a picture of a {}",
    "a picture of the number {}",
    "a drawing of a {}",
    "a handwritten {}",
    "a handwritten digit {}",
    "a photo of a handwritten {}",
    "a small black and white photo of a {}",
)
# The word and the numeral.
LANGUAGE = Language(tuple((word, str(digit)) for digit, word in enumerate(CLASSES)), TEMPLATES)
