"""``churn demo``: the platform on simulated events, from nothing to scores."""

from churn_assets.commands.current import current_settings
from churn_assets.commands.events import simulate
from churn_assets.commands.run import compute
from churn_assets.commands.status import status


def demo() -> None:
    """Simulate events where none have landed, run the whole graph, and say what it made."""
    simulate(sample=True)
    compute(current_settings())
    status()
