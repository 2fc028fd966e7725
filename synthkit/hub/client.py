"""The Hub's client, prepared: with checks of its environment and its answers, and a limit to waiting."""

from __future__ import annotations

import logging
import os
import re
import warnings
from functools import lru_cache
from typing import Any

from synthkit.errors import HubError
from synthkit.hub.answers import check_answer, check_request
from synthkit.hub.environment import check_environment
from synthkit.hub.patience import LOG_IN, safe_line

# The variable with the seconds without a byte after which a connection counts as lost; the client on its own
# would wait for ever.
TIMEOUT = "SYNTHKIT_HUB_TIMEOUT"
_TIMEOUT_S = 120.0


def prepare_client() -> None:
    """Prepare the client, with its warnings and bars off: synthkit has its own.

    Raises HubError if the environment sets an address, a timeout, a token or a folder that cannot be used.
    """
    check_environment()
    seconds = _timeout()
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    huggingface_hub.logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings(action="ignore"):
        disable_progress_bars()
    _check_token()
    _set_session(seconds)


def check_name(repo_id: str, *, alone: bool = False) -> None:
    """Raise HubError if a repository cannot have this name; `alone` allows one without an organisation."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise HubError(f"{repo_id}: is not the name of a repository: {safe_line(error)}") from None
    if repo_id.count("/") != 1 and not alone:
        raise HubError(f"{repo_id}: is not the name of a repository: write organisation/name")


def is_repository_id(model_id: str) -> bool:
    """Return whether a model's id has the form of a repository on the Hub; the path of a folder may, too."""
    word = r"[A-Za-z0-9](?:[A-Za-z0-9_]|[.-](?![.-]|$|/))*"
    return re.fullmatch(f"{word}/{word}", model_id) is not None


def _timeout() -> float:
    try:
        seconds = float(os.environ.get(TIMEOUT, _TIMEOUT_S))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise HubError(f"{TIMEOUT}: must be a number of seconds")
    return seconds


def _check_token() -> None:
    """Raise HubError, without quoting it, for a token that cannot be read or that no header can hold."""
    from huggingface_hub import get_token

    try:
        token = get_token()
    except OSError as error:
        told = f"{error.filename}: {error.strerror}"
        raise HubError(f"HF_HOME: the token cannot be read ({told}); set it to a folder of yours") from None
    except ValueError:
        raise HubError(f"the token is not text; {LOG_IN} anew") from None
    except Exception as error:
        raise HubError(f"the token cannot be read ({safe_line(error)}); {LOG_IN}") from None
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise HubError(f"the token has characters that no token has; {LOG_IN} anew")


@lru_cache(maxsize=1)  # once, unless the value changes
def _set_session(seconds: float) -> None:
    """Have the client check all answers. Raises HubError for a wrong proxy or certificate."""
    from huggingface_hub import get_session, set_client_factory

    try:
        session = get_session()
    except Exception as error:
        reason = f"{type(error).__name__}: {safe_line(str(error))}"
        raise HubError(
            f"no connection can be set up ({reason}); "
            "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and SSL_CERT_FILE"
        ) from None
    # Those of the client itself: no request where it is told to be offline.
    hooks = {
        "request": [*_others(session, "request"), check_request],
        "response": [*_others(session, "response"), check_answer],
    }
    kind = type(session)
    set_client_factory(
        lambda: kind(
            event_hooks=hooks,
            follow_redirects=True,
            timeout=seconds,
            headers={"Accept-Encoding": "identity"},
        )
    )


def _others(session: Any, kind: str) -> list[Any]:
    return [hook for hook in session.event_hooks[kind] if hook not in (check_request, check_answer)]
