"""``python -m tests.chaos``: see the package."""

import argparse
import asyncio
import random
import sys
import time

from tests.chaos import rows
from tests.chaos.processes import Postgres
from tests.chaos.scenario import ROWS, Outcome, Row, play

rows.load()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break everything and prove P1 to P7.")
    parser.add_argument("--row", type=int, action="append", metavar="N", choices=sorted(ROWS), help="this row only")
    parser.add_argument("--seed", type=int, help="the seed of a run that is to be repeated")
    parser.add_argument("--minutes", type=float, help="rows at random, for so long")
    parser.add_argument("--short", action="store_true", help="less of everything")
    parser.add_argument("--full", action="store_true", help="row 25 with all of its 1,000,000 events, for very long")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    chosen = [ROWS[number] for number in options.row] if options.row else [ROWS[number] for number in sorted(ROWS)]
    outcomes = run(chosen, seed, minutes=options.minutes, short=options.short, full=options.full)
    sys.exit(1 if any(outcome.verdict.wrong for outcome in outcomes) else 0)


def run(chosen: list[Row], seed: int, *, minutes: float | None, short: bool, full: bool) -> list[Outcome]:
    """Play the rows once, or at random for some minutes, each with a seed of its own that is printed."""
    outcomes = []
    postgres = Postgres()
    try:
        if minutes is None:
            for row in chosen:
                outcomes.append(report(asyncio.run(play(row, seed, postgres, short=short, full=full))))
        else:
            rng, end = random.Random(seed), time.monotonic() + 60 * minutes
            while time.monotonic() < end:
                row = rng.choice(chosen)
                outcomes.append(
                    report(asyncio.run(play(row, rng.randrange(10**6), postgres, short=short or row.is_slow)))
                )
    except KeyboardInterrupt:
        pass
    finally:
        postgres.stop()
    summarize(outcomes)
    return outcomes


def report(outcome: Outcome) -> Outcome:
    number, title = outcome.row.number, outcome.row.title
    if outcome.skipped:
        print(f"row {number:2} SKIPPED  {title}: {outcome.skipped}", flush=True)
        return outcome
    verdict = outcome.verdict
    state = "FAILED " if verdict.wrong else "ok     "
    print(
        f"row {number:2} {state} {title}: {len(outcome.faults)} faults, {outcome.events} events, "
        f"{outcome.clients} clients, {verdict.delivered} deliveries, {outcome.seconds:.0f} s",
        flush=True,
    )
    for note in outcome.notes:
        print(f"       {note}")
    for wrong in verdict.wrong[:10]:
        print(f"       {wrong}")
    if len(verdict.wrong) > 10:
        print(f"       … and {len(verdict.wrong) - 10} more")
    if verdict.wrong:
        print(f"       again: python -m tests.chaos --row {number} --seed {outcome.seed}", flush=True)
    return outcome


def summarize(outcomes: list[Outcome]) -> None:
    _print_table(outcomes)
    verdicts = [outcome.verdict for outcome in outcomes]
    print(
        f"\n{sum(not one.skipped for one in outcomes)} runs, {sum(len(one.faults) for one in outcomes)} faults, "
        f"{sum(one.events for one in outcomes)} events, {sum(one.delivered for one in verdicts)} deliveries: "
        f"{sum(one.losses for one in verdicts)} losses, {sum(one.duplicates for one in verdicts)} duplicates, "
        f"{sum(one.reorderings for one in verdicts)} reorderings; {sum(bool(one.wrong) for one in verdicts)} runs "
        f"broke a promise, {sum(bool(one.skipped) for one in outcomes)} were skipped"
    )
    for outcome in outcomes:
        if outcome.verdict.wrong:
            print(f"  row {outcome.row.number} --seed {outcome.seed}: {outcome.verdict.wrong[0]}")


def _print_table(outcomes: list[Outcome]) -> None:
    """A line for each row of the fault matrix, with those that did not run."""
    print(f"\n{'row':>3}  {'fault':<74} {'runs':>4} {'faults':>6} {'events':>8} {'deliveries':>10} {'s':>5}  held")
    for number, chosen in sorted(ROWS.items()):
        played = [one for one in outcomes if one.row.number == number and not one.skipped]
        skipped = next((one.skipped for one in outcomes if one.row.number == number and one.skipped), None)
        broke = sum(bool(one.verdict.wrong) for one in played)
        held = skipped or (f"NOT in {broke}" if broke else "yes" if played else "not played")
        print(
            f"{number:>3}  {chosen.title[:74]:<74} {len(played):>4} {sum(len(one.faults) for one in played):>6} "
            f"{sum(one.events for one in played):>8} {sum(one.verdict.delivered for one in played):>10} "
            f"{sum(one.seconds for one in played):>5.0f}  {held}"
        )


if __name__ == "__main__":
    main()
