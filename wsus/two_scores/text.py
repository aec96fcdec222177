"""The result of `stats_from_csv` as a table for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_CLASSES = (("pos", "malignant"), ("neg", "benign"))
_FIGURES = (("auc", "AUC"), ("sensitivity", "sensitivity"), ("specificity", "specificity"))
_DECISIONS = (0.1, 0.2, 0.3, 0.5)  # threshold probabilities of which the text tells the net benefit; JSON has all
_SHOWN_KEYS = 6  # of the figures that one reason belongs to

Row = tuple[str, ...]
Line = str | Row  # words as they are, or cells to be aligned


def format_stats(stats: Mapping[str, Any]) -> str:
    """Write what `stats_from_csv` returned as plain text, two readers side by side, without a trailing newline."""
    sides = "ab" if "auc_b" in stats else "a"
    sections: list[list[Line]] = [_overview(stats), _readers(stats, sides)]
    if "clustered" in stats:  # over patients first where that is what counts
        sections.insert(1 if _several(stats) else 2, _clustered(stats, sides))
    if sides == "ab":
        sections += [_comparison(stats), _verdicts(stats), _power(stats)]
    sections += [_calibration(stats, sides), _decision(stats, sides), _subgroups(stats, sides), _remarks(stats)]
    return "\n\n".join("\n".join(_aligned(section)) for section in sections if section)


def _aligned(lines: list[Line]) -> Iterator[str]:
    """Cells in columns, at least two spaces between them."""
    rows = [line for line in lines if not isinstance(line, str)]
    count = max((len(row) for row in rows), default=0)
    widths = [max(len(row[place]) for row in rows if len(row) > place) + 2 for place in range(count)]
    widths = [max(38, widths[0]), *(max(28, width) for width in widths[1:])] if widths else []
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            yield "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()


def _overview(stats: Mapping[str, Any]) -> list[Line]:
    cases = f"{stats['n']} cases: {stats['n_pos']} malignant, {stats['n_neg']} benign"
    lines: list[Line] = [f"hint: {hint}" for hint in stats["hints"]]
    if not _several(stats):
        return [cases, *lines]
    part = stats["clustered"]
    return [
        f"{part['n_images']} images of {part['n_patients']} patients: verdicts, their P values and Holm's are over patients",
        cases,
        *lines,
    ]


def _several(stats: Mapping[str, Any]) -> bool:
    return "clustered" in stats and stats["clustered"]["n_patients"] < stats["clustered"]["n_images"]


def _level(stats: Mapping[str, Any]) -> str:
    return f"{100 * stats['settings']['confidence']:g} %"


def _readers(stats: Mapping[str, Any], sides: str) -> list[Line]:
    level = _level(stats)
    alone = " (images as if independent)" if _several(stats) else ""
    lines: list[Line] = [
        (alone.strip() if alone else "", *(f"score_{side}" for side in sides)),
        (f"AUC (DeLong {level})", *(_figure(stats[f"auc_{side}"], stats[f"ci_{side}"]) for side in sides)),
        (f"AUC (logit {level})", *(_figure(stats[f"auc_{side}"], stats[f"ci_logit_{side}"]) for side in sides)),
        (f"AUC (score {level})", *(_figure(stats[f"auc_{side}"], stats[f"ci_score_{side}"]) for side in sides)),
        *(_partial(stats["partial_auc"], focus, sides) for focus in ("specificity", "sensitivity")),
        "",
        f"malignant where score >= {stats['settings']['threshold']:g} (Clopper-Pearson {level}){alone}",
    ]
    readers = [stats["threshold"][side] for side in sides]
    for name, key in (("sensitivity", "sens"), ("specificity", "spec")):
        lines.append((name, *(_figure(reader[key], reader[f"{key}_ci"]) for reader in readers)))
    for name, key in (("PPV", "ppv"), ("NPV", "npv"), ("accuracy", "accuracy")):
        shares = (stats["predictive"][side] for side in sides)
        lines.append((name, *(_figure(share[key], share[f"{key}_ci"]) for share in shares)))
    for name, key in (("LR+", "lr_pos"), ("LR-", "lr_neg")):
        ratios = [stats["likelihood_ratios"][side] for side in sides]
        lines.append((f"{name} ({_short(ratios[0]['method'])} {level})", *(_ratio(one, key) for one in ratios)))
    for name, key in (("true positives", "tp"), ("false negatives", "fn"), ("true negatives", "tn"), ("false positives", "fp")):
        lines.append((name, *(str(reader[key]) for reader in readers)))
    return lines


def _comparison(stats: Mapping[str, Any]) -> list[Line]:
    paired, unpaired, at, log10_p = stats["paired"], stats["unpaired"], stats["threshold"], stats["log10_p"]
    adjusted, over = stats["holm"]["two_sided"], stats["clustered"] if _several(stats) else None
    tests = sum(p is not None for p in adjusted.values())
    lines: list[Line] = [("a against b", "difference", "p (two-sided)", f"p (Holm, {tests} tests)")]

    def p_of(part: Mapping[str, Any]) -> str:
        return _p(part["p"], part["log10_p"])

    if over is not None:
        figure = _figure(over["paired"]["diff"], over["paired"]["ci_diff"])
        lines.append(("AUC, over patients (Obuchowski)", figure, p_of(over["paired"]), _plain(adjusted["auc"])))
    else:
        figure = _figure(paired["diff"], paired["ci_diff"])
        lines.append(("AUC, paired DeLong", figure, p_of(paired), _plain(adjusted["auc"])))
    for name, mcnemar, share in (("sensitivity", "mcnemar_pos", "sens"), ("specificity", "mcnemar_neg", "spec")):
        difference = f"{at['a'][share] - at['b'][share]:+.4f}"
        if over is not None:
            lines.append((f"{name}, McNemar over patients", difference, p_of(over[mcnemar]), _plain(adjusted[name])))
        else:
            p = _p(at[mcnemar]["p"], log10_p[f"threshold.{mcnemar}.p"])
            lines.append((f"{name}, exact McNemar", difference, p, _plain(adjusted[name])))
    if over is not None:
        lines.append("as if all images were independent")
        lines.append(("AUC, paired DeLong", _figure(paired["diff"], paired["ci_diff"]), p_of(paired)))
        for name, mcnemar in (("sensitivity", "mcnemar_pos"), ("specificity", "mcnemar_neg")):
            lines.append((f"{name}, exact McNemar", "", _p(at[mcnemar]["p"], log10_p[f"threshold.{mcnemar}.p"])))
    lines.append(("AUC, as if unpaired", "", _p(unpaired["p"], log10_p["unpaired"])))
    return lines


def _verdicts(stats: Mapping[str, Any]) -> list[Line]:
    tests, adjusted = stats["noninferiority"], stats["holm"]["noninferiority"]
    margin, confidence = tests["auc"]["margin"], tests["auc"]["confidence_one_sided"]
    over = ", over patients" if _several(stats) else ""
    count = sum(p is not None for p in adjusted.values())
    lines: list[Line] = [
        (
            f"is a non-inferior to b? margin {margin:g}{over}",
            f"one-sided {100 * confidence:g} % bound",
            "verdict",
            f"p (Holm, {count} tests)",
        )
    ]
    for key, name in _FIGURES:
        test = tests[key]
        p = "" if test["p"] is None else " (p < 1e-300)" if test["p"] < 1e-300 else f" (p = {test['p']:.4g})"
        bound = "-" if test["lower"] is None else f"{test['lower']:+.4f}"
        after = ", not after Holm's adjustment" if test["holds_after_holm"] is False else ""
        lines.append((name, bound, f"{test['verdict']}{after}{p}", _plain(adjusted[key])))
    return lines


def _power(stats: Mapping[str, Any]) -> list[Line]:
    tests = stats["power"]
    target = tests["auc_noninferiority"]["target"]
    unit = "images" if _several(stats) else "cases"
    lines: list[Line] = [("chance of 'non-inferior' if both are equal", "with these", f"{unit} for a power of {target:g}")]
    for key, name in _FIGURES:
        test = tests[f"{key}_noninferiority"]
        needed = [f"{test[f'needed_{side}']:,} {word}" for side, word in _CLASSES if test[f"needed_{side}"] is not None]
        power = "not estimable" if test["power"] is None else f"{test['power']:.3f}"
        lines.append((name, power, ", ".join(needed) or "not estimable"))
    return lines


def _partial(parts: Mapping[str, Any], focus: str, sides: str) -> Row:
    name = f"pAUC, {focus} >= {parts['a'][focus]['low']:g} (stand.)"
    return (name, *(_figure(parts[side][focus]["standardised"], parts[side][focus]["ci_standardised"]) for side in sides))


def _ratio(part: Mapping[str, Any], key: str) -> str:
    if key in part["notes"] and part[f"{key}_ci"] == [None, None]:
        return "undefined"
    value, low, high = ("inf" if end is None else f"{end:.4g}" for end in (part[key], *part[f"{key}_ci"]))
    return f"{value} ({low} to {high})"


def _short(method: str) -> str:
    return method.split()[0]


def _clustered(stats: Mapping[str, Any], sides: str) -> list[Line]:
    part, level = stats["clustered"], _level(stats)
    bootstrap = part["bootstrap"]
    lines: list[Line] = [
        f"allowing for patients: {part['n_images']} images of {part['n_patients']} patients",
        ("", *(f"score_{side}" for side in sides)),
        (f"AUC interval (Obuchowski, logit {level})", *(_interval(part[f"ci_logit_{side}"]) for side in sides)),
        (f"AUC interval (bootstrap {level})", *(_interval(bootstrap[side]["ci"]) for side in sides)),
    ]
    if _several(stats):
        for name, key in (("sensitivity", "sens"), ("specificity", "spec"), ("PPV", "ppv"), ("NPV", "npv")):
            shares = [part["shares"][side][key] for side in sides]
            lines.append((f"{name} (effective number of images)", *(_figure(one["estimate"], one["ci"]) for one in shares)))
        for rule, word in (("max", "highest"), ("mean", "mean")):
            one = part["by_patient"][rule]
            if "auc_a" in one:
                figures = (_figure(one[f"auc_{side}"], one[f"ci_{side}"]) for side in sides)
                lines.append((f"AUC of {one['n']} patients, {word} score", *figures))
    if sides == "ab":
        lines.append(("AUC difference (bootstrap)", _figure(part["paired"]["diff"], bootstrap["diff"]["ci"])))
    return lines


def _calibration(stats: Mapping[str, Any], sides: str) -> list[Line]:
    found = [stats["calibration"][side] for side in sides]
    if all("brier" not in one for one in found):
        return []
    over = ", over patients" if _several(stats) else ""
    lines: list[Line] = [(f"calibration (Wald {_level(stats)}{over})", *(f"score_{side}" for side in sides))]
    for name, key in (
        ("slope (1 is right)", "slope"),
        ("intercept", "intercept"),
        ("in the large (0 is right)", "in_the_large"),
        ("Brier score", "brier"),
    ):
        lines.append((name, *(_figure(one[key], one[f"{key}_ci"]) if key in one else "-" for one in found)))
    return lines


def _decision(stats: Mapping[str, Any], sides: str) -> list[Line]:
    found = [stats["decision_curve"][side] for side in sides]
    known = next((one for one in found if "threshold" in one), None)
    if known is None:
        return []
    lines: list[Line] = [
        (
            f"net benefit at a prevalence of {known['prevalence']:.3g}",
            *(f"score_{side}" for side in sides),
            "acting on all",
        )
    ]
    for threshold in _DECISIONS:
        place = known["threshold"].index(threshold)
        figures = (
            _figure(one["net_benefit"][place], (one["low"][place], one["high"][place])) if "threshold" in one else "-"
            for one in found
        )
        lines.append((f"threshold probability {threshold:g}", *figures, f"{known['treat_all'][place]:.4f}"))
    return lines


def _subgroups(stats: Mapping[str, Any], sides: str) -> list[Line]:
    if "subgroups" not in stats:
        return []
    part = stats["subgroups"]
    lines: list[Line] = []
    for level, one in part["levels"].items():
        lines.append((f"{part['column']} {level}: {one['n']}, {one['n_pos']} mal.", *(f"score_{side}" for side in sides)))
        for name, key in (("AUC", "auc"), ("sensitivity", "sens"), ("specificity", "spec")):
            lines.append((f"  {name}", *(_figure(one[side][key], one[side][f"{key}_ci"]) for side in sides)))
    if part["unknown"]:
        lines.append(f"{part['unknown']} cases without a value of {part['column']} stand in no subgroup")
    if part["levels_left_out"]:
        lines.append(f"{part['levels_left_out']} further levels of {part['column']} are left out: are they categories?")
    return [*lines, "no test of interaction was made"]


def _remarks(stats: Mapping[str, Any]) -> list[Line]:
    by_text: dict[str, list[str]] = {}
    for key, text in _reasons(stats):
        by_text.setdefault(text, []).append(key)
    flags = [f"flags: {', '.join(stats['flags'])}"] if stats["flags"] else []
    return [*flags, *(f"note: {text} [{_keys(keys)}]" for text, keys in by_text.items())]


def _keys(keys: list[str]) -> str:
    rest = len(keys) - _SHOWN_KEYS
    return ", ".join(keys[:_SHOWN_KEYS]) + (f" and {rest} more" if rest > 0 else "")


def _reasons(stats: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every reason that stands anywhere in the result, with the path of its figure."""
    yield from stats["notes"].items()
    for name in ("noninferiority", "calibration", "decision_curve"):
        yield from ((f"{name}.{key}", text) for key, one in stats.get(name, {}).items() for text in one["notes"])
    for side, foci in stats["partial_auc"].items():
        yield from ((f"partial_auc.{side}.{focus}", text) for focus, one in foci.items() for text in one["notes"])
    for side, one in stats["likelihood_ratios"].items():
        yield from ((f"likelihood_ratios.{side}.{key}", text) for key, text in one["notes"].items())
    yield from ((f"power.{key}", one["note"]) for key, one in stats.get("power", {}).items() if one["note"])
    part = stats.get("clustered", {})
    yield from ((f"clustered.{key}", text) for key, text in part.get("notes", {}).items())
    yield from ((f"clustered.bootstrap.{key}", one["note"]) for key, one in part.get("bootstrap", {}).items() if one["note"])
    yield from (
        (f"clustered.{key}", part[key]["note"]) for key in ("mcnemar_pos", "mcnemar_neg") if part.get(key, {}).get("note")
    )
    for side, shares in part.get("shares", {}).items():
        yield from ((f"clustered.shares.{side}.{key}", one["note"]) for key, one in shares.items() if one["note"])


def _figure(value: float | None, interval: Sequence[float | None]) -> str:
    return "-" if value is None else f"{value:.4f} {_interval(interval)}"


def _interval(interval: Sequence[float | None]) -> str:
    low, high = interval
    return "(-)" if low is None or high is None else f"({low:.4f} to {high:.4f})"


def _plain(p: float | None) -> str:
    return "-" if p is None else f"{p:.4g}"


def _p(p: float | None, log10_p: float | None) -> str:
    if p is None or log10_p is None:
        return "not estimable"
    if log10_p > -300:
        return f"{p:.4g}"
    exponent = math.floor(log10_p)
    return f"{10 ** (log10_p - exponent):.2f}e{exponent}"
