"""The result of `stats_from_csv` as a table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_LABEL_WIDTH = 38
_VALUE_WIDTH = 28
_CLASSES = (("pos", "malignant"), ("neg", "benign"))


def format_stats(stats: Mapping[str, Any]) -> str:
    """Write what `stats_from_csv` returned as plain text, two readers side by side, without a trailing newline."""
    sections = [_overview(stats), _readers(stats), _comparison(stats), _verdicts(stats), _power(stats)]
    if "clustered" in stats:
        sections.append(_clustered(stats["clustered"]))
    sections.append(_remarks(stats))
    return "\n\n".join("\n".join(section) for section in sections if section)


def _overview(stats: Mapping[str, Any]) -> list[str]:
    return [f"{stats['n']} cases: {stats['n_pos']} malignant, {stats['n_neg']} benign"]


def _readers(stats: Mapping[str, Any]) -> list[str]:
    a, b = stats["threshold"]["a"], stats["threshold"]["b"]
    lines = [
        _row("", "score_a", "score_b"),
        _row("AUC (DeLong 95 %)", *(_figure(stats[f"auc_{side}"], stats[f"ci_{side}"]) for side in "ab")),
        _row("AUC (logit 95 %)", *(_figure(stats[f"auc_{side}"], stats[f"ci_logit_{side}"]) for side in "ab")),
        _row("AUC (score 95 %)", *(_figure(stats[f"auc_{side}"], stats[f"ci_score_{side}"]) for side in "ab")),
        *(_partial(stats["partial_auc"], focus) for focus in ("specificity", "sensitivity")),
        "",
        f"malignant where score >= {stats['settings']['threshold']:g} (Clopper-Pearson 95 %)",
    ]
    for name, key in (("sensitivity", "sens"), ("specificity", "spec")):
        lines.append(_row(name, *(_figure(reader[key], reader[f"{key}_ci"]) for reader in (a, b))))
    for name, key in (("PPV", "ppv"), ("NPV", "npv"), ("accuracy", "accuracy")):
        shares = (stats["predictive"][side] for side in "ab")
        lines.append(_row(name, *(_figure(share[key], share[f"{key}_ci"]) for share in shares)))
    for name, key in (("LR+ (exact 95 %)", "lr_pos"), ("LR- (exact 95 %)", "lr_neg")):
        ratios = [stats["likelihood_ratios"][side] for side in "ab"]
        lines.append(_row(name.replace("exact", _short(ratios[0]["method"])), *(_ratio(one, key) for one in ratios)))
    for name, key in (("true positives", "tp"), ("false negatives", "fn"), ("true negatives", "tn"), ("false positives", "fp")):
        lines.append(_row(name, str(a[key]), str(b[key])))
    return lines


def _comparison(stats: Mapping[str, Any]) -> list[str]:
    paired, unpaired, at, log10_p = stats["paired"], stats["unpaired"], stats["threshold"], stats["log10_p"]
    lines = [
        _row("a against b", "difference", "p (two-sided)"),
        _row("AUC, paired DeLong", _figure(paired["diff"], paired["ci_diff"]), _p(paired["p"], paired["log10_p"])),
        _row("AUC, as if unpaired", "", _p(unpaired["p"], log10_p["unpaired"])),
    ]
    for name, mcnemar, share in (("sensitivity", "mcnemar_pos", "sens"), ("specificity", "mcnemar_neg", "spec")):
        difference = f"{at['a'][share] - at['b'][share]:+.4f}"
        p = _p(at[mcnemar]["p"], log10_p[f"threshold.{mcnemar}.p"])
        lines.append(_row(f"{name}, exact McNemar", difference, p))
    return lines


def _verdicts(stats: Mapping[str, Any]) -> list[str]:
    tests = stats["noninferiority"]
    margin, confidence = tests["auc"]["margin"], tests["auc"]["confidence_one_sided"]
    lines = [_row(f"is a non-inferior to b? margin {margin:g}", f"one-sided {100 * confidence:g} % bound", "verdict")]
    for name in ("auc", "sensitivity", "specificity"):
        test = tests[name]
        p = "" if test["p"] is None else " (p < 1e-300)" if test["p"] < 1e-300 else f" (p = {test['p']:.4g})"
        bound = "-" if test["lower"] is None else f"{test['lower']:+.4f}"
        lines.append(_row("AUC" if name == "auc" else name, bound, f"{test['verdict']}{p}"))
    return lines


def _power(stats: Mapping[str, Any]) -> list[str]:
    tests = stats["power"]
    margin, target = stats["settings"]["margin"], tests["auc_noninferiority"]["target"]
    lines = [_row("what this many cases can show", "power", f"cases for a power of {target:g}")]
    for name, key in (
        ("AUC non-inferior, if both are equal", "auc_noninferiority"),
        (f"sensitivity differs by {margin:g}", "mcnemar_pos"),
        (f"specificity differs by {margin:g}", "mcnemar_neg"),
    ):
        test = tests[key]
        needed = [f"{test[f'needed_{side}']:,} {word}" for side, word in _CLASSES if test[f"needed_{side}"] is not None]
        power = "not estimable" if test["power"] is None else f"{test['power']:.3f}"
        lines.append(_row(name, power, ", ".join(needed) or "not estimable"))
    return lines


def _partial(parts: Mapping[str, Any], focus: str) -> str:
    name = f"pAUC, {focus} >= {parts['a'][focus]['low']:g} (stand.)"
    return _row(name, *(_figure(parts[side][focus]["standardised"], parts[side][focus]["ci_standardised"]) for side in "ab"))


def _ratio(part: Mapping[str, Any], key: str) -> str:
    if key in part["notes"] and part[f"{key}_ci"] == [None, None]:
        return "undefined"
    value, low, high = ("inf" if end is None else f"{end:.4g}" for end in (part[key], *part[f"{key}_ci"]))
    return f"{value} ({low} to {high})"


def _short(method: str) -> str:
    return method.split()[0]


def _clustered(part: Mapping[str, Any]) -> list[str]:
    paired, bootstrap = part["paired"], part["bootstrap"]
    lines = [
        f"allowing for patients: {part['n_images']} images of {part['n_patients']} patients",
        _row("AUC interval (Obuchowski, logit 95 %)", _interval(part["ci_logit_a"]), _interval(part["ci_logit_b"])),
        _row("AUC interval (bootstrap 95 %)", _interval(bootstrap["a"]["ci"]), _interval(bootstrap["b"]["ci"])),
        _row(
            "AUC difference (Obuchowski)", _figure(paired["diff"], paired["ci_diff"]), f"p = {_p(paired['p'], paired['log10_p'])}"
        ),
        _row("AUC difference (bootstrap)", _figure(paired["diff"], bootstrap["diff"]["ci"]), ""),
    ]
    return lines + [f"  {name}: {note}" for name, note in part["notes"].items()]


def _remarks(stats: Mapping[str, Any]) -> list[str]:
    named = list(stats["notes"].items())
    named += [(f"noninferiority.{key}", text) for key, test in stats["noninferiority"].items() for text in test["notes"]]
    by_text: dict[str, list[str]] = {}
    for key, text in named:
        by_text.setdefault(text, []).append(key)
    flags = [f"flags: {', '.join(stats['flags'])}"] if stats["flags"] else []
    return flags + [f"note: {text} [{', '.join(keys)}]" for text, keys in by_text.items()]


def _row(label: str, first: str, second: str) -> str:
    return f"{label:<{_LABEL_WIDTH}}{first:<{_VALUE_WIDTH}}{second}".rstrip()


def _figure(value: float | None, interval: Sequence[float | None]) -> str:
    return "-" if value is None else f"{value:.4f} {_interval(interval)}"


def _interval(interval: Sequence[float | None]) -> str:
    low, high = interval
    return "(-)" if low is None or high is None else f"({low:.4f} to {high:.4f})"


def _p(p: float | None, log10_p: float | None) -> str:
    if p is None or log10_p is None:
        return "not estimable"
    if log10_p > -300:
        return f"{p:.4g}"
    exponent = math.floor(log10_p)
    return f"{10 ** (log10_p - exponent):.2f}e{exponent}"
