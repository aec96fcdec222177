"""The command that asks a published model about images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from wsus.cli.serving import ask_server
from wsus.disclaimer import DISCLAIMER
from wsus.errors import ConfigError, WsusError


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, BMP, TIFF or DICOM files.")],
    store: Annotated[
        str,
        typer.Option(
            "--model", "--store", "--out", metavar="[NAME[@VERSION]=]STORE_OR_BUNDLE", help="A store, or a model bundle's folder."
        ),
    ] = "store",
    name: Annotated[
        str | None, typer.Option("--model-name", "--name", help="Which model of the store; not needed where there is one.")
    ] = None,
    alias: Annotated[str, typer.Option(help="Which version of it.")] = "production",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")] = False,
    overlay: Annotated[Path | None, typer.Option(metavar="DIR", help="Write <image>-cam.png files into this folder.")] = None,
    explain: Annotated[str, typer.Option(help="Whose map: 'predicted' class or 'malignant'.")] = "predicted",
    engine: Annotated[str, typer.Option(help="What runs the network here: auto, torch or onnx.")] = "auto",
    frame: Annotated[int | None, typer.Option(help="Which frame of a multi-frame file to read, from 0.")] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Every frame that is not blank.")] = False,
    region: Annotated[int | None, typer.Option(help="Which B-mode region of a DICOM file to read, from 0.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="A file that cannot be used does not stop the others.")] = False,
    site: Annotated[str | None, typer.Option(help="Scale and cut by this site's profile, see `wsus calibrate`.")] = None,
    server: Annotated[str | None, typer.Option(metavar="URL", help="Ask this server instead of a model here.")] = None,
    token: Annotated[str | None, typer.Option(envvar="WSUS_TOKEN", help="The server's bearer token.")] = None,
) -> None:
    """Probability of malignancy (POM), class and box of images, by a published weak model.

    wsus predict scan.png --store store --overlay overlays\n
    wsus predict cine.dcm --frame 12
    """
    if explain not in ("predicted", "malignant"):
        raise ConfigError(f"--explain is 'predicted' or 'malignant'; got {explain!r}")
    if server is not None:
        if all_frames:
            raise ConfigError("--all-frames needs a model here; ask for one with --frame, or use the server's page")
        answers = ask_server(images, server, token, explain, frame, overlay, region, skip_bad, site)  # type: ignore[arg-type]
    else:
        from wsus.inference.files import predict_files

        answers = predict_files(
            images,
            store,
            name=name,
            alias=alias,
            overlay_dir=overlay,
            explain=explain,  # type: ignore[arg-type]
            engine=engine,  # type: ignore[arg-type]
            frame=frame,
            all_frames=all_frames,
            region=region,
            skip_bad=skip_bad,
            site=site,
        )
    not_used = [answer for answer in answers if "error" in answer]
    answers = [answer for answer in answers if "error" not in answer]
    if as_json:
        document = {"disclaimer": DISCLAIMER, "predictions": answers, **({"not_used": not_used} if skip_bad else {})}
        typer.echo(json.dumps(document, indent=1))
    else:
        _say(answers, not_used)
    if not_used and not answers:
        raise typer.Exit(WsusError.exit_status)


def _say(answers: list[dict[str, Any]], not_used: list[dict[str, Any]]) -> None:
    from wsus.inference.answer import NO_LESION

    for answer in answers:
        typer.echo(_printable(_in_one_line(answer)))
        for warning in answer["warnings"]:
            if warning != NO_LESION:  # true of every image, so said once
                typer.echo(f"  warning: {warning}", err=True)
    for answer in not_used:
        typer.echo(_printable(f"not used: {answer['error']}"), err=True)
    typer.echo(f"{NO_LESION[0].upper()}{NO_LESION[1:]}.\n{DISCLAIMER}", err=True)


def _printable(line: str) -> str:
    """Names of files may hold a line break, or bytes that are no text."""
    return line.encode(errors="backslashreplace").decode().replace("\n", "\\n")


def _in_one_line(answer: dict[str, Any]) -> str:
    box = " ".join(map(str, answer["boxes_xyxy_px"][0])) if answer["boxes_xyxy_px"] else "none"
    sure = ", not sure" if answer.get("not_sure") else ""
    if answer["boxes_xyxy_px"] and answer["sizes_mm"]:
        width, height = answer["sizes_mm"][0]
        box += f", {width:.1f} x {height:.1f} mm"
    frame = f"  frame {answer['frame']}" if "frame" in answer else ""
    return f"{answer['image']}{frame}  POM {answer['pom']:.3f}  {answer['label']}{sure}  box {box}  ({answer['model']})"
