"""What the KubeRay operator (1.7) refuses, as rules over a manifest: its validation and its CRDs' CEL expressions, rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.manifests.rules import Document, Rule, clusters, job_specs

MANAGERS = ("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")
ENDS = ("SUCCEEDED", "FAILED", "Failed")  # of the program, and of the whole job; no rule of KubeRay 1.7 knows STOPPED
_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")


def managed_by(document: Document) -> list[str]:
    """CEL: `self in ['ray.io/kuberay-operator', 'kueue.x-k8s.io/multikueue']`."""
    specs = [document.get("spec", {}), *job_specs(document), *clusters(document)]
    found = {spec["managedBy"] for spec in specs if "managedBy" in spec}
    return [f"managedBy {value!r}: expected one of {', '.join(MANAGERS)}" for value in sorted(found - set(MANAGERS))]


def deletion_forms(document: Document) -> list[str]:
    """CEL: deletionRules, or both onSuccess and onFailure, never mixed; and one status in each condition."""
    wrong = []
    for spec in job_specs(document):
        strategy = spec.get("deletionStrategy")
        if strategy is None:
            continue
        legacy = {"onSuccess", "onFailure"} & set(strategy)
        if legacy and "deletionRules" in strategy:
            wrong.append("onSuccess and onFailure cannot stand beside deletionRules")
        if len(legacy) < 2 and not strategy.get("deletionRules"):
            wrong.append("deletionStrategy needs deletionRules, or both onSuccess and onFailure")
        for position, rule in enumerate(strategy.get("deletionRules", [])):
            if len({"jobStatus", "jobDeploymentStatus"} & set(rule["condition"])) != 1:
                wrong.append(f"deletionRules[{position}]: exactly one of jobStatus and jobDeploymentStatus")
    return wrong


def deletion_order(document: Document) -> list[str]:
    """The operator: rules exclude shutdownAfterJobFinishes; times grow from workers over the cluster to the job itself."""
    wrong = []
    for spec in job_specs(document):
        rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
        if rules and spec.get("shutdownAfterJobFinishes"):
            wrong.append("shutdownAfterJobFinishes and deletionRules exclude each other")
        times: dict[str, dict[str, int]] = {}
        for rule in rules:
            condition = rule["condition"]
            status = condition.get("jobStatus") or condition.get("jobDeploymentStatus", "")
            known = times.setdefault(f"{'jobStatus' in condition} {status}", {})
            if rule["policy"] in known:
                wrong.append(f"two rules {rule['policy']} for {status}")
            known[rule["policy"]] = condition.get("ttlSeconds", 0)
        for by_policy in times.values():
            ordered = [by_policy[policy] for policy in _ORDER if policy in by_policy]
            wrong += ["a rule deletes the job before its cluster or its workers"] if ordered != sorted(ordered) else []
    return wrong


def suspending(document: Document) -> list[str]:
    """The operator: a suspended RayJob needs shutdownAfterJobFinishes, and so does a ttlSecondsAfterFinished."""
    wrong = []
    for spec in job_specs(document):
        for key in ("suspend", "ttlSecondsAfterFinished"):
            if spec.get(key) and not spec.get("shutdownAfterJobFinishes"):
                wrong.append(f"{key} needs shutdownAfterJobFinishes")
    return wrong


def job_limits(document: Document) -> list[str]:
    """Deadlines and retries are set, so that no job holds machines for ever."""
    wrong = []
    for spec in job_specs(document):
        wrong += [
            f"{key} must be above 0" for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds") if spec.get(key, 0) <= 0
        ]
        wrong += ["backoffLimit is missing"] if spec.get("backoffLimit", -1) < 0 else []
        tries = spec.get("submitterConfig", {}).get("backoffLimit", 2)
        wrong += [] if tries >= 1 else ["submitterConfig.backoffLimit 0: a drained node would cost the study its cluster"]
        if spec.get("shutdownAfterJobFinishes"):
            wrong += [] if spec.get("ttlSecondsAfterFinished", 0) > 0 else ["ttlSecondsAfterFinished is missing"]
            continue
        rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
        covered = {(rule["policy"], *rule["condition"].values()) for rule in rules}
        wrong += [
            f"no rule {policy} for {status}"
            for status in ENDS
            for policy in ("DeleteCluster", "DeleteSelf")
            if not any(c[0] == policy and status in c for c in covered)
        ]
    return wrong


def token_mode(document: Document) -> list[str]:
    """The cluster asks for Ray's token, and names a Ray that knows it (2.52 or newer)."""
    wrong = []
    for cluster in clusters(document):
        if cluster.get("authOptions", {}).get("mode") != "token":
            wrong.append("authOptions.mode must be token")
        version = tuple(int(part) for part in cluster.get("rayVersion", "0").split(".")[:2])
        wrong += [] if version >= (2, 52) else [f"rayVersion {cluster.get('rayVersion')}: token mode needs 2.52"]
    return wrong


def autoscaling(document: Document) -> list[str]:
    """The operator: autoscaler v2 wants restartPolicy Never, no suspended group, no DeleteWorkers; replicas stay in range."""
    wrong = []
    for cluster in clusters(document):
        groups = cluster.get("workerGroupSpecs", [])
        for group in groups:
            low, now, high = group["minReplicas"], group.get("replicas", group["minReplicas"]), group["maxReplicas"]
            wrong += [] if 0 <= low <= now <= high else [f"{group['groupName']}: replicas {low} <= {now} <= {high} does not hold"]
        if not cluster.get("enableInTreeAutoscaling"):
            continue
        wrong += [] if cluster.get("autoscalerOptions", {}).get("version") == "v2" else ["autoscalerOptions.version must be v2"]
        for group in [cluster["headGroupSpec"], *groups]:
            policy = group["template"]["spec"].get("restartPolicy", "Never")
            wrong += [] if policy == "Never" else [f"restartPolicy {policy}: the autoscaler wants Never"]
        for spec in job_specs(document):
            policies = [rule["policy"] for rule in spec.get("deletionStrategy", {}).get("deletionRules", [])]
            wrong += ["DeleteWorkers does not go with autoscaling"] if "DeleteWorkers" in policies else []
    return wrong


def start_params(document: Document) -> list[str]:
    """rayStartParams are text, name no labels, and stand alone where resources are given in the group."""
    wrong = []
    for cluster in clusters(document):
        for group in [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]:
            params: Mapping[str, Any] = group.get("rayStartParams", {})
            wrong += [f"rayStartParams.{key} must be text" for key, value in params.items() if not isinstance(value, str)]
            wrong += ["labels belong in the group's own field"] if "labels" in params else []
            both = group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & set(params)
            wrong += ["resources stand in the group or in rayStartParams, not in both"] if both else []
    return wrong


def fault_tolerance(document: Document) -> list[str]:
    """gcsFaultToleranceOptions instead of variables and annotations; the password by reference."""
    wrong = []
    for cluster in clusters(document):
        names = {v["name"] for v in cluster["headGroupSpec"]["template"]["spec"]["containers"][0].get("env", [])}
        named = sorted(names & {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME"})
        wrong += [f"{name} belongs in gcsFaultToleranceOptions" for name in named]
        options = cluster.get("gcsFaultToleranceOptions", {})
        wrong += ["redisPassword must come from a Secret"] if options.get("redisPassword", {}).get("value") else []
        if document["kind"] == "RayService" and "externalStorageNamespace" in options:
            wrong.append("externalStorageNamespace: two clusters of one RayService would share it")
    return wrong


def upgrades(document: Document) -> list[str]:
    """A RayService's upgrade is of a known type; the incremental one needs its options and the autoscaler."""
    if document["kind"] != "RayService":
        return []
    strategy = document["spec"].get("upgradeStrategy", {})
    known = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
    wrong = [] if strategy.get("type", "NewCluster") in known else [f"upgradeStrategy.type {strategy['type']!r}: one of {known}"]
    if strategy.get("type") == "NewClusterWithIncrementalUpgrade":
        wrong += [] if next(clusters(document)).get("enableInTreeAutoscaling") else ["an incremental upgrade needs autoscaling"]
        options = strategy.get("clusterUpgradeOptions", {})
        whole = options.get("gatewayClassName") and options.get("intervalSeconds", 0) > 0
        percent = 0 <= options.get("stepSizePercent", -1) <= options.get("maxSurgePercent", 100) <= 100
        wrong += [] if whole and percent else ["clusterUpgradeOptions are missing or out of range"]
    dead = {"serviceUnhealthySecondThreshold", "deploymentUnhealthySecondThreshold"} & set(document["spec"])
    return wrong + [f"{key} has no effect any more" for key in sorted(dead)]


KUBERAY_RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        managed_by, deletion_forms, deletion_order, suspending, job_limits, token_mode, autoscaling, start_params,
        fault_tolerance, upgrades,
    )
}  # fmt: skip
