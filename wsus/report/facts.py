"""What only people know of a study: asked for in one TOML file, printed by the report, and named where it is missing.

The questions are those of STARD-AI 2025, CLAIM 2024, TRIPOD+AI 2024 and DECIDE-AI 2022 that no program can answer
(docs/checklists.md says which item is answered where).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from wsus.errors import ConfigError

FACTS: Mapping[str, str] = {
    "intended_use": "Intended use and place in the clinical pathway",
    "setting": "Setting: institutions, where and at which level of care",
    "dates": "Dates of recruitment and examination",
    "design": "Design: prospective or retrospective; planned before the images were read or not",
    "eligibility": "Eligibility: who was included and excluded",
    "sampling": "Sampling: consecutive, random or by convenience",
    "acquisition": "Acquisition: scanners, settings, who examined, how the stored image was chosen",
    "reference_standard": "Reference standard, and who read it",
    "reference_interval": "Time between image and reference standard, and treatment in between",
    "reference_blinding": "Whether the reference standard was read without knowledge of the image, and the reverse",
    "mask_readers": "Who drew the lesion masks, with how much experience, and how far they agree",
    "missing_data": "Missing or indeterminate images and results, and what was done with them",
    "sample_size": "How the number of images was chosen",
    "margin_rationale": "Why this margin of non-inferiority, and when it was set",
    "harms": "Adverse events or harms, where the network was used",
    "ethics": "Ethics approval and consent",
    "registration": "Registration and protocol",
    "funding": "Funding and the role of the funder",
    "interests": "Competing interests",
    "data_sharing": "Where data and code can be had",
}


def read_facts(path: Path) -> dict[str, str]:
    """The facts that a file states; an empty one counts as not stated.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or holds something else than these facts as text.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML in UTF-8 ({error}); `wsus compare --facts-template` prints an empty one") from error
    unknown = sorted(set(content) - set(FACTS))
    if unknown:
        raise ConfigError(f"{path}: unknown fact {', '.join(unknown)}; known are {', '.join(FACTS)}")
    wrong = [name for name, value in content.items() if not isinstance(value, str)]
    if wrong:
        raise ConfigError(f'{path}: {wrong[0]} is no text; write {wrong[0]} = "..."')
    return {name: text for name, value in content.items() if (text := " ".join(value.split()))}


def facts_template() -> str:
    """An empty file of facts, each with its question."""
    lines = [f'# {question}\n{name} = ""' for name, question in FACTS.items()]
    return (
        "# What only people know of the study. An empty answer is named as missing in the report.\n\n" + "\n\n".join(lines) + "\n"
    )


def stated(facts: Mapping[str, str]) -> list[tuple[str, str]]:
    """(question, answer) of the facts that are known, in their order."""
    return [(question, facts[name]) for name, question in FACTS.items() if facts.get(name)]


def not_stated(facts: Mapping[str, str]) -> list[str]:
    """The questions without an answer."""
    return [question for name, question in FACTS.items() if not facts.get(name)]
