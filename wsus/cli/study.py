"""The commands that make a study: run, study, compare, publish. They compose the rooms, lazily."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsus.cli.options import (
    Backbones,
    Columns,
    ConfigFile,
    Cpus,
    DataPaths,
    ImagesRoot,
    LabelWords,
    MinDevelopment,
    Modes,
    Name,
    Out,
    Patients,
    RayAddress,
    Recipe,
    Settings,
    Study,
    own_images,
    pairs,
)
from wsus.errors import ConfigError, StudyIncompleteError, StudyInterruptedError

if TYPE_CHECKING:
    from tune_jobs.data import StudyData
    from tune_jobs.outcome import StudyOutcome
    from tune_jobs.study import StudyConfig
    from wsus.data.sources.own import OwnImages
    from wsus.models.gate import GateConfig
    from wsus.models.registry import PublishedModel
    from wsus.storage import Store

STUDY_HELP = """
The recipes:

<recipe list>

wsus run --recipe quick\n
wsus run --recipe open --data bus-bra=DIR --data busi=DIR --out s3://bucket/prefix\n
wsus run --recipe own --data images=OUR_IMAGES --data external=THEIR_TABLE.xlsx --column label=Diagnosis\n
wsus run --recipe quick --name wide --set width=0.25 --set train.epochs=20\n
wsus recipes show own > study.yaml, then: wsus run --config study.yaml --set train.epochs=20

Run the same line again and it goes on where it stopped. Exit status: 0 done, 2 a mistake in what was asked or read, 3 done but
some trials failed (they are named).
"""


def run(
    recipe: Recipe = None,
    file: ConfigFile = None,
    data: DataPaths = None,
    out: Out = "store",
    name: Name = None,
    settings: Settings = None,
    backbones: Backbones = None,
    modes: Modes = None,
    ray_address: RayAddress = None,
    cpus: Cpus = None,
    min_development: MinDevelopment = None,
    columns: Columns = None,
    labels: LabelWords = None,
    images: ImagesRoot = None,
    patients: Patients = "auto",
) -> None:
    how = own_images(columns, labels, images, patients)
    config = _config(recipe, file, data, name, settings, backbones, modes, how, out)
    from cluster.session import ray_session
    from tune_jobs.compare import last_comparison, last_published, publish_best_weak
    from tune_jobs.keys import study_key
    from tune_jobs.tasks import compare_on_ray
    from wsus.models.registry import bundle_key
    from wsus.storage import open_store

    store, gate = open_store(out), _gate(min_development)
    loaded = _read(config, out)
    with ray_session(ray_address, num_cpus=cpus):
        outcome = _trained(config, out, loaded)
        compared = None if outcome.new else last_comparison(store, config.name)
        if outcome.cells:
            compared = compared or compare_on_ray(out, config.name)
    if compared is not None:
        typer.echo(f"\n{compared.summary}\n")
        published = None if outcome.new else last_published(store, config.name)
        if published is None and "weak" in {cell.rsplit("-", 1)[-1] for cell in outcome.cells}:
            published = publish_best_weak(store, config.name, gate=gate)
        if published is not None:
            address = store.url(bundle_key(published.name, published.version))
            typer.echo(f"model   {address}  ({', '.join(published.aliases) or 'no alias'})")
            _say_gate(store, published, out, "production")
        typer.echo(f"report  {compared.report}")
    _end(outcome, store.url(study_key(config.name)))


def study(
    recipe: Recipe = None,
    file: ConfigFile = None,
    data: DataPaths = None,
    out: Out = "store",
    name: Name = None,
    settings: Settings = None,
    backbones: Backbones = None,
    modes: Modes = None,
    ray_address: RayAddress = None,
    cpus: Cpus = None,
    columns: Columns = None,
    labels: LabelWords = None,
    images: ImagesRoot = None,
    patients: Patients = "auto",
) -> None:
    how = own_images(columns, labels, images, patients)
    config = _config(recipe, file, data, name, settings, backbones, modes, how, out)
    from cluster.session import ray_session
    from tune_jobs.keys import study_key
    from wsus.storage import open_store

    loaded = _read(config, out)
    with ray_session(ray_address, num_cpus=cpus):
        outcome = _trained(config, out, loaded)
    _end(outcome, open_store(out).url(study_key(config.name)))


def compare(
    study: Study = "quick",
    out: Out = "store",
    facts: Annotated[
        Path | None, typer.Option(help="A TOML file of what only people know of the study; kept beside it and printed.")
    ] = None,
    facts_template: Annotated[bool, typer.Option("--facts-template", help="Print an empty file of facts, and no more.")] = False,
) -> None:
    """Compute the statistics, tables, figures and report of a trained study, from what lies in the store."""
    if facts_template:
        from wsus.report.facts import facts_template as template

        typer.echo(template(), nl=False)
        return
    from tune_jobs.compare import compare_study, keep_facts
    from wsus.storage import open_store

    if facts is not None:
        keep_facts(open_store(out), study, facts)
    compared = compare_study(open_store(out), study)
    typer.echo(f"{compared.summary}\n\nreport  {compared.report}")


def publish(
    study: Study = "quick",
    out: Out = "store",
    model: Annotated[str | None, typer.Option("--model-name", help="The model's name; the study's by default.")] = None,
    older: Annotated[str | None, typer.Option("--model", hidden=True)] = None,
    alias: Annotated[str, typer.Option(help="The alias that then points at it; production asks the gate.")] = "production",
    min_development: MinDevelopment = None,
) -> None:
    """Publish a study's best weakly-supervised network, chosen by the development split, never by a scored one."""
    from tune_jobs.compare import publish_best_weak
    from wsus.models.card import CARD, parse_card
    from wsus.models.registry import bundle_key
    from wsus.storage import open_store

    store = open_store(out)
    published = publish_best_weak(store, study, model=model or older, alias=alias, gate=_gate(min_development))
    address = store.url(bundle_key(published.name, published.version))
    typer.echo(f"{address}  ({', '.join(published.aliases) or 'no alias'})")
    card = store.read_bytes(f"{bundle_key(published.name, published.version)}/{CARD}")
    typer.echo("\n".join(parse_card(card, Path(address, CARD)).serving_lines()))
    _say_gate(store, published, out, alias)


def _say_gate(store: Store, published: PublishedModel, out: str, alias: str) -> None:
    """Why the alias did not move, and the command that moves it."""
    from wsus.models.card import CARD, parse_card
    from wsus.models.registry import bundle_key

    key = f"{bundle_key(published.name, published.version)}/{CARD}"
    gate = parse_card(store.read_bytes(key), Path(store.url(key))).gate
    if gate is not None and not gate.passed and alias not in published.aliases:
        command = f"wsus models promote {published.name} {published.version} --store {out}"
        typer.echo(f"{alias} was not moved to it: {gate.why_not}; to move it all the same: {command}")


def _gate(min_development: int | None) -> GateConfig:
    from wsus.models.gate import GateConfig

    return GateConfig() if min_development is None else GateConfig(min_development=min_development)


def _read(config: StudyConfig, out: str) -> StudyData:
    """Read the images, and find what can be wrong before Ray starts: the store, a study of that name, images, sizes of splits."""
    from tune_jobs.data import load_data
    from tune_jobs.studies import refuse_conflict
    from wsus.storage import open_store

    store = open_store(out)
    store.check_writable()
    refuse_conflict(store, config)
    data = load_data(config.data, typer.echo)
    refuse_conflict(store, config, data.digest)
    return data


def _trained(config: StudyConfig, out: str, data: StudyData) -> StudyOutcome:
    from cluster.interrupts import hint
    from tune_jobs.run import run_study

    try:
        return run_study(config, out, data=data, tell_kept=hint)
    except StudyInterruptedError as stop:
        hint(str(stop))  # Ray is stopped before anything is said, which may take too long
        raise


def _config(
    recipe: str | None,
    file: Path | None,
    data: list[str] | None,
    name: str | None,
    settings: list[str] | None,
    backbones: str | None,
    modes: str | None,
    how: OwnImages,
    out: str,
) -> StudyConfig:
    from tune_jobs.recipes import make_config
    from tune_jobs.study_file import own_images_in, paths_in, read_study_file, with_file, with_words

    content = {} if file is None else read_study_file(file)
    if recipe is not None and content and recipe != content["recipe"]:
        raise ConfigError(
            f"--recipe {recipe}: {file} is of the recipe {content['recipe']!r}; leave --recipe out, or write another file"
        )
    recipe = recipe or str(content.get("recipe", "quick"))
    paths = (paths_in(content) if content else {}) | pairs(data, "--data")
    words = pairs(settings, "--set")
    words |= {key: value for key, value in (("name", name), ("backbones", backbones), ("modes", modes)) if value is not None}
    asked = how.columns or how.labels or how.images or how.patients != "auto"

    if recipe == "own":
        from tune_jobs.own import plan_own

        plan = plan_own(paths, how if asked else own_images_in(content) or how)
        config = with_words(with_file(plan.config, content), words)
        typer.echo("\n".join(plan.lines(config)))
        return config
    if asked:
        raise ConfigError(f"--column, --label, --images and --patients are for the recipe 'own'; got the recipe {recipe!r}")
    from tune_jobs.studies import as_begun
    from wsus.storage import open_store

    config = make_config(recipe, paths)
    config = as_begun(open_store(out), config, words.get("name") or str(content.get("name", config.name)))
    return with_words(with_file(config, content), words)


def _end(outcome: StudyOutcome, address: str) -> None:
    typer.echo(f"study   {address}  ({len(outcome.cells)} cells)")
    if outcome.failures:
        lines = "\n".join(f"  {failure['trial']}: {failure['error']}" for failure in outcome.failures)
        raise StudyIncompleteError(
            f"{len(outcome.failures)} trial(s) failed:\n{lines}\nrun the same line again to try them once more"
        )
