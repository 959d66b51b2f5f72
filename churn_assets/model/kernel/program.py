"""Translates a fitted estimator into the arrays that ``loops.py`` reads.

scikit-learn's classes are recognised by their names and ours by their attributes: in a logged model ours are
copies. What is not recognised here is scored by scikit-learn.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from churn_assets.model.kernel import loops

# A step: its kind, where its first tree or column is and how many there are, where its numbers begin, and
# for trees that take finite numbers only where the columns are that they read, and how many.
Step = tuple[int, int, int, int, int, int]

Columns = Sequence[int]


class NotTranslatableError(Exception):
    """An estimator that the loops do not know."""


class Program:
    """The arrays while they are filled: the steps of a program, and what these read.

    A row starts with 0. A step of a model adds its log-odds of churn, the others change the sum; after the
    last one it is the probability.

    Args:
        estimator: fitted, as ``competition.calibrate`` or ``fitting.with_fallback`` return it.

    Raises:
        NotTranslatableError: the estimator, or a part of it, is of another kind.
    """

    def __init__(self, estimator: Any) -> None:
        self._steps: list[Step] = []
        self._columns: list[int] = []
        self._numbers: list[float] = []
        self._trees: list[tuple[int, int]] = []
        self._nodes: list[int] = []
        self._thresholds: list[float] = []
        columns = range(len(estimator.feature_names_in_))
        whole, history = estimator, []
        if hasattr(estimator, "lacks_history"):
            names = [str(name) for name in estimator.feature_names_in_]
            whole, history = estimator.estimator, [names.index(name) for name in estimator.history]
        self._history = history
        self._probability(whole, columns)
        self._fallback = len(self._steps)
        if history:
            self._probability(estimator.fallback, estimator.fallback_columns_)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, in the order of the arguments of ``loops.score``.

        ``fallback`` is the number of steps of rows with a history; the others are of rows that lack one of
        the columns ``history``. ``trees`` has the root and the depth of each tree; ``nodes`` four numbers for
        each node: its column, and the nodes of values up to its threshold, above it, and missing. A leaf's
        threshold is its value. ``columns`` and ``numbers`` are what the other steps read.
        """
        return {
            "fallback": np.array(self._fallback, dtype=np.int64),
            "history": np.array(self._history, dtype=np.int64),
            "steps": np.array(self._steps, dtype=np.int64).reshape(-1, 6),
            "columns": np.array(self._columns, dtype=np.int64),
            "trees": np.array(self._trees, dtype=np.uint64).reshape(-1, 2),
            "nodes": np.array(self._nodes, dtype=np.uint32),
            "thresholds": np.array(self._thresholds, dtype=np.float64),
            "numbers": np.array(self._numbers, dtype=np.float64),
        }

    def _probability(self, estimator: Any, columns: Columns) -> None:
        kind = type(estimator).__name__
        if kind == "FrozenEstimator":
            self._probability(estimator.estimator, columns)
        elif kind == "VotingClassifier":
            self._bounded(estimator, columns)
        elif kind == "CalibratedClassifierCV":
            self._calibrated(estimator, columns)
        else:
            self._log_odds(estimator, columns)
            self._step(loops.EXPIT)

    def _bounded(self, voting: Any, columns: Columns) -> None:
        """Add an estimator whose probabilities ``bounds.drawn_to_churn_rate`` has drawn to the churn rate."""
        known = ["FrozenEstimator", "DummyClassifier"]
        _require([type(voter).__name__ for voter in voting.estimators_] == known, voting)
        model, churn_rate = voting.estimators_
        _require(voting.voting == "soft" and churn_rate.strategy == "prior", voting)
        self._probability(model, columns)
        self._step(loops.BOUNDS, numbers=[*voting.weights, churn_rate.class_prior_[1]])

    def _calibrated(self, calibrated: Any, columns: Columns) -> None:
        _require(len(calibrated.calibrated_classifiers_) == 1, calibrated)
        fitted = calibrated.calibrated_classifiers_[0]
        frozen, (calibrator,) = fitted.estimator, fitted.calibrators
        _require(type(frozen).__name__ == "FrozenEstimator", calibrated)
        self._log_odds(frozen.estimator, columns)
        if type(calibrator).__name__ == "IsotonicRegression":
            _require(calibrator.out_of_bounds == "clip", calibrator)
            x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
            self._step(loops.ISOTONIC, count=len(x), numbers=[*x, *y])
        else:
            _require(type(calibrator).__name__ == "_SigmoidCalibration", calibrator)
            self._step(loops.SIGMOID, numbers=[calibrator.a_, calibrator.b_])

    def _log_odds(self, estimator: Any, columns: Columns) -> None:
        _require(len(estimator.classes_) == 2, estimator)
        if hasattr(estimator, "parts_"):
            for part in estimator.parts_:
                # A part that is a mean itself would divide the sum of the parts before it.
                _require(not hasattr(part, "parts_"), part)
                self._log_odds(part, columns)
            self._step(loops.MEAN, count=len(estimator.parts_))
        elif hasattr(estimator, "columns_"):
            self._of_columns(estimator, columns)
        else:
            add = self._models.get(type(estimator).__name__)
            _require(add is not None, estimator)
            add(estimator, columns)  # type: ignore[misc]  # not None, see above

    def _of_columns(self, estimator: Any, columns: Columns) -> None:
        if hasattr(estimator, "logarithms_"):
            self._bg_nbd(estimator, columns)
        else:
            self._log_odds(estimator.estimator_, [columns[column] for column in estimator.columns_])

    @property
    def _models(self) -> dict[str, Callable[[Any, Columns], None]]:
        return {
            "HistGradientBoostingClassifier": self._histogram_boosting,
            "GradientBoostingClassifier": self._gradient_boosting,
            "Pipeline": self._pipeline,
        }

    def _histogram_boosting(self, boosting: Any, columns: Columns) -> None:
        _require(boosting.is_categorical_ is None, boosting)
        first = len(self._trees)
        for (predictor,) in boosting._predictors:
            nodes = predictor.nodes
            is_leaf = nodes["is_leaf"].astype(bool)
            left, right = nodes["left"], nodes["right"]
            self._tree(
                is_leaf,
                [columns[feature] for feature in np.where(is_leaf, 0, nodes["feature_idx"])],
                np.where(is_leaf, nodes["value"], nodes["num_threshold"]),
                (left, right, np.where(nodes["missing_go_to_left"], left, right)),
                int(nodes["depth"].max()),
            )
        self._step(
            loops.TREES, first, len(self._trees) - first, numbers=np.ravel(boosting._baseline_prediction)
        )

    def _gradient_boosting(self, boosting: Any, columns: Columns) -> None:
        first = len(self._trees)
        for (regressor,) in boosting.estimators_:
            tree = regressor.tree_
            is_leaf = tree.children_left < 0
            right = tree.children_right
            self._tree(
                is_leaf,
                [columns[feature] for feature in np.where(is_leaf, 0, tree.feature)],
                np.where(is_leaf, boosting.learning_rate * tree.value[:, 0, 0], _of_doubles(tree.threshold)),
                (tree.children_left, right, right),
                tree.max_depth,
            )
        start = boosting._raw_predict_init(np.zeros((1, len(columns)), dtype=np.float32))
        # What its class is asked first would otherwise be whatever it is asked before its trees.
        _require(type(boosting.init_).__name__ == "DummyClassifier", boosting)
        reads = len(self._columns), len(columns)
        self._columns += columns
        self._step(loops.TREES, first, len(self._trees) - first, numbers=start[0], finite=reads)

    def _tree(
        self,
        is_leaf: np.ndarray,
        columns: Columns,
        thresholds: np.ndarray,
        children: tuple[np.ndarray, np.ndarray, np.ndarray],
        depth: int,
    ) -> None:
        """Add a tree; all arrays have the shape (nodes,), and a leaf's threshold is its value."""
        root = len(self._thresholds)
        itself = np.arange(len(is_leaf))
        targets = [root + np.where(is_leaf, itself, child) for child in children]
        self._nodes += np.column_stack([columns, *targets]).ravel().tolist()
        self._thresholds += thresholds.tolist()
        self._trees.append((root, depth))

    def _pipeline(self, pipeline: Any, columns: Columns) -> None:
        """Add a logistic regression, with what is done to its columns before."""
        *before, regression = (step for _, step in pipeline.steps)
        _require(type(regression).__name__ == "LogisticRegression", pipeline)
        terms = [_Term(column) for column in columns]
        for step in _unnested(before):
            if type(step).__name__ == "ColumnTransformer":
                terms = _selected(step, terms)
            else:
                change = _CHANGES.get(type(step).__name__)
                _require(change is not None, step)
                terms = change(step, terms)  # type: ignore[misc]  # not None, see above
        place = len(self._columns)
        numbers = [regression.intercept_[0]]
        for term, weight in zip(terms, regression.coef_[0], strict=True):
            self._columns += [term.column, term.kind]
            numbers += [*term.numbers, weight]
        self._step(loops.LINEAR, place, len(terms), numbers)

    def _bg_nbd(self, model: Any, columns: Columns) -> None:
        r, alpha, a, b = np.exp(model.logarithms_)
        place = len(self._columns)
        self._columns += [columns[column] for column in model.columns_]
        numbers = [np.log(a), r, alpha, b, model.horizon_days, model.reference_[2]]
        self._step(loops.BG_NBD, place, len(model.columns_), numbers)

    def _step(
        self,
        kind: int,
        place: int = 0,
        count: int = 0,
        numbers: Sequence[float] | np.ndarray = (),
        finite: tuple[int, int] = (0, 0),
    ) -> None:
        self._steps.append((kind, place, count, len(self._numbers), *finite))
        self._numbers += [float(number) for number in numbers]


class _Term:
    """A term of a linear model, from a column to its weight; without changes the column itself."""

    def __init__(self, column: int, kind: int = loops.PLAIN) -> None:
        self.column = column
        self.kind = kind
        self.if_missing = np.nan
        self.scale, self.minimum = 1.0, 0.0
        self.lowest, self.highest = -np.inf, np.inf
        self.mean, self.deviation = 0.0, 1.0

    @property
    def numbers(self) -> list[float]:
        """What ``loops.py`` reads of a term, in its order, but for the weight."""
        return [
            *(self.if_missing, self.scale, self.minimum, self.lowest, self.highest),
            *(self.mean, self.deviation),
        ]


Terms = list[_Term]


def _require(is_known: bool, part: Any) -> None:
    if not is_known:
        raise NotTranslatableError(type(part).__name__)


def _unnested(steps: Sequence[Any]) -> list[Any]:
    """Return the steps of a pipeline, with those of a pipeline in a selection of columns behind it."""
    flat = []
    for step in steps:
        flat.append(step)
        if type(step).__name__ == "ColumnTransformer":
            _require(len(steps) == 1 and type(step.transformers_[0][1]).__name__ == "Pipeline", step)
            flat += [inner for _, inner in step.transformers_[0][1].steps]
    return flat


def _selected(selection: Any, terms: Terms) -> Terms:
    kept = [transformer for transformer in selection.transformers_ if transformer[1] != "drop"]
    _require(len(kept) == 1, selection)
    return [terms[column] for column in kept[0][2]]


def _logarithms(step: Any, terms: Terms) -> Terms:
    # In a logged model the function is a copy.
    _require(step.func.__name__ == "signed_log1p" and not step.kw_args, step)
    return [_Term(term.column, loops.LOGARITHM) for term in terms]


def _imputed(step: Any, terms: Terms) -> Terms:
    _require(bool(np.isnan(step.missing_values)) and not np.isnan(step.statistics_).any(), step)
    for term, statistic in zip(terms, step.statistics_, strict=True):
        term.if_missing = statistic
    missing = step.indicator_.features_ if step.add_indicator else []
    return [*terms, *(_Term(terms[column].column, loops.IS_MISSING) for column in missing)]


def _in_range(step: Any, terms: Terms) -> Terms:
    for term, scale, minimum in zip(terms, step.scale_, step.min_, strict=True):
        term.scale, term.minimum = scale, minimum
        if step.clip:
            term.lowest, term.highest = step.feature_range
    return terms


def _standardized(step: Any, terms: Terms) -> Terms:
    _require(step.with_mean and step.with_std, step)
    for term, mean, deviation in zip(terms, step.mean_, step.scale_, strict=True):
        term.mean, term.deviation = mean, deviation
    return terms


# In the order in which ``loops.py`` does them; a pipeline in another order differs, which ``kernel.py`` sees.
_CHANGES: dict[str, Callable[[Any, Terms], Terms]] = {
    "FunctionTransformer": _logarithms,
    "SimpleImputer": _imputed,
    "MinMaxScaler": _in_range,
    "StandardScaler": _standardized,
}


def _of_doubles(thresholds: np.ndarray) -> np.ndarray:
    """Return thresholds of doubles that part them as these do after a conversion to float32.

    A double becomes the nearest float32. So the threshold is in the middle between the last float32 that goes
    left and the first that goes right; the middle itself becomes the even one of these.
    """
    last = thresholds.astype(np.float32)
    last = np.where(last > thresholds, np.nextafter(last, np.float32(-np.inf)), last)
    first = np.nextafter(last, np.float32(np.inf))
    middle = (last.astype(np.float64) + first.astype(np.float64)) / 2
    return np.where(middle.astype(np.float32) <= thresholds, middle, np.nextafter(middle, -np.inf))
