"""The command of `wsus` that compares scores, whatever made them. It needs neither torch nor Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wsus.cli.options import pairs
from wsus.errors import ConfigError


def stats(
    csv: Annotated[
        Path | None,
        typer.Option(
            help="Columns id, label (1 = malignant), score_a (or score), optionally score_b and patient_id;"
            " or a cell's predictions.parquet. Separated by commas, semicolons or tabs."
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COLUMN", help="Of a CSV: which column is it, as score_a=POM or patient_id=PID."),
    ] = None,
    counts: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="X/N X/N", help="Instead of a CSV, two printed proportions: 87/100 82/100."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="A second predictions.parquet of the same images, to compare the first with.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which split of a predictions.parquet.")] = None,
    trial_seed: Annotated[int | None, typer.Option(help="Which trained seed of a predictions.parquet.")] = None,
    threshold: Annotated[float, typer.Option(help="Score at or above which a case is called malignant.")] = 0.5,
    margin: Annotated[float, typer.Option(help="Margin of the non-inferiority test.")] = 0.05,
    confidence: Annotated[float, typer.Option(help="Of two-sided intervals.")] = 0.95,
    noninferiority_confidence: Annotated[float, typer.Option(help="Of the one-sided bound of non-inferiority.")] = 0.975,
    prevalence: Annotated[
        float | None, typer.Option(help="Share of cancers for the decision curve; that of the cases by default.")
    ] = None,
    subgroup: Annotated[str | None, typer.Option(help="A column whose levels are reported one by one.")] = None,
    draws: Annotated[int, typer.Option(help="Draws of the bootstrap over patients.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of those draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Figures of one column of scores, or two compared: DeLong, McNemar, intervals, calibration, non-inferiority, power."""
    from wsus.two_scores.shares import format_shares, read_share, share_pair

    if counts is not None and csv is None:
        pair = share_pair(*read_share(counts[0]), *read_share(counts[1]), confidence=confidence)
        found, text = pair.to_json(), format_shares(pair)
    elif csv is None or counts is not None:
        raise ConfigError("give either --csv FILE or --counts X/N X/N; see `wsus stats --help`")
    else:
        from wsus.two_scores.stats import StatsSettings, format_stats, stats_from_csv

        settings = StatsSettings(
            threshold=threshold,
            margin=margin,
            confidence=confidence,
            noninferiority_confidence=noninferiority_confidence,
            draws=draws,
            seed=seed,
            prevalence=prevalence,
        )
        columns = pairs(column, "--column")
        found = stats_from_csv(
            csv, settings, against=against, split=split, trial_seed=trial_seed, subgroup=subgroup, columns=columns
        )
        text = format_stats(found)
    typer.echo(json.dumps(found, indent=1, allow_nan=False) if as_json else text)
