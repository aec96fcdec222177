"""The command of `wsus` that compares scores, whatever made them. It needs neither torch nor Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wsus.errors import ConfigError


def stats(
    csv: Annotated[
        Path | None, typer.Option(help="Columns id, label (1 = malignant), score_a, score_b, and maybe patient_id.")
    ] = None,
    counts: Annotated[
        tuple[str, str] | None, typer.Option(metavar="X/N X/N", help="Instead: two shares as a paper prints them, 87/100 82/100.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="A case is called malignant at this score or above.")] = 0.5,
    margin: Annotated[float, typer.Option(help="Margin of the non-inferiority test.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Compare two columns of scores: DeLong, exact McNemar, Fisher, intervals, non-inferiority, power."""
    from wsus.two_scores.shares import format_shares, read_share, share_pair
    from wsus.two_scores.stats import stats_from_csv
    from wsus.two_scores.text import format_stats

    if csv is not None and counts is None:
        found = stats_from_csv(csv, threshold=threshold, margin=margin)
        text = format_stats(found)
    elif csv is not None or counts is None:
        raise ConfigError("give either --csv FILE or --counts X/N X/N; see `wsus stats --help`")
    else:
        pair = share_pair(*read_share(counts[0]), *read_share(counts[1]))
        found, text = pair.to_json(), format_shares(pair)
    typer.echo(json.dumps(found, indent=1, allow_nan=False) if as_json else text)
