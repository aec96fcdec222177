"""A trial's process is killed in the midst of an upload: one epoch is trained again, and the weights stay the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import psutil
import pytest
import torch
from s3_server import Faults, S3Server, faulty_proxy
from tiny_study import TRAIN, tiny

from cluster.session import ray_session
from tune_jobs.compute import use_device
from tune_jobs.data import load_data
from tune_jobs.progress import Progress
from tune_jobs.run import run_study
from tune_jobs.study import StudyConfig, Trial
from tune_jobs.training import TrialContext, make_fit
from wsus.storage import open_store
from wsus.types import Mode

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.slow, pytest.mark.s3]

CONFIG = tiny("cut", modes=(Mode.WEAK,), train=replace(TRAIN, epochs=4), max_failures=3)


# The first comes in the midst of the upload of epoch 2, which goes on beside epoch 3. The second comes while epoch 2 is
# uploaded again, when Tune keeps nothing whole but the checkpoint of epoch 1. The third leaves epoch 3 without its sums.
KILLED_AT = ("checkpoint_000001/fit.pt", "checkpoint_000002/fit.pt", "checkpoint_000003/SHA256SUMS")


class Noted(Progress):
    """Counts how often each epoch was reported, and how often a trial was tried again."""

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config.trials(), config.train.epochs, 1)
        self.reports: Counter[int] = Counter()
        self.again = 0

    def reported(self, trial: Trial, result: Mapping[str, Any]) -> None:
        super().reported(trial, result)
        self.reports[result["epoch"]] += 1

    def tried_again(self, trial: Trial, error: str) -> None:
        super().tried_again(trial, error)
        self.again += 1


def kill_at(faults: Faults, keys: Sequence[str]) -> list[str]:
    """Kill the process that sends an object whose key ends so, once each; returns those that are left."""
    left = list(keys)

    def sent(method: str, path: str, client_port: int) -> bool:
        key = next((key for key in left if method == "PUT" and path.endswith(key)), None)
        if key is None:
            return False
        left.remove(key)
        (sender,) = {one.pid for one in psutil.net_connections("tcp") if one.laddr.port == client_port and one.pid}
        psutil.Process(sender).kill()
        return True

    faults.cut_where = sent
    return left


def test_trial_killed_in_the_midst_of_uploads_loses_an_epoch_each_at_most(
    s3: S3Server, s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Noted(CONFIG)
    with faulty_proxy(s3.endpoint) as (endpoint, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with ray_session(num_cpus=1):
            left = kill_at(faults, KILLED_AT)
            assert run_study(CONFIG, s3_address, noted).failures == ()
        assert left == []
        assert noted.again == len(KILLED_AT)
        assert noted.reports == {1: 1, 2: 3, 3: 2, 4: 1}
        store = open_store(s3_address)
        kept = sorted(key for key in store.keys("studies/cut/tune") if key.endswith("/fit.pt"))
        assert len(kept) == 2
        weights = torch.load(BytesIO(store.read_bytes(kept[-1])), weights_only=True)["net"]
    undisturbed = trained_here()
    assert all(torch.equal(value, weights[name]) for name, value in undisturbed.items())


def trained_here() -> dict[str, torch.Tensor]:
    """The weights after the last epoch, without Ray."""
    context = TrialContext(config=CONFIG, data=load_data(CONFIG.data, lambda _: None), boxes=None)
    fit = make_fit(context, CONFIG.trials()[0], use_device(cpus=1, gpus=0))
    for _ in fit:
        pass
    return fit.net.state_dict()
