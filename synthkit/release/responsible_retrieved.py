"""What `responsible.py` says otherwise of retrieved images: that they are real ones, of another source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthkit.release.facts import RetrievalFacts
    from synthkit.release.manifest import Manifest


def of_retrieved(manifest: Manifest, facts: RetrievalFacts) -> dict[str, Any]:
    """Return the RAI properties that differ, names with the prefix `rai:`."""
    where = facts.available_from or "where they can be had is not stated"
    return {
        "rai:hasSyntheticData": False,
        "rai:dataCollection": _collection(manifest, facts),
        "rai:dataCollectionType": "Existing datasets: retrieved by similarity",
        "rai:dataCollectionRawData": f"{facts.images:,} images to retrieve from ({facts.kind}), digest "
        f"{facts.digest}: {where}",
        "rai:dataAnnotationProtocol": "The label of an image is the class that it was retrieved for; what "
        "its own source calls it was not asked, and no person has looked at it.",
        "rai:dataLimitations": f"{_left_out(facts)} An image may show another class than it was retrieved "
        "for. Other classes are not covered.",
        "rai:dataBiases": "The images repeat what their source is biased to, and the nearest ones look like "
        "the real images of the class: neither was examined.",
        "rai:personalSensitiveInformation": "Unknown: the images are real, and were not examined for people "
        "or for anything sensitive.",
        "rai:dataSocialImpact": "Not assessed. The images are under the licence and the terms of the source "
        "that they are of.",
    }


def _collection(manifest: Manifest, facts: RetrievalFacts) -> str:
    generator = manifest.generator
    return (
        f"None of the images is generated: all {manifest.images:,} are real images of another source "
        f"({facts.kind}), resized and cropped. Each class has those whose embedding by {generator.name} at "
        f"{generator.revision} is nearest to the mean of its real images, and no image serves twice. Each "
        "record names the image by relative id and SHA-256, and says how near it is."
    )


def _left_out(facts: RetrievalFacts) -> str:
    held_out = "of unknown number" if facts.held_out is None else f"{facts.held_out:,}"
    return (
        f"Left out of the images to retrieve from: training images ({facts.own:,}), held-out images "
        f"({held_out}), repeated ones ({facts.repeated:,}), unreadable ones ({facts.skipped:,})."
    )
