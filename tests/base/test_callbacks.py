"""Callbacks of scikit-learn: what they see of a fit, and what they may decide."""

from __future__ import annotations

import pytest
from numpy.testing import assert_allclose

from small import small


class Counter:
    def __init__(self):
        self.names = []
        self.torn_down = False

    def setup(self, estimator, context):
        self.max_subtasks = context.max_subtasks

    def on_fit_task_begin(self, estimator, context):
        self.names.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        return False

    def teardown(self, estimator, context):
        self.torn_down = True


def test_callbacks_see_every_batch(photos):
    counter = Counter()
    small(batch_size=10).set_callbacks(counter).fit(photos.X_train)
    assert counter.names == ["fit", "batch", "batch", "batch"]
    assert counter.max_subtasks == 3
    assert counter.torn_down
    failing = Counter()
    with pytest.raises(ValueError):
        small(batch_size=10).set_callbacks(failing).fit([*photos.X_train[:12], "nowhere.png"])
    assert failing.torn_down


def test_progress_bar_of_scikit_learn(photos, capsys):
    from sklearn.callback import ProgressBar

    small(batch_size=10).set_callbacks(ProgressBar()).fit(photos.X_train)
    assert "PaDiMDetector" in capsys.readouterr().out


def test_scoring_monitor_of_scikit_learn_is_refused(photos):
    from sklearn.callback import ProgressBar, ScoringMonitor

    unfitted = small()
    for callbacks in ([ScoringMonitor(scoring=None)], [ProgressBar(), ScoringMonitor(scoring="roc_auc")]):
        with pytest.raises(
            TypeError, match="ScoringMonitor would record nothing: PaDiMDetector cannot score"
        ):
            unfitted.set_callbacks(*callbacks)
    assert not hasattr(unfitted, "_skl_callbacks")
    with pytest.raises(TypeError, match="FitCallback"):
        unfitted.set_callbacks("ScoringMonitor")
    assert unfitted.set_callbacks() is unfitted


def test_callback_that_asks_to_stop_ends_the_fit_with_the_batches_seen(photos):
    class Stopper(Counter):
        def on_fit_task_end(self, estimator, context):
            return self.names.count("batch") == 2

    stopper = Stopper()
    stopped = small(batch_size=10).set_callbacks(stopper).fit(photos.X_train)
    assert stopper.names == ["fit", "batch", "batch"]
    assert stopper.torn_down
    expected = small(batch_size=10).fit(photos.X_train[:20])
    assert_allclose(stopped.loo_scores_, expected.loo_scores_)
