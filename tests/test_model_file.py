"""Model files: what goes through them, what they say, and what is refused in words."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn.linear_model
from numpy.testing import assert_array_equal
from sklearn.callback import ProgressBar

from skpadim.model_file import describe, file_digest, has_card, load_model, read_card, save_model
from skpadim.persistence import TRUSTED_TYPES
from small import small

skops_io = pytest.importorskip("skops.io")


@pytest.fixture
def path(detector, tmp_path):
    path = tmp_path / "line3.skpadim"
    save_model(detector, path, card={"name": "line 3"}, thumbnails={"training/000.jpg": b"a picture"})
    return path


def rewritten(path, change):
    """Put the entries of a model file through a function: name and content, None to leave it out."""
    with zipfile.ZipFile(path) as file:
        entries = [(name, change(name, file.read(name))) for name in file.namelist()]
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries:
            if content is not None:
                file.writestr(name, content)


def with_card(path, **changes):
    def change(name, content):
        return json.dumps(json.loads(content) | changes) if name == "card.json" else content

    rewritten(path, change)


def test_the_detector_is_the_one_saved(detector, photos, path):
    model = load_model(path)
    assert_array_equal(model.detector.score_samples(photos.X_test), detector.score_samples(photos.X_test))
    assert model.card["name"] == "line 3" and model.thumbnails() == {"training/000.jpg": b"a picture"}
    assert model.path == path and model.digest == file_digest(path)
    assert read_card(path) == model.card and has_card(path)


def test_skops_itself_reads_the_file(detector, photos, path):
    loaded = skops_io.load(path, trusted=TRUSTED_TYPES)
    assert_array_equal(loaded.loo_scores_, detector.loo_scores_)


def test_the_digest_is_that_of_other_programs(path):
    import hashlib

    assert file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_card_says_what_the_detector_knows(photos):
    detector = small(image_size=(64, 72), crop_size=(56, 48), false_alarm_rate=0.1).fit(photos.X_train)
    card = json.loads(json.dumps(describe(detector)))
    assert (card["network"], card["layers"]) == ("resnet18", ["layer1", "layer2"])
    assert card["resize"] == "stretch"
    assert card["decoding"] == "exact"
    assert (card["image_size"], card["crop_size"], card["n_channels"]) == ([64, 72], [56, 48], 12)
    assert (card["n_photos"], card["threshold"], card["false_alarm_rate"]) == (30, -detector.offset_, 0.1)
    order = np.argsort(-detector.loo_scores_, kind="stable")
    assert [row["index"] for row in card["training"]] == detector.loo_indices_[order].tolist()
    assert [row["loo_score"] for row in card["training"]] == detector.loo_scores_[order].tolist()
    detector.set_threshold(-detector.offset_ / 2)
    assert describe(detector)["false_alarm_rate"] is None
    assert describe(detector.set_false_alarm_rate(0.2))["false_alarm_rate"] == 0.2


def test_callbacks_and_memory_stay_out_of_the_file(photos, tmp_path):
    detector = small(memory=tmp_path / "features").fit(photos.X_train)
    detector.set_callbacks(ProgressBar())
    save_model(detector, tmp_path / "m.skpadim")
    assert load_model(tmp_path / "m.skpadim").detector.memory is None
    assert detector.memory == tmp_path / "features", "saving changes nothing"
    skops_io.dump(detector.set_callbacks(), tmp_path / "m.skops")
    assert load_model(tmp_path / "m.skops").detector.memory is None


def test_cards_are_read_without_torch(path):
    script = f"""
import sys
from skpadim.model_file import read_card
print(read_card({str(path)!r})["name"], "torch" in sys.modules, "numpy" in sys.modules)
"""
    command = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert run.stdout == "line 3 False False\n", run.stderr


def test_files_of_skops_and_joblib_are_read_too(detector, photos, tmp_path):
    skops_io.dump(detector, tmp_path / "m.skops")
    joblib.dump(detector, tmp_path / "m.joblib")
    models = [load_model(tmp_path / "m.skops")]
    with pytest.warns(UserWarning, match="runs whatever program is in it"):
        models.append(load_model(tmp_path / "m.joblib"))
    for model in models:
        assert_array_equal(model.detector.loo_scores_, detector.loo_scores_)
        assert model.card["network"] == "resnet18" and model.card["name"] is None
        assert "created" not in model.card, "nobody knows when it was fitted"
        assert model.thumbnails() == {} and not has_card(model.path)
    with pytest.raises(ValueError, match="holds no card"):
        read_card(tmp_path / "m.skops")


def test_a_failed_save_leaves_the_file_before(detector, photos, path, tmp_path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"'elsewhere/0\.jpg' must begin with 'training/'"):
        save_model(detector, path, thumbnails={"elsewhere/0.jpg": b""})
    with pytest.raises(TypeError):
        save_model(detector, path, card={"name": object()})
    with pytest.raises(ValueError, match="there is no folder"):
        save_model(detector, tmp_path / "nowhere" / "m.skpadim")
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_network_of_ones_own_cannot_be_written(photos, tmp_path):
    import torch
    from torchvision.models import get_model

    with torch.random.fork_rng(devices=[]):
        network = get_model("resnet18", weights=None)
    detector = small(backbone=network).fit(photos.X_train)
    with pytest.raises(Exception):  # noqa: B017 - which one is skops's affair
        save_model(detector, tmp_path / "m.skpadim")
    assert not list(tmp_path.iterdir())


def test_an_untrusted_type_is_refused_in_words(path):
    def swap(name, content):
        if name != "schema.json":
            return content
        return content.replace(b'"RandomChannelSelector"', b'"Popen"').replace(
            b'"skpadim.channels"', b'"subprocess"'
        )

    rewritten(path, swap)
    with pytest.raises(ValueError, match=r"is refused, and nothing of it was run: .*subprocess\.Popen"):
        load_model(path)


def test_another_estimator_is_refused(tmp_path):
    fitted = sklearn.linear_model.LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    skops_io.dump(fitted, tmp_path / "m.skpadim")
    with pytest.raises(ValueError, match="holds a LinearRegression; expected"):
        load_model(tmp_path / "m.skpadim")
    skops_io.dump(small(), tmp_path / "m.skpadim")
    with pytest.raises(ValueError, match="not fitted"):
        load_model(tmp_path / "m.skpadim")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("read", [load_model, read_card])
def test_a_file_that_was_cut_off_is_refused(path, share, read):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"line3\.skpadim' is cut off, damaged or no model file; expected"):
        read(path)


@pytest.mark.parametrize("read", [load_model, read_card])
def test_flipped_bytes_are_noticed(path, read):
    content = bytearray(path.read_bytes())
    place = content.rfind(b"training/000.jpg", 0, content.rfind(b"PK\x01\x02"))
    content[place + 20] ^= 0xFF
    path.write_bytes(content)
    if read is load_model:
        with pytest.raises(ValueError, match="damaged"):
            read(path)


@pytest.mark.parametrize("read", [load_model, read_card])
def test_other_files_are_refused(tmp_path, read):
    (tmp_path / "notes.txt").write_text("no model")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("card.json", "{}")
    for name, words in (
        ("notes.txt", "no model file"),
        ("other.zip", "a zip without a detector"),
        ("absent.skpadim", "there is no such file"),
        ("", "it is a folder"),
    ):
        with pytest.raises(ValueError, match=words):
            read(tmp_path / name)


@pytest.mark.parametrize("read", [load_model, read_card])
@pytest.mark.parametrize(
    ("written", "words"),
    [(2, r"of format 2, .* reads formats up to 1\. Upgrade skpadim"), ("x", "damaged"), (None, "damaged")],
)
def test_a_newer_format_is_refused_in_words(path, read, written, words):
    with_card(path, format=written)
    with pytest.raises(ValueError, match=words):
        read(path)


def test_a_card_that_is_no_json_is_refused(path):
    rewritten(path, lambda name, content: b"{" if name == "card.json" else content)
    with pytest.raises(ValueError, match="its card is no JSON"):
        read_card(path)
