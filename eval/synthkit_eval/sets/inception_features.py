"""InceptionV3 as FID was first measured with it (TensorFlow's weights of 2015), ported by torch-fidelity."""

from __future__ import annotations

import io
import socket
import sys
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import HubError
from synthkit.hub.environment import check_environment
from synthkit.hub.patience import safe_line
from synthkit_eval.sets.feature_weights import content_of, loading, unavailable
from synthkit_eval.sets.features import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from PIL import Image

_DIMENSIONS = 2048
_EDGE = 299
# Seconds without an answer or a byte.
_DOWNLOAD_TIMEOUT_S = 15.0


def open_inception(spec: str, file: str, device: str, batch_size: int) -> Encoder:
    """Load the network with the weights in a file, or with torch-fidelity's, downloaded once.

    Raises ScoreError if they cannot be had, or are not those of this network.
    """
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    path = Path(file).expanduser() if file else _fetch(spec)
    name = f"inception:{path.name}@{content_of(spec, path)}" if file else spec
    with loading(spec, f"{path} holds no InceptionV3 of torch-fidelity"):
        weights = _tensors_alone(path)
        whole = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=weights)
        # Its layers stand in the order of its forward pass, which takes only images of one size.
        network = torch.nn.Sequential(*list(whole.children())[:-1], torch.nn.Flatten()).eval().to(device)
    size = (_EDGE, _EDGE)

    def prepare(images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() for image in images)
        resized = [
            interpolate_bilinear_2d_like_tensorflow1x(one, size=size, align_corners=False) for one in pixels
        ]
        return (torch.cat(resized) - 128) / 128

    return Encoder(name, _DIMENSIONS, prepare, network, device, batch_size)


def _tensors_alone(path: Path) -> io.BytesIO:
    """Return the tensors of a file as another one in memory, which torch-fidelity 0.4 may safely unpickle."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception:
        # PyTorch's own message explains how to unpickle the file all the same.
        raise ValueError("it is damaged, or holds more than tensors, which is not unpickled") from None
    buffer = io.BytesIO()
    torch.save({str(key): tensor.detach().clone() for key, tensor in state.items()}, buffer)
    buffer.seek(0)
    return buffer


def _fetch(spec: str) -> Path:
    """Return the file of weights where torch-fidelity keeps it; download it once, and check its hash."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    file_name = URL_INCEPTION_V3.rpartition("/")[2]
    path: Path = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    if path.is_file():
        return path
    try:
        check_environment()  # its proxies and certificates
    except HubError as error:
        raise unavailable(spec, str(error)) from None
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
        raise unavailable(spec, f"{reason}; {hint}") from None
    finally:
        socket.setdefaulttimeout(before)
    return path
