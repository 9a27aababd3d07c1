"""The command line: `agegender COMMAND`, or `python -m agegender COMMAND` in a checkout.

`predict`, `video`, `evaluate`, `audit`, `publish`, `export`, `card`, `models`, `compare` and `bench` are
commands of the package. `app` and `train` start the programs that come with it, which have options of their
own.

Exit codes: 0 all inputs handled; 1 some inputs failed, named on standard error; 2 wrong usage or nothing to
do; 130 interrupted.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agegender.errors import AgeGenderError
from agegender.files import printable
from agegender.places import install_command
from agegender.runtime import prepare_tensorflow

if TYPE_CHECKING:
    from agegender.commands.predict import Outputs

_PROGRAMS: Final = ("app", "train")
"""Commands whose arguments go to another program as they are."""

_EXTRA_OF: Final = {"app": "app", "export": "export", "video": "video"}
"""What to install for a command that lacks a package; for all others it is "train"."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Args:
        arguments: What follows the program's name; ``None`` takes the process's own.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in _PROGRAMS:
        options = argparse.Namespace(command=given[0], arguments=given[1:])
    else:
        options = _parser().parse_args(given)
    try:
        return _dispatch(options)
    except KeyboardInterrupt:
        print(f"agegender {options.command}: interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "agegender":
            raise
        extra = _EXTRA_OF.get(options.command, "train")
        missing = f"needs the package {error.name}, which is not installed: {install_command(extra)}"
        print(f"agegender {options.command}: {missing}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (AgeGenderError, OSError) as error:
        print(printable(f"agegender {options.command}: {error}"), file=sys.stderr)
        return 2


def _dispatch(options: argparse.Namespace) -> int:  # noqa: PLR0911 - one return a command
    """Calls the subcommand; each is imported when it runs, so that help and wrong usage answer at once."""
    match options.command:
        case "predict":
            from agegender.commands import predict

            return predict.run(
                options.paths, model=options.model, chips=options.chips, outputs=_outputs(options)
            )
        case "video":
            from agegender.commands import video

            return video.run(
                options.paths, model=options.model, every=options.every, outputs=_outputs(options)
            )
        case "evaluate":
            from agegender.commands import evaluate

            return evaluate.run(
                options.data,
                model=options.model,
                split=options.split,
                detect=options.detect,
                corruptions=options.corruptions,
                limit=options.limit,
                json=options.json,
            )
        case "audit":
            from agegender.commands import audit

            return audit.run(
                options.data,
                suspects=options.suspects,
                json=options.json,
                csv=options.csv,
                pictures=options.pictures,
            )
        case "models":
            from agegender.commands import models

            return models.run(json=options.json)
        case "publish":
            from agegender.commands import publish

            return publish.run(
                runs={"age": options.age, "gender": options.gender, "both": options.both},
                recipe=options.recipe,
                data=options.data,
                name=options.name,
                title=options.title,
                notes=options.note,
                corruptions=options.corruptions,
                detect=options.detect,
                share=options.share,
                light=options.light,
                again=options.again,
                json=options.json,
            )
        case "export":
            from agegender.commands import export

            return export.run(options.model, format=options.format, output=options.output)
        case "card":
            from agegender.commands import card

            return card.run(options.name, output=options.output, data=options.data)
        case "compare":
            from agegender.commands import compare

            return compare.run(json=options.json)
        case "app":
            from agegender.commands import programs

            return programs.run_app(options.arguments)
        case "train":
            from agegender.commands import programs

            return programs.run_training(options.arguments)
        case _:
            from agegender.commands import bench

            return bench.run(json_path=options.json)


def _outputs(options: argparse.Namespace) -> Outputs:
    """Where the results of pictures and videos go."""
    from agegender.commands.predict import Outputs

    blur = options.blur is not None
    return Outputs(json=options.json, csv=options.csv, annotated=options.annotate, blur=blur)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agegender" if Path(sys.argv[0]).stem == "__main__" else "agegender",
        description="How old does a face look, and which gender is it perceived as.",
        epilog="Exit codes: 0 all inputs handled, 1 some inputs failed, 2 wrong usage or nothing to do.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="predict every face of photos")
    predict.add_argument("paths", nargs="+", metavar="PATH", help="a file, a folder or a glob")
    _add_model(predict)
    predict.add_argument("--chips", action="store_true", help="each picture is a face chip: detect nothing")
    _add_json(predict)
    predict.add_argument("--csv", metavar="FILE", type=_file, help="write one row a face")
    _add_annotate(predict)

    video = commands.add_parser("video", help="follow the people in videos, and predict each of them once")
    video.add_argument("paths", nargs="+", metavar="PATH", help="a file, a folder or a glob")
    _add_model(video)
    video.add_argument(
        "--every",
        metavar="SECONDS",
        type=_seconds,
        help="how often to look for faces (default: 0.2, or less often in videos of over an hour)",
    )
    _add_json(video)
    video.add_argument("--csv", metavar="FILE", type=_file, help="write one row a person")
    _add_annotate(video)

    evaluate = commands.add_parser("evaluate", help="measure a model on labelled face chips")
    evaluate.add_argument(
        "--data", metavar="DIR", nargs="+", help="folders of labelled faces (default: $UTKFACE_DIR)"
    )
    _add_model(evaluate)
    evaluate.add_argument(
        "--split",
        choices=("train", "validation", "test", "dev"),
        help="only this part of the data (default: all)",
    )
    seen = evaluate.add_mutually_exclusive_group()
    seen.add_argument("--detect", action="store_true", help="detect and crop each chip first")
    seen.add_argument(
        "--corruptions", action="store_true", help="also measure dark, blurred, covered and turned chips"
    )
    evaluate.add_argument("--limit", metavar="N", type=_positive, help="a random sample of N files")
    _add_json(evaluate)

    audit = commands.add_parser("audit", help="check a folder of labelled face chips before training on it")
    audit.add_argument(
        "--data", metavar="DIR", nargs="+", help="folders of labelled faces (default: $UTKFACE_DIR)"
    )
    audit.add_argument(
        "--no-model",
        dest="suspects",
        action="store_false",
        help="look for no suspicious labels, which needs TensorFlow and most of the time",
    )
    _add_json(audit)
    audit.add_argument("--csv", metavar="FILE", type=_file, help="write one row a finding, most urgent first")
    audit.add_argument(
        "--pictures", metavar="DIR", type=Path, help="write contact sheets of pairs and suspicious labels"
    )

    _add_publish(commands)
    export = commands.add_parser("export", help="write a model as one file for other runtimes")
    _add_model(export)
    export.add_argument(
        "--format", choices=("litert", "onnx"), required=True, help="for LiteRT (.tflite) or ONNX runtimes"
    )
    export.add_argument("--output", metavar="FILE", type=_file, required=True, help="write it there")

    card = commands.add_parser("card", help="show what a model is, how good, and what it is not for")
    card.add_argument("name", metavar="NAME", nargs="?", help="a model (default: the default model)")
    card.add_argument("--output", metavar="FILE", type=_file, help="write it there, as Markdown")
    card.add_argument(
        "--data", metavar="DIR", nargs="+", help="also check that these folders' split is the model's"
    )

    models = commands.add_parser("models", help="list the models")
    _add_json(models)
    compare = commands.add_parser(
        "compare", help="all models side by side, with rivals and published figures"
    )
    _add_json(compare)
    bench = commands.add_parser("bench", help="measure speed and memory on this machine")
    _add_json(bench)
    commands.add_parser("app", help="open the app; its options are those of `streamlit run`")
    commands.add_parser("train", help="train a network; `train --help` lists its options")
    return parser


def _add_publish(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    publish = commands.add_parser("publish", help="make a model of finished training runs")
    publish.add_argument(
        "--age", metavar="RUN", type=Path, help="run of the age network, a folder or its name"
    )
    publish.add_argument("--gender", metavar="RUN", type=Path, help="run of the gender network")
    publish.add_argument("--both", metavar="RUN", type=Path, help="run of one network for both")
    publish.add_argument("--recipe", metavar="NAME", help="the finished runs of a recipe, under its name")
    publish.add_argument(
        "--data", metavar="DIR", nargs="+", help="the dataset's folders (default: $UTKFACE_DIR)"
    )
    publish.add_argument("--name", metavar="NAME", help="what to call it (default: the default model's name)")
    publish.add_argument("--title", metavar="TEXT", help="one line for people")
    publish.add_argument("--note", metavar="TEXT", action="append", default=[], help="a remark for the card")
    publish.add_argument(
        "--corruptions",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure dark, blurred, covered and turned chips too (default: yes)",
    )
    publish.add_argument("--detect", action="store_true", help="measure through detection and cropping too")
    publish.add_argument(
        "--again",
        action="store_true",
        help="calibrate and measure the published model NAME anew; its weights stay",
    )
    publish.add_argument(
        "--light",
        action=argparse.BooleanOptionalAction,
        help="write the light form, which predicts without TensorFlow "
        "(default: yes; with --again only where asked for)",
    )
    publish.add_argument("--share", action="store_true", help="store layers that a pair has in common once")
    _add_json(publish)


def _add_annotate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotate", metavar="DIR", type=Path, help="write copies with boxes and labels")
    parser.add_argument(
        "--blur", choices=("faces",), help="make the faces that are found unrecognisable in these copies"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="see the models command for names and the default")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="write JSON to a file, or to standard output for -")


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, received {text!r}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds over 0, received {text!r}")
    return value


def _file(text: str) -> str:
    if text == "-":
        raise argparse.ArgumentTypeError("expected a file; only --json can write to standard output")
    return text


def run_program() -> int:
    """Settles what belongs to the process, not to the package, then runs the command."""
    # TensorFlow's C++ log reports its CPU features and missing GPUs; a command line needs neither.
    prepare_tensorflow()
    for stream in (sys.stdout, sys.stderr):
        # A file name need not be text in the terminal's encoding; showing it must not end the run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return main()


if __name__ == "__main__":
    sys.exit(run_program())
