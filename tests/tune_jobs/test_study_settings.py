"""Settings by their path: a name without its path is told where it stands."""

import pytest

from tune_jobs.recipes import make_config
from tune_jobs.settings import with_setting
from wsus.errors import ConfigError, UnknownNameError


def test_a_name_without_its_path_is_told_the_whole_path() -> None:
    config = make_config("quick", {})
    with pytest.raises(ConfigError, match=r"'internal_per_class' here; did you mean 'data\.splits\.internal_per_class'\?"):
        with_setting(config, "internal_per_class", "5")
    with pytest.raises(ConfigError, match=r"did you mean .*'train\.epochs'.*'segmenter\.epochs'"):
        with_setting(config, "epochs", "5")
    with pytest.raises(ConfigError, match=r"did you mean 'data\.splits\.folds'"):
        with_setting(config, "splits.folds", "5")
    with pytest.raises(UnknownNameError, match=r"unknown setting 'trian'\. Did you mean 'train'"):
        with_setting(config, "trian", "5")
    assert with_setting(config, "data.splits.internal_per_class", "5").data.splits.internal_per_class == 5


@pytest.mark.parametrize(("path", "value"), [("per_backbone.resnet34.lr", "fast"), ("per_backbone.resnet34.width", "true")])
def test_a_word_where_a_number_belongs_is_no_traceback(path: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"setting '{path}' is a number, for instance [\d.]+; got"):
        with_setting(make_config("quick", {}), path, value)
