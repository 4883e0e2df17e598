"""Time several callables side by side: in turn, in one process, so that noise hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable


def elapsed(call: Callable[[], object]) -> float:
    """Seconds that a call takes on the host."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(call: Callable[[], object], count: int) -> Callable[[], None]:
    """``count`` calls as one."""

    def many() -> None:
        for _ in range(count):
            call()

    return many


def interleave(
    contenders: dict[str, Callable[[], object]],
    *,
    rounds: int = 30,
    inner: int = 1,
    seconds: Callable[[Callable[[], object]], float] = elapsed,
) -> dict[str, float]:
    """Median seconds of one call of each contender.

    Each round calls every contender ``inner`` times, one contender after the other; the next round
    begins with the next contender, so that none always finds the heap as one other left it. The
    median is over rounds. The first round warms up and is not counted. ``seconds`` times a call.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    turn = list(contenders.items())
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds + 1):
            for name, call in turn:
                many = call if inner == 1 else repeated(call, inner)
                spent = seconds(many) / inner
                if number:
                    times[name].append(spent)
            turn.append(turn.pop(0))
    finally:
        gc.enable()
    return {name: statistics.median(spent) for name, spent in times.items()}


def report(title: str, medians: dict[str, float], ours: str = "gpugrad") -> dict[str, float]:
    """Print the medians and how many times as long as ours each takes; return those ratios."""
    print(title)
    ratios = {name: spent / medians[ours] for name, spent in medians.items()}
    for name, spent in medians.items():
        print(f"  {name:<20}{spent * 1e6:12.2f} us{ratios[name]:10.2f} x {ours}'s")
    return ratios
