"""The `wsus` command: thin, and the one module that may import the folders beside it, lazily."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsus import cli_cluster, cli_k8s, cli_serving, cli_stats, cli_studies
from wsus.cli_k8s import pairs
from wsus.errors import ConfigError, StudyIncompleteError, WsusError

if TYPE_CHECKING:
    from tune_jobs.outcome import StudyOutcome
    from tune_jobs.study import StudyConfig
    from wsus.registry import Rollout

DISCLAIMER = "Research software, not a medical device."
_STUDY_HELP = """
[bold]Recipes[/bold]: quick (made phantoms, minutes) · smoke (a few dozen real images) · open (BUS-BRA and BUSI at full
size) · paper (any manifest, the paper's numbers).

wsus run --recipe quick\n
wsus run --recipe open --data bus-bra=DIR --data busi=DIR --out s3://bucket/prefix\n
wsus run --recipe quick --name wide --set width=0.25 --set train.epochs=20

Run the same line again and it goes on where it stopped. Exit status: 0 done, 2 a mistake in what was asked or read, 3 done but
some trials failed (they are named).
"""
app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=f"Weakly-supervised breast-ultrasound diagnosis: train studies, compare them, publish and try models.\n\n{DISCLAIMER}",
)
data_app = typer.Typer(no_args_is_help=True, help="Make, import and check images.")
models_app = typer.Typer(no_args_is_help=True, help="Published models and their aliases.")
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")
app.add_typer(cli_cluster.cluster_app, name="cluster")
app.add_typer(cli_studies.studies_app, name="studies")
app.add_typer(cli_serving.tokens_app, name="tokens")
app.add_typer(cli_k8s.k8s_app, name="k8s")

Recipe = Annotated[str, typer.Option(help="quick, smoke, open or paper.")]
DataPaths = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="KIND=PATH", help="bus-bra=DIR, busi=DIR, manifest=CSV; or s3://bucket/prefix."),
]
Out = Annotated[
    str, typer.Option("--out", "--store", envvar="WSUS_STORE", metavar="STORE", help="A folder or s3://bucket/prefix.")
]
Name = Annotated[str | None, typer.Option(help="The study's name in the store; the recipe's by default.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as train.epochs=5.")]
Backbones = Annotated[
    str | None, typer.Option(help="Comma-separated: vgg16, resnet34, googlenet, efficientnet_lite0, timm:NAME.")
]
Modes = Annotated[str | None, typer.Option(help="Comma-separated: weak, manual_roi, auto_roi.")]
RayAddress = Annotated[str | None, typer.Option(help="A running Ray cluster; without one, Ray is started on this machine.")]
Cpus = Annotated[int | None, typer.Option(help="Processor cores for a Ray of this machine's own; all by default.")]
Study = Annotated[str, typer.Option("--study", "--name", help="The study's name in the store.")]


@app.command(help=f"Train, compare and publish: study + compare + publish.\n{_STUDY_HELP}")
def run(
    recipe: Recipe = "quick",
    data: DataPaths = None,
    out: Out = "store",
    name: Name = None,
    settings: Settings = None,
    backbones: Backbones = None,
    modes: Modes = None,
    ray_address: RayAddress = None,
    cpus: Cpus = None,
) -> None:
    config = _config(recipe, data, name, settings, backbones, modes)
    from cluster.session import ray_session
    from tune_jobs.compare import last_comparison, last_published, publish_best_weak
    from tune_jobs.run import run_study
    from tune_jobs.tasks import compare_on_ray
    from wsus.storage import open_store

    store = open_store(out)
    with ray_session(ray_address, num_cpus=cpus):
        outcome = run_study(config, out)
        compared = None if outcome.new else last_comparison(store, config.name)
        if outcome.cells:
            compared = compared or compare_on_ray(out, config.name)
    if compared is not None:
        typer.echo(f"\n{compared.summary}\n")
        published = None if outcome.new else last_published(store, config.name)
        if published is None and "weak" in {cell.rsplit("-", 1)[-1] for cell in outcome.cells}:
            published = publish_best_weak(store, config.name)
        if published is not None:
            address = store.url(f"models/{published.name}/{published.version}")
            typer.echo(f"model   {address}  ({', '.join(published.aliases)})")
        typer.echo(f"report  {compared.report}")
    _end(outcome, store.url(f"studies/{config.name}"))


@app.command(help=f"Train a study's cells (backbone x supervision mode) with Ray Tune.\n{_STUDY_HELP}")
def study(
    recipe: Recipe = "quick",
    data: DataPaths = None,
    out: Out = "store",
    name: Name = None,
    settings: Settings = None,
    backbones: Backbones = None,
    modes: Modes = None,
    ray_address: RayAddress = None,
    cpus: Cpus = None,
) -> None:
    config = _config(recipe, data, name, settings, backbones, modes)
    from cluster.session import ray_session
    from tune_jobs.run import run_study
    from wsus.storage import open_store

    with ray_session(ray_address, num_cpus=cpus):
        outcome = run_study(config, out)
    _end(outcome, open_store(out).url(f"studies/{config.name}"))


@app.command()
def compare(study: Study = "quick", out: Out = "store") -> None:
    """Compute the statistics, tables, figures and report of a trained study, from what lies in the store."""
    from tune_jobs.compare import compare_study
    from wsus.storage import open_store

    compared = compare_study(open_store(out), study)
    typer.echo(f"{compared.summary}\n\nreport  {compared.report}")


@app.command()
def publish(
    study: Study = "quick",
    out: Out = "store",
    model: Annotated[str | None, typer.Option(help="The model's name; the study's by default.")] = None,
    alias: Annotated[str, typer.Option(help="The alias that then points at it.")] = "production",
) -> None:
    """Publish a study's best weakly-supervised network, chosen by the development split, never by a scored one."""
    from tune_jobs.compare import publish_best_weak
    from wsus.registry import bundle_key
    from wsus.storage import open_store
    from wsus.training.card import CARD, parse_card

    store = open_store(out)
    published = publish_best_weak(store, study, model=model, alias=alias)
    address = store.url(bundle_key(published.name, published.version))
    typer.echo(f"{address}  ({', '.join(published.aliases)})")
    card = store.read_bytes(f"{bundle_key(published.name, published.version)}/{CARD}")
    typer.echo("\n".join(parse_card(card, Path(address, CARD)).serving_lines()))


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, BMP, TIFF or DICOM files.")],
    model: Annotated[str, typer.Option(metavar="STORE_OR_BUNDLE", help="A model bundle's folder, or a store.")] = "store",
    name: Annotated[str | None, typer.Option(help="Which model of the store; not needed where there is one.")] = None,
    alias: Annotated[str, typer.Option(help="Which version of it.")] = "production",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")] = False,
    overlay: Annotated[Path | None, typer.Option(metavar="DIR", help="Write <image>-cam.png files into this folder.")] = None,
    explain: Annotated[str, typer.Option(help="Whose map: 'predicted' class or 'malignant'.")] = "predicted",
    engine: Annotated[str, typer.Option(help="What runs the network here: auto, torch or onnx.")] = "auto",
    frame: Annotated[int | None, typer.Option(help="Of files with several frames, the one to read, from 0.")] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Every frame that shows something.")] = False,
    server: Annotated[str | None, typer.Option(metavar="URL", help="Ask this server instead of a model here.")] = None,
    token: Annotated[str | None, typer.Option(envvar="WSUS_TOKEN", help="The server's bearer token.")] = None,
) -> None:
    """Probability of malignancy (POM), class and box of images, by a published weak model.

    wsus predict scan.png --model store --overlay overlays\n
    wsus predict cine.dcm --frame 12
    """
    if explain not in ("predicted", "malignant"):
        raise ConfigError(f"--explain is 'predicted' or 'malignant'; got {explain!r}")
    if server is not None:
        if all_frames:
            raise ConfigError("--all-frames needs a model here; ask for one with --frame, or use the server's page")
        answers = cli_serving.ask_server(images, server, token, explain, frame, overlay)  # type: ignore[arg-type]
    else:
        from wsus.inference.files import predict_files

        answers = predict_files(
            images,
            model,
            name=name,
            alias=alias,
            overlay_dir=overlay,
            explain=explain,  # type: ignore[arg-type]
            engine=engine,  # type: ignore[arg-type]
            frame=frame,
            all_frames=all_frames,
        )
    if as_json:
        typer.echo(json.dumps({"disclaimer": DISCLAIMER, "predictions": answers}, indent=1))
        return
    for answer in answers:
        typer.echo(_in_one_line(answer))
        for warning in answer["warnings"]:
            typer.echo(f"  warning: {warning}", err=True)
    typer.echo(DISCLAIMER, err=True)


def _in_one_line(answer: dict[str, Any]) -> str:
    box = " ".join(map(str, answer["boxes_xyxy_px"][0])) if answer["boxes_xyxy_px"] else "none"
    if answer["boxes_xyxy_px"] and answer["sizes_mm"]:
        width, height = answer["sizes_mm"][0]
        box += f", {width:.1f} x {height:.1f} mm"
    frame = f"  frame {answer['frame']}" if "frame" in answer else ""
    return f"{answer['image']}{frame}  POM {answer['pom']:.3f}  {answer['label']}  box {box}  ({answer['model']})"


app.command()(cli_serving.serve)
app.command()(cli_stats.stats)


@data_app.command("phantom")
def data_phantom(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    patients: Annotated[int, typer.Option(help="Patients per class and institution.")] = 50,
    institution: Annotated[str, typer.Option(help="A, B or AB.")] = "AB",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Make phantom images with exact masks, and their manifest."""
    from wsus.data.sources.phantom import PhantomConfig
    from wsus.data.sources.phantom_set import MANIFEST, make_phantom_set

    if institution not in ("A", "B", "AB"):
        raise ConfigError(f"--institution is A, B or AB; got {institution!r}")
    configs = [PhantomConfig(patients_per_class=patients, institution=letter, seed=seed) for letter in institution]  # type: ignore[arg-type]
    manifest = make_phantom_set(folder, configs)
    typer.echo(f"{len(manifest.records)} images in {folder / MANIFEST}")


@data_app.command("import")
def data_import(
    kind: Annotated[str, typer.Argument(help="bus-bra, busi or class-folders.")],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The data set's folder, or s3://bucket/prefix.")],
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="CSV", help="Where to write it; DIR/manifest.csv by default. Images lie below it."),
    ] = None,
) -> None:
    """Read a data set and write its manifest; says what was taken, left out and why."""
    from wsus.data.manifest import write_manifest
    from wsus.data.remote import is_remote, local_path

    remote = is_remote(folder)
    if remote and manifest is None:
        raise ConfigError(f"{folder}: say where to write the manifest: --manifest CSV; then put it beside the images")
    place = local_path(folder)
    imported = _imported(kind, place)
    target = manifest or place / "manifest.csv"
    write_manifest(imported.manifest, target, root=place if remote else None)
    typer.echo(f"{imported.taken} images taken, {len(imported.left_out)} left out; {target}")
    for note in imported.notes:
        typer.echo(f"  note: {note}")
    reasons: dict[str, int] = {}
    for item in imported.left_out:
        reasons[item.reason] = reasons.get(item.reason, 0) + 1
    for reason, count in reasons.items():
        typer.echo(f"  left out: {count} x {reason}")


@data_app.command("audit")
def data_audit(
    source: Annotated[
        str, typer.Argument(metavar="CSV|KIND=DIR", help="A manifest, or bus-bra=DIR, busi=DIR, class-folders=DIR; s3:// too.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False,
    page: Annotated[Path | None, typer.Option(metavar="HTML", help="Write a page for people.")] = None,
) -> None:
    """Check images before anyone trains on them. Exit status 2 where the audit finds errors."""
    from wsus.data.audit import audit, write_audit_page
    from wsus.data.manifest import read_manifest
    from wsus.data.remote import is_remote, local_path

    kind, _, path = ("", "", "") if is_remote(source) else source.partition("=")
    if path:
        imported = _imported(kind, local_path(path))
        report = audit(imported.manifest, notes=imported.notes)
    else:
        report = audit(read_manifest(local_path(source), allow_leaks=True))
    typer.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))
    if page is not None:
        write_audit_page(report, page)
    if not report.ok:
        raise typer.Exit(WsusError.exit_status)


@models_app.command("list")
def models_list(out: Out = "store") -> None:
    """List the published models of a store."""
    from wsus.registry import list_models
    from wsus.storage import open_store

    for model in list_models(open_store(out)):
        typer.echo(f"{model.name}  {model.version}  {', '.join(model.aliases)}".rstrip())


@models_app.command("promote")
def models_promote(
    name: str, version: int, out: Out = "store", alias: Annotated[str, typer.Option(help="The alias to move.")] = "production"
) -> None:
    """Point an alias at another version."""
    from wsus.registry import promote_model
    from wsus.storage import open_store

    model = promote_model(open_store(out), name, version, alias=alias)
    typer.echo(f"{model.name}  {model.version}  {', '.join(model.aliases)}")


@models_app.command("canary")
def models_canary(
    name: str,
    version: Annotated[int | None, typer.Argument(help="None ends it.")] = None,
    share: Annotated[float, typer.Option(help="Share of the requests that it answers, as 0.1.")] = 0.1,
    out: Out = "store",
    alias: Annotated[str, typer.Option(help="Whose requests.")] = "production",
) -> None:
    """Let another version answer a share of an alias's requests."""
    from wsus.registry import set_canary
    from wsus.storage import open_store

    typer.echo(_rollout_line(set_canary(open_store(out), name, version, share=share, alias=alias)))


@models_app.command("shadow")
def models_shadow(
    name: str,
    version: Annotated[int | None, typer.Argument(help="None ends it.")] = None,
    out: Out = "store",
    alias: Annotated[str, typer.Option(help="Whose requests.")] = "production",
) -> None:
    """Let another version see an alias's requests without answering any; only metrics differ."""
    from wsus.registry import set_shadow
    from wsus.storage import open_store

    typer.echo(_rollout_line(set_shadow(open_store(out), name, version, alias=alias)))


def main() -> None:
    """Entry point: a mistake of the user ends in one clear line and exit status 2 (3 where trials failed)."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda _: logging.getLogger().handlers == [handler])  # Ray, told to log as JSON, adds one of its own
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[handler])
    try:
        app(standalone_mode=True)
    except WsusError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same line again to go on", err=True)
        sys.exit(130)


def _config(
    recipe: str, data: list[str] | None, name: str | None, settings: list[str] | None, backbones: str | None, modes: str | None
) -> StudyConfig:
    from tune_jobs.recipes import make_config
    from tune_jobs.study import with_setting

    config = make_config(recipe, pairs(data, "--data"), name=name)
    asked = pairs(settings, "--set")
    asked |= {key: value for key, value in (("backbones", backbones), ("modes", modes)) if value is not None}
    for key, value in asked.items():
        config = with_setting(config, key, value)
    return config


def _rollout_line(rollout: Rollout) -> str:
    canary = f"  canary {rollout.canary} ({rollout.canary_share:.0%})" if rollout.canary is not None else ""
    shadow = f"  shadow {rollout.shadow}" if rollout.shadow is not None else ""
    return f"{rollout.name}  {rollout.primary}{canary}{shadow}"


def _imported(kind: str, folder: Path) -> Any:
    from wsus.data.sources import read_source

    return read_source(kind, folder)


def _end(outcome: StudyOutcome, address: str) -> None:
    typer.echo(f"study   {address}  ({len(outcome.cells)} cells)")
    if outcome.failures:
        lines = "\n".join(f"  {failure['trial']}: {failure['error']}" for failure in outcome.failures)
        raise StudyIncompleteError(
            f"{len(outcome.failures)} trial(s) failed:\n{lines}\nrun the same line again to try them once more"
        )
