"""skops files: what goes through them, what they may hold, and what is refused."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from torchvision.models import get_model

from skpadim import CNNFeatureTransformer, PaDiMDetector, PatchGaussian, RandomChannelSelector
from skpadim.persistence import TRUSTED_TYPES

skops_io = pytest.importorskip("skops.io")
skops_exceptions = pytest.importorskip("skops.io.exceptions")

LAYERS = ("features.2", "features.4")


def photos(n_images, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n_images, 32, 32, 3), dtype=np.uint8)


def small_detector(backbone="squeezenet1_0", **params):
    defaults = {"weights": None, "image_size": 32, "n_channels": 9, "false_alarm_rate": 0.2}
    return PaDiMDetector(backbone, LAYERS, **(defaults | params))


def small_pipeline():
    features = CNNFeatureTransformer("squeezenet1_0", layers=LAYERS, weights=None, image_size=(32, 32))
    steps = [("cnn", features), ("channels", RandomChannelSelector(9)), ("gaussian", PatchGaussian(sigma=2))]
    return Pipeline(steps).set_params(gaussian__false_alarm_rate=0.2)


FIT = """
import joblib, numpy as np, sys
from skpadim import PaDiMDetector
photos = np.load("photos.npy")
joblib.dump(PaDiMDetector(image_size=64, n_channels=9).fit(photos), "fitted.joblib")
assert "torchvision" not in sys.modules
"""
SCORE = """
import joblib, numpy as np, sys
np.save("scores.npy", joblib.load(sys.argv[1]).score_samples(np.load("photos.npy")))
assert "torchvision" not in sys.modules
"""


def run(script, folder, *arguments):
    search = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=[small_detector, small_pipeline])
def fitted(request):
    return request.param().fit(photos(12))


@pytest.fixture(scope="module")
def detector():
    return small_detector().fit(photos(12))


def state_dict_file(folder):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        torch.save(get_model("squeezenet1_0", weights=None).state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def test_own_types_are_all_there_is_to_trust(fitted):
    found = set(skops_io.get_untrusted_types(data=skops_io.dumps(fitted)))
    assert found <= set(TRUSTED_TYPES)
    assert ("skpadim.detector.PaDiMDetector" in found) == (not isinstance(fitted, Pipeline))
    assert set(TRUSTED_TYPES) == {
        "skpadim.alignment.aligner.PartAligner",
        "skpadim.channels.RandomChannelSelector",
        "skpadim.detector.PaDiMDetector",
        "skpadim.projections.PCAChannelReducer",
        "skpadim.projections.SemiOrthogonalProjection",
        "skpadim.features.CNNFeatureTransformer",
        "skpadim.gaussian.PatchGaussian",
    }


def test_loaded_estimator_is_the_one_dumped(fitted):
    loaded = skops_io.loads(skops_io.dumps(fitted), trusted=TRUSTED_TYPES)
    assert_array_equal(loaded.decision_function(photos(3, 1)), fitted.decision_function(photos(3, 1)))
    assert repr(loaded.get_params()) == repr(fitted.get_params())
    last = loaded[-1] if isinstance(loaded, Pipeline) else loaded
    last.set_false_alarm_rate(0.5)
    refitted = clone(loaded).fit(photos(12))
    assert_array_equal(refitted.score_samples(photos(3, 1)), fitted.score_samples(photos(3, 1)))


def test_scores_are_equal_bit_for_bit_in_a_fresh_process(fitted, tmp_path):
    skops_io.dump(fitted, tmp_path / "detector.skops")
    np.save(tmp_path / "photos.npy", photos(3, seed=1))
    script = f"""
import numpy as np, skops.io, torch
from skpadim.persistence import TRUSTED_TYPES
torch.set_num_threads({torch.get_num_threads()})
detector = skops.io.load("detector.skops", trusted=TRUSTED_TYPES)
np.save("scores.npy", detector.decision_function(np.load("photos.npy")))
"""
    run(script, tmp_path)
    assert_array_equal(np.load(tmp_path / "scores.npy"), fitted.decision_function(photos(3, seed=1)))


def test_the_default_never_needs_torchvision(tmp_path):
    """Neither its fit nor its file does: importing torchvision takes longer than a first photo."""
    np.save(tmp_path / "photos.npy", photos(22))
    run(FIT, tmp_path)
    run(SCORE, tmp_path, "fitted.joblib")
    detector = joblib.load(tmp_path / "fitted.joblib")
    assert_allclose(np.load(tmp_path / "scores.npy"), detector.score_samples(photos(22)), rtol=1e-5)


def test_the_file_of_a_network_of_torchvision_needs_no_torchvision(detector, tmp_path):
    np.save(tmp_path / "photos.npy", photos(3, 1))
    joblib.dump(detector, tmp_path / "detector.joblib")
    run(SCORE, tmp_path, "detector.joblib")
    assert_allclose(np.load(tmp_path / "scores.npy"), detector.score_samples(photos(3, 1)), rtol=1e-5)


def test_files_without_a_graph_are_read(detector):
    """Earlier versions wrote them: the network is traced again."""
    features = copy.deepcopy(detector.pipeline_["features"])
    del features.trunk_graph_
    old = pickle.loads(pickle.dumps(features))
    assert old.trunk_graph_ is None
    for found, level in zip(
        old.transform(photos(3)).levels,
        detector.pipeline_["features"].transform(photos(3)).levels,
        strict=True,
    ):
        assert_array_equal(found, level)


def test_changed_graph_is_refused(detector):
    changed = pickle.loads(pickle.dumps(detector))
    changed.pipeline_["features"].trunk_graph_ = "[]"
    with pytest.raises(ValueError, match="trunk_graph_ describes no network"):
        changed.score_samples(photos(3))


def test_paths_and_devices_come_back_as_strings(tmp_path):
    path = state_dict_file(tmp_path)
    detector = small_detector(
        weights=path, device=torch.device("cpu"), random_state=np.random.RandomState(3)
    ).fit(photos(12))
    expected = detector.score_samples(photos(3, 1))
    path.unlink()
    loaded = skops_io.loads(skops_io.dumps(detector), trusted=TRUSTED_TYPES)
    assert (loaded.weights, loaded.device) == (str(path), "cpu")
    assert_array_equal(loaded.score_samples(photos(3, 1)), expected)
    assert detector.weights == path and detector.device == torch.device("cpu"), "dumping changes nothing"
    joblib.dump(detector, tmp_path / "detector.joblib")
    assert joblib.load(tmp_path / "detector.joblib").weights == str(path)


def test_memory_goes_through_as_a_path(tmp_path):
    """So does a joblib.Memory, which is of types that are not ours to trust."""
    detector = small_detector(memory=tmp_path / "features").fit(photos(12))
    loaded = skops_io.loads(skops_io.dumps(detector), trusted=TRUSTED_TYPES)
    assert loaded.memory == str(tmp_path / "features")
    data = skops_io.dumps(small_detector(memory=joblib.Memory(tmp_path)))
    assert skops_io.loads(data, trusted=TRUSTED_TYPES).memory == str(tmp_path)


def test_modules_of_earlier_versions_are_refused(tmp_path):
    """They were traced anew from a module and weights apart."""
    with torch.random.fork_rng(devices=[]):
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    detector = PaDiMDetector(module, ["0"], image_size=32).fit(photos(20))
    detector.pipeline_["features"].trunk_arrays_ = {"0.weight": np.zeros(3)}
    joblib.dump(detector, tmp_path / "detector.joblib")
    with pytest.raises(ValueError, match=r"backbone Sequential: an earlier version .* fit again"):
        joblib.load(tmp_path / "detector.joblib")


def test_unfitted_detector_goes_through():
    loaded = skops_io.loads(skops_io.dumps(small_detector()), trusted=TRUSTED_TYPES)
    assert loaded.get_params() == small_detector().get_params()


def test_networks_given_as_modules_are_refused():
    with torch.random.fork_rng(devices=[]):
        network = get_model("squeezenet1_0", weights=None)
    with pytest.raises(Exception):  # noqa: B017 - which one is skops's affair
        skops_io.loads(skops_io.dumps(small_detector(network).fit(photos(5))), trusted=TRUSTED_TYPES)


def rewritten(data, change):
    """Return a skops file whose schema went through a function."""
    rewritten = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(rewritten, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "schema.json":
                schema = json.loads(content)
                change(schema)
                content = json.dumps(schema).encode()
            target.writestr(name, content)
    return rewritten.getvalue()


def nodes(schema, loader):
    """Return all nodes of a schema that a loader of skops reads."""
    found = []
    if isinstance(schema, dict):
        found = [schema] if schema.get("__loader__") == loader else []
    children = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return found + [node for child in children for node in nodes(child, loader)]


def test_unchanged_schema_is_read(detector):
    data = rewritten(skops_io.dumps(detector), lambda schema: None)
    loaded = skops_io.loads(data, trusted=TRUSTED_TYPES)
    assert_array_equal(loaded.score_samples(photos(3, 1)), detector.score_samples(photos(3, 1)))


# The detector, and within its pipeline_ the Pipeline and the three steps.
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("name", ["subprocess.Popen", "torch.nn.modules.linear.Linear", "skpadim.Elsewhere"])
def test_swapped_types_are_refused(detector, place, name):
    def swap(schema):
        objects = nodes(schema, "ObjectNode")
        assert len(objects) == 5
        objects[place]["__module__"], objects[place]["__class__"] = name.rsplit(".", 1)

    data = rewritten(skops_io.dumps(detector), swap)
    with pytest.raises(skops_exceptions.UntrustedTypesFoundException, match=name):
        skops_io.loads(data, trusted=TRUSTED_TYPES)


# Within pipeline_ the Pipeline and the three steps: by types that are trusted, too.
@pytest.mark.parametrize("place", range(1, 5))
@pytest.mark.parametrize(
    "name", ["skpadim.projections.SemiOrthogonalProjection", "sklearn.linear_model._base.LinearRegression"]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_steps_of_other_trusted_types_are_refused(detector, place, name):
    def swap(schema):
        node = nodes(schema, "ObjectNode")[place]
        node["__module__"], node["__class__"] = name.rsplit(".", 1)

    data = rewritten(skops_io.dumps(detector), swap)
    with pytest.raises(ValueError, match="somebody changed the file"):
        skops_io.loads(data, trusted=TRUSTED_TYPES)


def test_functions_put_in_place_of_a_parameter_are_refused(detector, tmp_path):
    """A file that would make a folder when loaded."""
    trap = tmp_path / "trap"
    argument = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "is_json": True}
    call = {
        "__class__": "mkdir",
        "__module__": "os",
        "__loader__": "ConstructorFromReduceNode",
        "content": {
            "__class__": "tuple",
            "__module__": "builtins",
            "__loader__": "TupleNode",
            "content": [argument | {"content": json.dumps(str(trap)), "__id__": 1}],
            "__id__": 2,
        },
        "__id__": 3,
    }

    def swap(schema):
        parameters = nodes(schema, "DictNode")[0]["content"]
        assert "weights" in parameters
        parameters["weights"] = call

    data = rewritten(skops_io.dumps(detector), swap)
    with pytest.raises(skops_exceptions.UntrustedTypesFoundException, match=r"os\.mkdir"):
        skops_io.loads(data, trusted=TRUSTED_TYPES)
    assert not trap.exists()
    skops_io.loads(data, trusted=[*TRUSTED_TYPES, "os.mkdir"])
    assert trap.exists(), "the trap works: it is the list that stops it"


def test_file_of_a_newer_format_is_refused_in_words(detector, monkeypatch):
    monkeypatch.setattr("skpadim.base.state.FORMAT_VERSION", (7, 3))
    data = skops_io.dumps(detector)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"saved in format 7\.3; .* Upgrade skpadim"):
        skops_io.loads(data, trusted=TRUSTED_TYPES)
