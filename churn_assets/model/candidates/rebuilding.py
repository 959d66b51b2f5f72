"""Fitting again exactly the estimator that won a competition, from the spec that its training logged."""

from collections.abc import Mapping
from typing import Any

from churn_assets.errors import ModelError
from churn_assets.model.candidates import calibration, fitting
from churn_assets.model.candidates.entrants import Entrant
from churn_assets.model.data.dataset import Frames, without_history


def rebuild(spec: Mapping[str, Any], frames: Frames, bounded: bool = False) -> Any:
    """Fit exactly the estimator that won, without a search.

    Args:
        spec: ``estimator`` (a name), ``params``, ``calibration`` (none, sigmoid or isotonic) and, where a
            separate model answered rows without a history, ``fallback``: the spec of that model.
        frames: the same rows as at the training.
        bounded: whether its probabilities were bounded; in versions older than ``bounds.py`` they were not.

    Raises:
        ModelError: the spec names nothing that can be fitted.
    """
    main = _rebuilt(spec, frames, bounded)
    if "fallback" not in spec:
        return main
    return fitting.with_fallback(main, _rebuilt(spec["fallback"], without_history(frames), bounded))


def _rebuilt(spec: Mapping[str, Any], frames: Frames, bounded: bool) -> Any:
    name, method = spec["estimator"], spec["calibration"]
    if method not in ("none", *calibration.MAPS):
        raise ModelError(
            f"No calibration is called {method!r}. Choose one of none, {', '.join(calibration.MAPS)}."
        )
    candidate = fitting.fit(Entrant(name, name, dict(spec["params"])), frames)
    if candidate.fitted is None:
        raise ModelError(f"{name} cannot be trained: {candidate.error}")
    calibrate = calibration.with_bounded_map if bounded else calibration.with_map
    return calibrate(candidate.fitted, frames.calibration, method)
