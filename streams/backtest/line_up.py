"""Line-up: policies by name. Each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsys.backtest.items import ItemTable
from recsys.backtest.protocol import BacktestPolicy
from streams.backtest.errors import BacktestError
from streams.backtest.options import POLICIES, Options
from streams.settings import Settings


def make(name: str, items: ItemTable, encode: Callable[[str], Any] | None, options: Options, settings: Settings) -> Any:
    """The policy of this name, untrained. Raises BacktestError where it cannot be had."""
    found: BacktestPolicy
    if name == "popular":
        from recsys.backtest.policies.popular import Popular

        found = Popular(items)
    elif name == "trending":
        from recsys.backtest.policies.popular import Trending

        found = Trending(items)
    elif name == "covisitation":
        from recsys.backtest.policies.covisitation import CoVisitation

        found = CoVisitation(items)
    elif name == "ease":
        from recsys.backtest.policies.ease import Ease

        found = Ease(items)
    elif name == "text":
        from recsys.backtest.policies.text import Text

        if items.vectors is None:
            raise BacktestError("The policy `text` needs vectors of the items' texts: set HEADWATER_ENCODER.")
        found = Text(items)
    elif name in ("sasrec", "gru4rec"):
        from recsys.backtest.policies.sequence import SequencePolicy, Shape

        found = SequencePolicy(items, "sasrec" if name == "sasrec" else "gru4rec", Shape(epochs=options.epochs))
    elif name == "full":
        from recsys.backtest.policies.full import Full

        found = Full(items, settings.policy, encode)
    else:
        raise BacktestError(f"There is no policy {name}. There are: {', '.join(POLICIES)}, or `all`.")
    return found
