"""Alerts and dashboard: read by promtool, fired on made series, and about series that the application exports."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import K8S, ROOT, one

from cluster.manifests.rules import clusters, pods
from serve_app.metrics import SERIES

Rendered = Mapping[str, list[dict[str, Any]]]
SUFFIX = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
STUDY = "ray_wsus_study_epochs_total"


@pytest.fixture(scope="module")
def rules(rendered: Rendered) -> dict[str, Any]:
    spec: dict[str, Any] = one(rendered["full"], "PrometheusRule")["spec"]
    return spec


@pytest.fixture(scope="module")
def dashboard(rendered: Rendered) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(one(rendered["full"], "ConfigMap", "wsus-dashboard")["data"]["dashboard.json"])
    return content


def promtool(*arguments: str, folder: Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: it comes with Debian's package prometheus")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts(rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in rules["groups"] for rule in group["rules"]]


def expressions(rules: dict[str, Any], dashboard: dict[str, Any]) -> Iterator[str]:
    yield from (rule["expr"] for rule in alerts(rules))
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])


STARTS = "ray_serve_deployment_replica_starts_total{application='wsus',deployment='Predictor',replica='%d'} 1x60"
REQUESTS, SECONDS, POM = "ray_wsus_requests_total", "ray_wsus_request_seconds_bucket", "ray_wsus_pom"
HEALTHY = "ray_serve_deployment_replica_healthy{application='wsus',deployment='Predictor'}"
FIRING = {  # alert -> series that must fire it, at this time; a step is a minute, ten for the drift, which looks back a week
    "WsusErrorShare": ([f"{REQUESTS}{{status='200'}} 0+90x60", f"{REQUESTS}{{status='500'}} 0+10x60"], "20m"),
    "WsusSlow": ([f"{SECONDS}{{le='{le}'}} 0+{step}x60" for le, step in (("5", 1), ("10", 100), ("+Inf", 100))], "30m"),
    "WsusQueue": ([f"{REQUESTS}{{status='200'}} 0+90x60", f"{REQUESTS}{{status='429'}} 0+2x60"], "20m"),
    "WsusReplicaRestarts": ([STARTS % number for number in range(14)], "20m"),
    "WsusNoPredictor": ([f"{HEALTHY} 0x60"], "10m"),
    "WsusModelRefused": (["ray_wsus_model_refused{version='3'} 1x60"], "5m"),
    "WsusStoreUnreachable": (["ray_wsus_store_unreachable 1x60"], "10m"),
    "WsusPomDrift": ([f"{POM}_sum{{role='primary'}} 0+3x864 2600+7x72", f"{POM}_count{{role='primary'}} 0+10x937"], "6d12h"),
    "WsusStudyStalled": ([f"{STUDY}{{study='open'}} 10x200"], "2h"),
    "RayTasksWait": (["ray_scheduler_unscheduleable_tasks{ray_io_cluster='a'} 2x200"], "1h"),
}
QUIET = [  # an ordinary day fires nothing
    "ray_wsus_requests_total{status='200'} 0+100x300",
    "ray_wsus_request_seconds_bucket{le='5'} 0+100x300",
    "ray_wsus_request_seconds_bucket{le='+Inf'} 0+100x300",
    "ray_wsus_requests_total{status='429'} 0+0.5x300",
    "ray_serve_deployment_replica_starts_total{application='wsus',deployment='Predictor',replica='1'} 1x300",
    f"{HEALTHY} 1x300",
    "ray_wsus_model_refused{version='3'} 0x300",
    "ray_wsus_store_unreachable 0x300",
    f"{STUDY}{{study='open'}} 0+1x300",
    "ray_scheduler_unscheduleable_tasks{ray_io_cluster='a'} 0x300",
]


def test_promtool_reads_the_rules_and_each_alert_fires_when_it_should(rules: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    names = [rule["alert"] for rule in alerts(rules)]
    assert f"SUCCESS: {len(names)} rules found" in promtool("check", "rules", "rules.yaml", folder=tmp_path)
    assert set(FIRING) == set(names)

    for interval, chosen in (("1m", set(names) - {"WsusPomDrift"}), ("10m", {"WsusPomDrift"})):
        tests = [case(interval, FIRING[name][0], firing(name), FIRING[name][1], expected=1) for name in sorted(chosen)]
        tests.append(case(interval, QUIET, "count(ALERTS)", "4h", expected=None))
        content = {"rule_files": ["rules.yaml"], "evaluation_interval": interval, "tests": tests}
        (tmp_path / "tests.yaml").write_text(yaml.safe_dump(content))
        assert "SUCCESS" in promtool("test", "rules", "tests.yaml", folder=tmp_path)


def firing(alert: str) -> str:
    return f"count(ALERTS{{alertname='{alert}',alertstate='firing'}})"


def case(interval: str, texts: list[str], query: str, at: str, *, expected: int | None) -> dict[str, Any]:
    """One test of promtool's: what a query says of made series at a time; None for nothing."""
    series = [{"series": text.partition(" ")[0], "values": text.partition(" ")[2]} for text in texts]
    samples = [] if expected is None else [{"labels": "{}", "value": expected}]
    return {
        "interval": interval,
        "input_series": series,
        "promql_expr_test": [{"expr": query, "eval_time": at, "exp_samples": samples}],
    }


def test_our_series_are_those_that_the_application_has(rules: dict[str, Any], dashboard: dict[str, Any]) -> None:
    exported = {f"ray_{name}{suffix}" for name, series in SERIES.items() for suffix in SUFFIX[series.kind]} | {STUDY}
    named = {name for text in expressions(rules, dashboard) for name in re.findall(r"\bray_wsus_\w+", text)}
    assert named <= exported
    assert len(named) >= 10


def test_order_alert_has_a_chapter_in_the_operations_page(rules: dict[str, Any]) -> None:
    titles = [line.lstrip("# ") for line in (ROOT / "docs/operations.md").read_text().splitlines() if line.startswith("#")]
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    for rule in alerts(rules):
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert anchor in anchors, f"{rule['alert']}: no chapter {anchor}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_the_monitor_scrapes_a_port_that_every_ray_pod_names(rendered: Rendered) -> None:
    monitor = one(rendered["full"], "PodMonitor")["spec"]
    ports = {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]}
    for document in rendered["full"]:
        for _ in clusters(document):
            for pod in pods(document):
                if pod.labels.get("wsus.io/role") != "submitter":
                    assert ports <= {port["name"] for port in pod.spec["containers"][0]["ports"]}


def test_the_dashboard_is_whole(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 12
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert (K8S / "components/monitoring/dashboard.json").stat().st_size < 100_000
