"""Feature spaces in which sets of images are compared: images in, vectors out.

* `builtin:tiny-unclip-digits`: f(x), the image encoder of the embedded model; its weights are in the package
* `inception`, `inception:FILE`: InceptionV3 of the original FID, 2048 features; torch-fidelity's weights, or
  a file of them
* `timm:NETWORK`, `timm:NETWORK:FILE`: a timm network without its classifier; weights from the Hub, or from a
  safetensors file
* `clip:REPOSITORY`, `clip:FOLDER`: CLIP's image encoder with its projection, from the Hub, or from a folder

Weights are read as tensors and never unpickled.
"""

from __future__ import annotations

import io
import logging
import re
import socket
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from synthkit.errors import HubError, ScoreError, nearest
from synthkit.generators.checkpoint import BUILTIN, content_revision
from synthkit.hub.cache import MODEL, cached, fetch_model
from synthkit.hub.environment import check_environment
from synthkit.hub.patience import safe_line
from synthkit.system.files import sha256_of
from synthkit_eval.feature_names import FORMS, NONE, check_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray
    from PIL import Image

OFFLINE = "builtin:tiny-unclip-digits"
_INCEPTION_DIMENSIONS = 2048
_INCEPTION_EDGE = 299
# Seconds without an answer or a byte.
_DOWNLOAD_TIMEOUT_S = 15.0


class Features(Protocol):
    """A feature space."""

    @property
    def name(self) -> str:
        """What a score calls it: the spec without folders, and which weights exactly."""
        ...

    @property
    def dimensions(self) -> int:
        """D."""
        ...

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """The (N, D) float32 features of N RGB images of any size."""
        ...


@dataclass(frozen=True, slots=True)
class Encoder:
    """A frozen network as a feature space, always called with whole batches.

    `prepare` makes (B, 3, H, W) float32 of images, `network` (B, D) of that. What is short of a batch is
    padded, so an image's features depend on itself and on the batch's size, and not on its neighbours.
    """

    name: str
    dimensions: int
    prepare: Callable[[Sequence[Image.Image]], torch.Tensor]
    network: Callable[[torch.Tensor], torch.Tensor]
    device: str
    batch_size: int

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(N, D) float32. Raises ScoreError if a batch does not fit the device."""
        size = self.batch_size
        parts = [self._batch(images[at : at + size]) for at in range(0, len(images), size)]
        return np.concatenate([np.zeros((0, self.dimensions), np.float32), *parts])

    def _batch(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        import torch

        padded = [*images, *[images[-1]] * (self.batch_size - len(images))]
        try:
            with torch.inference_mode(), _repeatable():
                found = self.network(self.prepare(padded).to(self.device)).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise ScoreError(
                f"features {self.name}: {self.device} has too little memory for batches of "
                f"{self.batch_size} images; use another device, or a smaller network"
            ) from error
        return np.asarray(found[: len(images)], dtype=np.float32)


def open_features(spec: str, device: str, batch_size: int = 32) -> Features:
    """The feature space of a spec (see the module), on a device.

    Weights are taken from this machine where they are, else downloaded. Raises ScoreError if there is no
    such space, or its weights cannot be had or do not fit.
    """
    check_features(spec)
    kind, _, rest = spec.partition(":")
    openers = {"builtin": _builtin, "inception": _inception, "timm": _timm, "clip": _clip}
    if kind not in openers:
        raise ScoreError(f"features {spec}: is no feature space; use one of {', '.join(FORMS)}")
    return openers[kind](spec, rest, device, batch_size)


def _builtin(spec: str, name: str, device: str, batch_size: int) -> Encoder:
    """The image encoder alone of a generator: f(x) as `Generator.embed_images` gives it."""
    folder = BUILTIN[name]
    parts = (folder / "image_encoder", folder / "feature_extractor")
    return _clip_encoder(spec, spec, *parts, device=device, batch_size=batch_size)


def _clip(spec: str, place: str, device: str, batch_size: int) -> Encoder:
    folder = Path(place).expanduser()
    if folder.is_dir():
        name = f"clip:{folder.resolve().name}@{content_revision(folder)[:12]}"
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", place):
        folder = _from_hub(spec, place, ("config.json", "preprocessor_config.json", "model.safetensors"))
        name = f"{spec}@{folder.name[:12]}"
    else:
        raise _unavailable(spec, "there is no such folder, and a Hub repository is organisation/name")
    return _clip_encoder(spec, name, folder, folder, device=device, batch_size=batch_size)


def _clip_encoder(
    spec: str, name: str, encoder: Path, processor: Path, *, device: str, batch_size: int
) -> Encoder:
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
    from transformers.utils import logging as transformers_logging

    # What matters is in the error that is raised.
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    with _no_other_errors(spec, "is no CLIP image encoder in safetensors"):
        prepare: Any = CLIPImageProcessor.from_pretrained(processor, **local)
        network, found = CLIPVisionModelWithProjection.from_pretrained(
            encoder,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **local,
        )
        _nothing_missing([*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])])
        network = network.eval().to(device)
    return Encoder(
        name,
        int(network.config.projection_dim),
        lambda images: prepare(images=images, return_tensors="pt").pixel_values,
        lambda pixels: network(pixels).image_embeds,
        device,
        batch_size,
    )


def _timm(spec: str, rest: str, device: str, batch_size: int) -> Encoder:
    name, _, file = rest.partition(":")
    network, weights = _timm_from_file(spec, name, Path(file)) if file else _timm_from_hub(spec, name)
    import timm
    import torch

    network = network.eval().to(device)
    data = timm.data.resolve_model_data_config(network)
    transform: Any = timm.data.create_transform(**data, is_training=False)
    with torch.inference_mode():
        shape = tuple(network(torch.zeros(1, *data["input_size"], device=device)).shape)
    if len(shape) != 2:
        raise _unavailable(spec, f"gives {shape[1:]} for an image, not a vector")
    return Encoder(
        f"timm:{weights}",
        shape[1],
        lambda images: torch.stack([transform(image) for image in images]),
        network,
        device,
        batch_size,
    )


def _timm_from_file(spec: str, name: str, path: Path) -> tuple[Any, str]:
    """A network with weights of a safetensors file; those of a classifier may be in it."""
    import timm
    from safetensors.torch import load_file

    path = path.expanduser()
    _known_to_timm(spec, name)
    content = _content_of(spec, path)
    with _no_other_errors(spec, f"{path} holds no {name} in safetensors"):
        network: Any = timm.create_model(name, pretrained=False, num_classes=0)
        _nothing_missing(network.load_state_dict(load_file(path), strict=False).missing_keys)
    return network, f"{name}:{path.name}@{content}"


def _timm_from_hub(spec: str, name: str) -> tuple[Any, str]:
    """A network with timm's own weights, of which only those in safetensors are taken."""
    import timm

    _known_to_timm(spec, name)
    about: Any = timm.models.get_pretrained_cfg(name)
    if about is None or not about.hf_hub_id:
        raise _unavailable(spec, "timm has no weights of it on the Hub; name a file: timm:NETWORK:FILE")
    folder = _from_hub(spec, about.hf_hub_id, ("model.safetensors",))
    weights = {"file": str(folder / "model.safetensors"), "custom_load": False}
    with _no_other_errors(spec, f"the weights of {about.hf_hub_id} do not fit"):
        network = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=weights)
    return network, f"{about.architecture}.{about.tag}@{folder.name[:12]}"


def _known_to_timm(spec: str, name: str) -> None:
    import timm

    names = [*timm.list_models(), *timm.list_pretrained()]
    if name not in names:
        near = ", ".join(nearest(name, names, count=3, cutoff=0))
        raise _unavailable(spec, f"timm has no such network; the nearest are {near}")


def _inception(spec: str, file: str, device: str, batch_size: int) -> Encoder:
    """The network that FID was first measured with (TensorFlow's, 2015), as torch-fidelity ports it."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    path = Path(file).expanduser() if file else _inception_weights(spec)
    name = f"inception:{path.name}@{_content_of(spec, path)}" if file else spec
    with _no_other_errors(spec, f"{path} holds no InceptionV3 of torch-fidelity"):
        weights = _as_written_here(path)
        whole = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=weights)
        # Its layers stand in the order of its forward pass, which takes images of one size alone.
        network = torch.nn.Sequential(*list(whole.children())[:-1], torch.nn.Flatten()).eval().to(device)
    size = (_INCEPTION_EDGE, _INCEPTION_EDGE)

    def prepare(images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() for image in images)
        resized = [
            interpolate_bilinear_2d_like_tensorflow1x(one, size=size, align_corners=False) for one in pixels
        ]
        return (torch.cat(resized) - 128) / 128

    return Encoder(name, _INCEPTION_DIMENSIONS, prepare, network, device, batch_size)


def _as_written_here(path: Path) -> io.BytesIO:
    """The tensors of a file in bytes of our own: torch-fidelity 0.4 unpickles whatever it is given."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception:
        # PyTorch's own message tells how to unpickle it all the same.
        raise ValueError("it is damaged, or holds more than tensors, which is not unpickled") from None
    buffer = io.BytesIO()
    torch.save({str(key): tensor.detach().clone() for key, tensor in state.items()}, buffer)
    buffer.seek(0)
    return buffer


def _inception_weights(spec: str) -> Path:
    """Where torch-fidelity keeps its weights; downloaded if they are not there, and checked by hash."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    file_name = URL_INCEPTION_V3.rpartition("/")[2]
    path: Path = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    if path.is_file():
        return path
    try:
        check_environment()  # its proxies and certificates
    except HubError as error:
        raise _unavailable(spec, str(error)) from None
    print(f"features {spec}: downloading {URL_INCEPTION_V3} (91 MiB)", file=sys.stderr)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sha256 = Path(file_name).stem.rpartition("-")[2]
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), sha256, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        reason = f"its weights cannot be downloaded ({safe_line(error)})"
        hint = f"get {URL_INCEPTION_V3} elsewhere and name the file: inception:FILE"
        raise _unavailable(spec, f"{reason}; {hint}") from None
    finally:
        socket.setdefaulttimeout(before)
    return path


def _from_hub(spec: str, repository: str, files: tuple[str, ...]) -> Path:
    """The snapshot of a model repository that holds these files and no other; its name is the commit."""
    # Weights in several files have names of their own.
    wanted = [*files, "model-*-of-*.safetensors", "model.safetensors.index.json"]
    try:
        folder = cached(repository, None, MODEL, wanted)
        if folder is None or not all((folder / file).is_file() for file in files):
            folder = fetch_model(repository, None, wanted)
    except HubError as error:
        raise _unavailable(spec, str(error)) from None
    if not any(folder.glob("model*.safetensors")):
        raise _unavailable(spec, f"{repository} has no weights in safetensors, and nothing else is read")
    return folder


def _content_of(spec: str, path: Path) -> str:
    try:
        return sha256_of(path)[:12]
    except OSError as error:
        raise _unavailable(spec, f"{path}: {error.strerror or 'cannot be read'}") from None


def _unavailable(spec: str, reason: str) -> ScoreError:
    otherwise = f"`--features {OFFLINE}` works offline, `--features {NONE}` leaves the metrics out"
    return ScoreError(f"features {spec}: {reason}; {otherwise}")


def _nothing_missing(keys: Sequence[str]) -> None:
    """Libraries draw weights that a file lacks at random, and say so in a log at most."""
    if keys:
        others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        raise ValueError(f"it lacks {min(keys)}{others}, or has it in another size")


@contextmanager
def _no_other_errors(spec: str, otherwise: str) -> Iterator[None]:
    """Libraries that read weights fail in ways of their own; the cause is kept."""
    try:
        yield
    except Exception as error:
        raise _unavailable(spec, f"{otherwise}: {safe_line(error)}") from error


@contextmanager
def _repeatable() -> Iterator[None]:
    """Arithmetic that is the same on every run and at full precision, whatever training has set."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
