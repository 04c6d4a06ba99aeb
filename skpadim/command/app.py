"""The commands and their options. What they do is in the other rooms, imported when a command runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import values
from .messages import in_words, show, status_of

_STATUS = "It ends with status 0 if all is good, 1 if there are anomalies, 2 on errors, 130 after Ctrl-C."

app = typer.Typer(
    name="skpadim",
    help=f"Learn good parts from photos, find defects, show where. {_STATUS}",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A file that 'skpadim fit' wrote.")]
Photos = Annotated[list[Path], typer.Argument(metavar="FOLDER_OR_FILES", help="Photos, or folders of them.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER")]
Batch = Annotated[int | None, typer.Option(min=1, help="Photos at a time; lower it if memory runs out.")]
Decoders = Annotated[int | None, typer.Option(help="Threads that decode photos; -1: one per processor.")]
Jobs = Annotated[int | None, typer.Option(help="Processes to share the photos; -1: one per processor.")]
Threshold = Annotated[float | None, typer.Option(help="Call photos that score higher anomalies, this once.")]
Rate = Annotated[
    float | None, typer.Option(help="Share of good photos that may be called anomalies, this once.")
]
MinArea = Annotated[int, typer.Option(min=1, help="Leave out marked regions of fewer pixels.")]
Csv = Annotated[str | None, typer.Option(metavar="FILE", help="Write verdicts as CSV; -: to stdout.")]
Json = Annotated[str | None, typer.Option(metavar="FILE", help="Write verdicts as JSON lines; -: to stdout.")]


class OnError(StrEnum):
    """What to do about a photo that cannot be read."""

    RAISE = "raise"
    SKIP = "skip"


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        show(f"skpadim {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show where errors come from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = debug


@app.command()
def fit(
    context: typer.Context,
    folder: Folder,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The model file to write: line3.skpadim.")
    ],
    name: Annotated[str | None, typer.Option(help="What to call the model. Default: as the file.")] = None,
    backbone: Annotated[str, typer.Option(help="The network.")] = "efficientnet_lite0",
    layers: Annotated[
        list[str] | None, typer.Option(help="Its layers, with commas between. Default: by the network.")
    ] = None,
    weights: Annotated[str, typer.Option(help="DEFAULT, a file of weights, or none.")] = "DEFAULT",
    image_size: Annotated[str, typer.Option(help="Photos are resized to it: 224, or HEIGHTxWIDTH.")] = "224",
    crop_size: Annotated[
        str | None, typer.Option(help="Keep only the centre after resizing: 192, or HEIGHTxWIDTH.")
    ] = None,
    resize: Annotated[
        str, typer.Option(help="Photos of another aspect: stretch, pad, or crop them to image-size.")
    ] = "stretch",
    n_channels: Annotated[str, typer.Option(help="Channels to keep: auto, all or a number.")] = "auto",
    epsilon: Annotated[str, typer.Option(help="Added to every variance: auto or a number.")] = "auto",
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of good photos that may be called anomalies.")
    ] = 0.05,
    value_range: Annotated[
        str, typer.Option(help="Values that are black and white: auto, dtype, bits or LOW,HIGH.")
    ] = "auto",
    ignore: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A mask, white where nothing counts.")
    ] = None,
    align: Annotated[
        str | None, typer.Option(help="Move parts to one place: rigid, shift, or auto, as photos tell.")
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="A photo that cannot be read ends the fit, or is left out.")
    ] = OnError.RAISE,
    groups: Annotated[
        bool,
        typer.Option("--groups", help="Photos of one day, say, are in a folder each, and left out together."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda. Default: a GPU, if there is one.")] = None,
    decoders: Decoders = None,
    decoding: Annotated[
        str,
        typer.Option(help="draft: large JPEGs are decoded to fewer pixels, faster, and scores differ a bit."),
    ] = "exact",
    jobs: Jobs = None,
    patch_stride: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pixels between patches at least: for large photos. Default: the layers' own."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos at a time, at most.")] = 32,
) -> None:
    """Learn photos of good parts, and write a model file.

    FOLDER holds the photos, or has them in train/good; with --groups in folders there.
    """
    with in_words(context.obj):
        parameters: dict[str, Any] = {
            "backbone": backbone,
            "layers": values.layers(layers or []),
            "weights": None if weights == "none" else weights,
            "image_size": values.size(image_size),
            "crop_size": values.size(crop_size),
            "resize": resize,
            "n_channels": values.n_channels(n_channels),
            "epsilon": values.number_or_auto(epsilon),
            "false_alarm_rate": false_alarm_rate,
            "value_range": values.value_range(value_range),
            "ignore": ignore,
            "align": align,
            "on_error": on_error.value,
            "random_state": seed,
            "device": device,
            "n_decoders": decoders,
            "decoding": decoding,
            "n_jobs": jobs,
            "patch_stride": patch_stride,
            "batch_size": batch_size,
        }
        from .fitting import fit as learn

        learn(folder, output, name, parameters, by_group=groups)


@app.command()
def inspect(
    context: typer.Context,
    model: Model,
    photos: Photos,
    csv: Csv = None,
    json: Json = None,
    maps: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each photo with its anomaly map over it.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(metavar="DIR", help="Write marked pixels, white.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report as HTML.")] = None,
    min_area: MinArea = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    threshold: Threshold = None,
    false_alarm_rate: Rate = None,
    batch_size: Batch = None,
    decoders: Decoders = None,
    jobs: Jobs = None,
) -> None:
    """Judge photos. Without a file to write to, verdicts are printed.

    A photo that cannot be read has the verdict "error", and the others are judged. After Ctrl-C the same
    command with --resume goes on.
    """
    with in_words(context.obj):
        from .inspecting import Wanted, set_up, tell_counts
        from .inspecting import inspect as judge
        from .photos import find_photos

        chosen = find_photos(photos, without=[folder for folder in (maps, masks) if folder is not None])
        loaded = _load(model)
        set_up(
            loaded,
            threshold=threshold,
            false_alarm_rate=false_alarm_rate,
            batch_size=batch_size,
            decoders=decoders,
            jobs=jobs,
        )
        counts = judge(loaded, chosen, Wanted(csv, json, maps, masks, report, min_area, resume=resume))
        tell_counts(counts)
        raise typer.Exit(status_of(counts))


@app.command()
def report(
    context: typer.Context,
    model: Model,
    photos: Photos,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The HTML file to write.")],
    min_area: MinArea = 1,
    threshold: Threshold = None,
    false_alarm_rate: Rate = None,
    batch_size: Batch = None,
    decoders: Decoders = None,
    jobs: Jobs = None,
) -> None:
    """Judge photos, and write a report of them, one HTML file. Folders may say what photos show."""
    with in_words(context.obj):
        from .inspecting import Wanted, set_up, tell_counts
        from .inspecting import inspect as judge
        from .photos import find_photos

        chosen = find_photos(photos)
        loaded = _load(model)
        set_up(
            loaded,
            threshold=threshold,
            false_alarm_rate=false_alarm_rate,
            batch_size=batch_size,
            decoders=decoders,
            jobs=jobs,
        )
        counts = judge(loaded, chosen, Wanted(report=output, min_area=min_area, listed=False))
        tell_counts(counts)
        show(f"Written: {output}")
        raise typer.Exit(status_of(counts))


@app.command()
def evaluate(
    context: typer.Context,
    model: Model,
    folder: Folder,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    threshold: Threshold = None,
    false_alarm_rate: Rate = None,
    batch_size: Batch = None,
    decoders: Decoders = None,
    jobs: Jobs = None,
) -> None:
    """Say how good a model is, by a folder with test/good, test/DEFECT and, if there are, masks.

    It ends with status 0 whatever it finds, and with 2 if photos could not be read.
    """
    with in_words(context.obj):
        from .evaluating import evaluate as compare
        from .evaluating import tell
        from .inspecting import set_up

        loaded = _load(model)
        set_up(
            loaded,
            threshold=threshold,
            false_alarm_rate=false_alarm_rate,
            batch_size=batch_size,
            decoders=decoders,
            jobs=jobs,
        )
        found = compare(loaded, folder)
        _show_json(found) if json else tell(found)
        raise typer.Exit(2 if found["unreadable"] else 0)


@app.command()
def threshold(
    context: typer.Context,
    model: Model,
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="Share of good photos that may be called anomalies.")
    ] = None,
    value: Annotated[float | None, typer.Option(help="An anomaly score: what scores higher is one.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here. Default: MODEL itself.")
    ] = None,
) -> None:
    """Show the threshold, or move it without learning anew."""
    with in_words(context.obj):
        from .showing import move_threshold, tell_thresholds

        loaded = _load(model)
        if false_alarm_rate is None and value is None and output is None:
            tell_thresholds(loaded)
        else:
            move_threshold(loaded, false_alarm_rate, value, output)


@app.command()
def info(
    context: typer.Context,
    model: Model,
    json: Annotated[bool, typer.Option("--json", help="Print the card, one JSON object.")] = False,
) -> None:
    """Say what a model file is: what was learned, when, by which versions, and which photos stood out."""
    with in_words(context.obj):
        from ..model_file import file_digest, has_card, read_card
        from .showing import tell_card, tell_values

        if model.suffix == ".onnx":
            from ..export import read_metadata

            said = {**read_metadata(model), "digest": file_digest(model)}
            _show_json(said) if json else tell_values(said)
            return
        card = read_card(model) if has_card(model) else _load(model).card
        digest = file_digest(model)
        if json:
            _show_json({**card, "digest": digest})
        else:
            tell_card(card)
            show(f"{'Digest':<12}{digest}")


@app.command()
def export(
    context: typer.Context,
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Ends in .onnx, or in .xml for OpenVINO's format."
        ),
    ],
    photo_size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Of the camera's photos, if all have one size. Default: any."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float32, float16 (half the size) or int8; these two need --photos.")
    ] = "float32",
    photos: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The good photos that the model learned.")
    ] = None,
) -> None:
    """Write a model as one file that decides without Python: ONNX, or OpenVINO's own format."""
    with in_words(context.obj):
        from .exporting import export_model

        export_model(_load(model), output, photo_size, precision, photos)


@app.command()
def check(
    context: typer.Context,
    model: Model,
    photos: Photos,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of good photos that may be called unusual.")
    ] = 0.01,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each photo.")] = False,
    decoders: Decoders = None,
    jobs: Jobs = None,
) -> None:
    """Say which photos do not look like those of good parts: size, light, focus, colours.

    It ends with status 1 if there are any.
    """
    with in_words(context.obj):
        from .inspecting import set_up
        from .photos import find_photos
        from .showing import check as look

        chosen = find_photos(photos)
        loaded = _load(model)
        set_up(loaded, decoders=decoders, jobs=jobs)
        raise typer.Exit(look(loaded, chosen.paths, false_alarm_rate, json))


@app.command()
def watch(
    context: typer.Context,
    model: Model,
    folder: Folder,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append verdicts to this file, as JSON lines.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Judge what is there, and end.")] = False,
    min_area: MinArea = 1,
    threshold: Threshold = None,
    false_alarm_rate: Rate = None,
    batch_size: Batch = None,
    decoders: Decoders = None,
    jobs: Jobs = None,
) -> None:
    """Judge photos as they come into a folder, until Ctrl-C.

    A file is judged when it stood still from one look to the next; what is in the verdict file already is
    not judged again after a restart.
    """
    with in_words(context.obj):
        from .inspecting import set_up, tell_counts
        from .watching import Watch
        from .watching import watch as look

        loaded = _load(model)
        set_up(
            loaded,
            threshold=threshold,
            false_alarm_rate=false_alarm_rate,
            batch_size=batch_size,
            decoders=decoders,
            jobs=jobs,
        )
        counts = look(loaded, folder, Watch(json, interval, once, min_area))
        tell_counts(counts)
        raise typer.Exit(status_of(counts))


@app.command()
def datasets(
    context: typer.Context, folder: Annotated[Path | None, typer.Argument(metavar="FOLDER")] = None
) -> None:
    """Say what is in a folder: its layout, how many photos, which defects. Without one, list the layouts."""
    with in_words(context.obj):
        from .layouts import tell_folder, tell_layouts

        tell_layouts() if folder is None else tell_folder(folder)


def _load(path: Path) -> Any:
    from ..model_file import load_model

    return load_model(path)


def _show_json(content: Any) -> None:
    import json

    show(json.dumps(content, indent=1))
