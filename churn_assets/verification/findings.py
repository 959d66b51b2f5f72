"""What a check found."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from churn_assets.tables import ASSET_TABLES, GATED, USER_FEATURES, Table

MODEL = "churn_prediction_model"
ONLINE_FEATURES = "online_user_features"
ENDPOINT = "churn_prediction_endpoint"
# What the scoring server shows at /.
PAGE = "page"

NAMES_SHOWN = 4


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: its name: a table's, a file's, a database's.
        is_well: whether nothing is wrong with it.
        says: what was found.
        needed_by: what depends on it, in the order of the graph.
        mend: the command that mends it, or what else to do; empty where all is well.
    """

    subject: str
    is_well: bool
    says: str
    needed_by: tuple[str, ...] = ()
    mend: str = ""

    def line(self) -> str:
        """Return it in one line."""
        depends = ""
        if self.needed_by:
            names, more = self.needed_by[:NAMES_SHOWN], len(self.needed_by) - NAMES_SHOWN
            depends = f" Depend on it: {', '.join(names)}{f' and {more} more' if more > 0 else ''}."
        return f"{self.subject}: {self.says}.{depends}{f' Mend it: {self.mend}' if self.mend else ''}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def well(subject: str, says: str) -> Finding:
    """Return the finding that nothing is wrong."""
    return Finding(subject, is_well=True, says=says)


def damaged(subject: str, says: str, mend: str, needed_by: Iterable[str] = ()) -> Finding:
    """Return the finding that something is wrong."""
    return Finding(subject, is_well=False, says=says, needed_by=tuple(needed_by), mend=mend)


def dependents(table: Table) -> tuple[str, ...]:
    """Return the names of what is computed from a table, directly or not, in the order of the graph."""
    found: list[Table] = []
    for other in ASSET_TABLES:
        upstream = {source.table for sources in other.lineage.values() for source in sources}
        upstream |= {reads.upstream for reads in other.reads}
        if other is not table and upstream & {table, *found}:
            found.append(other)
    names = [other.name for other in found]
    if {table, *found} & set(GATED):
        names.append(MODEL)
    if USER_FEATURES in (table, *found):
        names += [ONLINE_FEATURES, ENDPOINT]
    return tuple(names)
