"""A compared study's results as a Markdown page on this machine. Loads no torch and draws nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from tune_jobs.keys import comparison_key
from tune_jobs.studies import read_study
from wsus.errors import StoreError, StudyError
from wsus.report.results_page import results_page
from wsus.storage import Store, write_atomically


def write_results_page(store: Store, name: str, page: Path, *, command: str = "", notes: str = "") -> Path:
    """Write `page` and, in a folder of its name beside it, its figures.

    Args:
        command: what repeats the study; its recipe's line by default.
    Raises:
        StudyError: the study is not compared yet.  UnknownNameError: none of this name.  StoreError: it cannot be written.
    """
    study = read_study(store, name)
    if not store.is_published(comparison_key(name)):
        raise StudyError(f"study {name!r} is not compared yet; run `wsus compare --study {name}`")
    with store.fetched(comparison_key(name)) as comparison:
        said = command or f"wsus run --recipe {study['recipe']} --name {name}"
        made = results_page(study, comparison, command=said, figures_at=page.stem, notes=notes)
        try:
            figures = page.parent / page.stem
            figures.mkdir(parents=True, exist_ok=True)
            for file, source in made.figures.items():
                shutil.copyfile(source, figures / file)
            write_atomically(page, made.text.encode())
        except OSError as error:
            raise StoreError(f"{page}: cannot be written ({error.strerror or error}); name another page") from error
    return page
