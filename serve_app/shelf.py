"""The models of one predictor: loaded beside each other, tested before they answer, swapped without a gap.

A version that an alias names is fetched, verified and tested on the bundle's own images while the older one answers;
only then is it put in its place, by one assignment. A version that fails is refused, named, and not tried again until
the alias moves; the older one goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from joblib import cpu_count

from serve_app.exchange import Answer, MeasuredPoint, Question, Refusal, Role, ServedModel, ShelfStatus, Unseen
from serve_app.explaining import answer_of, interval
from serve_app.metrics import Metrics
from serve_app.settings import ServeSettings
from wsus.data.roi import CropConfig
from wsus.errors import BundleError, ImageError, StoreError, WsusError
from wsus.inference.crops import NetworkInput
from wsus.inference.predict import Predictor
from wsus.inference.self_test import self_test
from wsus.models.bundle import ModelCard, read_bundle
from wsus.models.registry import PRODUCTION, Rollout, bundle_key, model_name, read_rollout
from wsus.models.signing import read_public_keys, verify_model
from wsus.models.sites import SiteProfile, read_profiles
from wsus.storage import SUMS, Store
from wsus.storage.files import digest_of
from wsus.types import Prediction, Split

_log = logging.getLogger(__name__)
LoadPredictor = Callable[[Path], Predictor]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    model: ServedModel
    predictor: Predictor
    card: ModelCard
    sites: Mapping[str, SiteProfile] = field(default_factory=dict)

    def profile(self, question: Question) -> SiteProfile | None:
        """That of the question's site; None where it names none."""
        return None if question.site is None else self.sites[question.site]

    def knows(self, question: Question) -> bool:
        """Whether it has a profile for the question's site, where it names one."""
        return question.site is None or question.site in self.sites


@dataclass(frozen=True, kw_only=True, slots=True)
class _Standing:
    """What answers at one moment; replaced as a whole, so that a batch never sees half a swap."""

    primary: _Loaded
    canary: _Loaded | None = None
    canary_share: float = 0.0
    shadow: _Loaded | None = None

    @property
    def all(self) -> list[_Loaded]:
        return [item for item in (self.primary, self.canary, self.shadow) if item is not None]

    @property
    def crops(self) -> tuple[CropConfig, ...]:
        """Each once; most often one."""
        return tuple(dict.fromkeys(item.card.crop for item in self.all))


class ModelShelf:
    """The versions behind one alias of one model.

    load: from a bundle's folder to a predictor that has passed its self-test; raises BundleError otherwise.
    signers: a file of public keys, one of which must have signed each version; None where anybody may publish.

    Raises:
        ConfigError: the keys cannot be read.
    """

    def __init__(
        self,
        store: Store,
        name: str | None,
        metrics: Metrics,
        *,
        load: LoadPredictor,
        alias: str = PRODUCTION,
        signers: str | None = None,
    ) -> None:
        self._signers = None if signers is None else read_public_keys(Path(signers))
        self._store, self._metrics, self._load, self._alias = store, metrics, load, alias
        self._name = model_name(store, name)
        self._refused: dict[int, str] = {}
        self._bad_sites: dict[int, str] = {}
        self._refreshing = threading.Lock()
        self._shadows = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._shadow_busy = threading.Semaphore(2)
        self._standing = self._first()

    def refresh(self) -> None:
        """Look where the alias points now, and swap what has changed; what goes wrong leaves things as they are."""
        with self._refreshing:
            try:
                rollout = read_rollout(self._store, self._name, alias=self._alias)
            except (StoreError, BundleError) as error:
                self._metrics.gauge("wsus_store_unreachable", 1)
                _log.warning("the alias cannot be read, so that the versions stay as they are: %s", error)
                return
            self._metrics.gauge("wsus_store_unreachable", 0)
            self._forget_refused(rollout)
            self._take(rollout)

    def answer(self, questions: Sequence[Question]) -> list[Answer | Refusal | Unseen]:
        """Predict a batch, in its order; an image that cannot be answered does not fail its neighbours."""
        standing = self._standing
        crops = standing.crops
        seen = [place for place, question in enumerate(questions) if all(question.view(crop) for crop in crops)]
        known = [place for place in seen if standing.primary.knows(questions[place])]
        answers: dict[int, Answer | Refusal] = {place: _no_such_site(standing.primary) for place in seen}
        answers |= zip(known, self._answered(standing, [questions[place] for place in known]), strict=True)
        return [answers.get(place, Unseen(crops=crops)) for place in range(len(questions))]

    def record(self, answers: Sequence[Answer | Refusal | Unseen]) -> None:
        """Count what `answer` said of a batch; apart from it, so that nobody waits for the counting."""
        answered = [item for item in answers if isinstance(item, Answer)]
        for model in dict.fromkeys(item.model for item in answered):
            mine = [item for item in answered if item.model == model]
            version, role = str(model.version), model.role
            self._metrics.observe("wsus_inference_seconds", mine[0].infer_ms / 1000, version=version)
            self._metrics.observe("wsus_batch_images", len(mine))
            for item in mine:
                self._metrics.observe("wsus_pom", item.model_pom, version=version, role=role)
                if item.ood_score is not None and item.ood_threshold is not None and item.ood_score > item.ood_threshold:
                    self._metrics.count("wsus_unlike_training", version=version, role=role)

    def status(self) -> ShelfStatus:
        """What is loaded, and what was refused."""
        bad = [*sorted(self._refused.items()), *sorted(self._bad_sites.items())]
        standing = self._standing
        return ShelfStatus(
            models=tuple(item.model for item in standing.all),
            crops=standing.crops,
            refused=tuple(f"{self._name} {version}: {reason}" for version, reason in bad),
            sites={item.model.version: tuple(item.sites.values()) for item in standing.all},
        )

    @property
    def callers(self) -> int:
        """How many threads may well ask at once (`wsus.inference.engines.engine.Engine`)."""
        return self._standing.primary.predictor.engine.callers

    def cards(self) -> dict[int, dict[str, object]]:
        """The cards of the loaded versions with their site profiles, as JSON values."""
        return {
            item.model.version: item.card.to_json() | {"sites": [profile.to_json() for profile in item.sites.values()]}
            for item in self._standing.all
        }

    def close(self) -> None:
        """Let the shadow end."""
        self._shadows.shutdown(wait=True, cancel_futures=True)

    def _first(self) -> _Standing:
        """Raises BundleError or StoreError where the primary cannot be loaded: then there is nothing to answer with."""
        rollout = read_rollout(self._store, self._name, alias=self._alias)
        primary = self._loaded(rollout.primary, "primary")
        self._standing = _Standing(primary=primary)
        self._take(rollout)
        return self._standing

    def _take(self, rollout: Rollout) -> None:
        held = {item.model.version: item for item in self._standing.all}
        primary = self._place(rollout.primary, "primary", held) or self._standing.primary
        canary = self._place(rollout.canary, "canary", held)
        shadow = self._place(rollout.shadow, "shadow", held)
        before = {(item.model.version, item.model.role): item for item in self._standing.all}
        self._standing = _Standing(primary=primary, canary=canary, canary_share=rollout.canary_share, shadow=shadow)
        self._report_loaded(before)

    def _place(self, version: int | None, role: Role, held: dict[int, _Loaded]) -> _Loaded | None:
        if version is None or version in self._refused:
            return None
        if version in held:
            one = held[version]
            return replace(one, model=replace(one.model, role=role), sites=self._sites(version, one.model.digest, one.sites))
        try:
            return self._loaded(version, role)
        except StoreError as error:  # says nothing of the version: it is tried again at the next look
            self._metrics.gauge("wsus_store_unreachable", 1)
            _log.warning("%s %s cannot be fetched now, so that the versions stay as they are: %s", self._name, version, error)
            return None
        except WsusError as error:
            self._refused[version] = str(error)
            self._metrics.gauge("wsus_model_refused", 1, version=str(version))
            _log.error("%s %s is refused as %s: %s", self._name, version, role, error)
            return None

    def _loaded(self, version: int, role: Role) -> _Loaded:
        with TemporaryDirectory(prefix="wsus-model-") as folder:
            fetched = self._store.fetch(bundle_key(self._name, version), Path(folder) / "bundle")
            if self._signers is not None:
                verify_model(self._store, self._name, version, digest_of(fetched / SUMS), self._signers)
            predictor = self._load(fetched)
        card = predictor.card
        if card.mode.value != "weak":
            raise BundleError(
                f"{self._name} {version}: its mode is {card.mode.value}, but only weak models are served: no region"
            )
        model = ServedModel(
            name=self._name,
            version=version,
            digest=predictor.digest,
            role=role,
            engine=predictor.engine_name,
            mode=card.mode.value,
            backbone=card.net.backbone,
            measured=measured_point(card),
        )
        return _Loaded(model=model, predictor=predictor, card=card, sites=self._sites(version, predictor.digest, {}))

    def _sites(self, version: int, digest: str, before: Mapping[str, SiteProfile]) -> Mapping[str, SiteProfile]:
        """The profiles of a version as they stand now; those of `before` where one cannot be used."""
        try:
            found = read_profiles((self._store, self._name, version), digest)
        except (StoreError, BundleError) as error:
            if self._bad_sites.get(version) != str(error):
                _log.warning("the site profiles of %s %s cannot be read anew: %s", self._name, version, error)
            self._bad_sites[version] = str(error)
            return before
        self._bad_sites.pop(version, None)
        return found

    def _forget_refused(self, rollout: Rollout) -> None:
        """A version that no alias names any more may be tried again when one names it once more."""
        named = {rollout.primary, rollout.canary, rollout.shadow}
        for version in set(self._refused) - named:
            del self._refused[version]
            self._metrics.gauge("wsus_model_refused", 0, version=str(version))

    def _report_loaded(self, before: dict[tuple[int, Role], _Loaded]) -> None:
        now = {(item.model.version, item.model.role): item for item in self._standing.all}
        for items, value in ((before.keys() - now.keys(), 0.0), (now.keys(), 1.0)):
            for version, role in items:
                digest = (now if value else before)[(version, role)].model.digest[:12]
                self._metrics.gauge("wsus_model_loaded", value, version=str(version), role=role, digest=digest)
        for version, role in now.keys() - before.keys():
            _log.info("%s %s answers as %s", self._name, version, role)

    def _answered(self, standing: _Standing, questions: Sequence[Question]) -> list[Answer | Refusal]:
        canary = standing.canary
        by_canary = [
            canary is not None and question.share < standing.canary_share and canary.knows(question) for question in questions
        ]
        answers: dict[int, Answer | Refusal] = {}
        for loaded, wanted in ((standing.primary, False), (canary, True)):
            places = [place for place, chosen in enumerate(by_canary) if chosen is wanted]
            if loaded is not None and places:
                answers |= dict(zip(places, self._ask(loaded, [questions[place] for place in places]), strict=True))
        ordered = [answers[place] for place in range(len(questions))]
        if standing.shadow is not None and questions:
            self._let_shadow_see(standing.shadow, questions, ordered)
        return ordered

    def _ask(self, loaded: _Loaded, questions: Sequence[Question]) -> list[Answer | Refusal]:
        start = time.perf_counter()
        found = self._predictions(loaded, questions)
        made = [
            item if isinstance(item, Refusal) else answer_of(item, question, loaded.model, 0.0, loaded.profile(question))
            for item, question in zip(found, questions, strict=True)
        ]
        infer_ms = 1000 * (time.perf_counter() - start)
        return [replace(item, infer_ms=infer_ms) if isinstance(item, Answer) else item for item in made]

    def _predictions(self, loaded: _Loaded, questions: Sequence[Question]) -> list[Prediction | Refusal]:
        inputs = [_input(question, loaded.card.crop) for question in questions]
        explain = [question.explain for question in questions]
        try:
            return list(loaded.predictor.predict_inputs(inputs, explain, [loaded.profile(question) for question in questions]))
        except ImageError as error:
            if len(questions) == 1:
                return [Refusal(reason="unusable_image", detail=str(error))]
        return [item for question in questions for item in self._predictions(loaded, [question])]

    def _let_shadow_see(self, shadow: _Loaded, questions: Sequence[Question], answers: Sequence[Answer | Refusal]) -> None:
        if not self._shadow_busy.acquire(blocking=False):
            self._metrics.count("wsus_shadow_dropped")
            return
        poms = [answer.model_pom if isinstance(answer, Answer) else None for answer in answers]
        asked = [replace(question, cam="none", site=None) for question in questions]
        self._shadows.submit(self._shadow, shadow, asked, poms)

    def _shadow(self, shadow: _Loaded, questions: Sequence[Question], poms: Sequence[float | None]) -> None:
        try:
            answers = self._ask(shadow, questions)
            self.record(answers)
            for item, pom in zip(answers, poms, strict=True):
                if isinstance(item, Answer) and pom is not None:
                    difference = abs(item.pom - pom)
                    self._metrics.observe("wsus_shadow_difference", difference, version=str(shadow.model.version))
        except Exception:  # noqa: BLE001  nobody waits for a shadow: its failure is for the log
            _log.exception("the shadow %s failed; the answers are not touched", shadow.model.version)
        finally:
            self._shadow_busy.release()


def _input(question: Question, crop: CropConfig) -> NetworkInput:
    view = question.view(crop)
    assert view is not None
    return NetworkInput(image_id=question.image_id, pixels_HW=view.pixels_HW, geometry=view.geometry)


def _no_such_site(loaded: _Loaded) -> Refusal:
    known = ", ".join(loaded.sites) or "none: `wsus calibrate --for SITE` makes one"
    model = loaded.model
    return Refusal(
        reason="no_such_site", detail=f"site: {model.name} {model.version} has no profile of this name; it has {known}"
    )


def measured_point(card: ModelCard) -> MeasuredPoint | None:
    """Sensitivity and specificity from the card, external set first, where they were measured at its operating point."""
    for split in (Split.EXTERNAL, Split.INTERNAL, Split.DEVELOPMENT):
        figures = card.figures.get(split.value)
        if figures and figures.get("operating_point") == card.operating_point:
            sensitivity, specificity = figures["sensitivity"], figures["specificity"]
            return MeasuredPoint(
                split=split.value,
                sensitivity=sensitivity["value"],
                sensitivity_ci=interval(sensitivity["ci"]),
                specificity=specificity["value"],
                specificity_ci=interval(specificity["ci"]),
            )
    return None


def loader(settings: ServeSettings) -> LoadPredictor:
    """How a predictor is made from a bundle's folder, and tested before it answers."""

    device = "cuda" if settings.num_gpus > 0 else "cpu"
    threads = settings.threads or max(1, cpu_count() // settings.max_replicas)

    def load(folder: Path) -> Predictor:
        bundle = read_bundle(folder)
        predictor = Predictor(bundle, device=device, batch_size=settings.max_batch_size, engine=settings.engine, threads=threads)
        self_test(predictor)
        return predictor

    return load
