"""The command line: `agegender COMMAND`, or `python -m agegender COMMAND` in a checkout.

`predict`, `video`, `summary`, `serve`, `evaluate`, `audit`, `publish`, `export`, `card`, `models`, `compare`
and `bench` are commands of the package. `app` and `train` start the programs that come with it, which have
options of their own.

Exit codes: 0 all inputs handled; 1 some inputs failed, named on standard error; 2 wrong usage or nothing to
do; 130 interrupted.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from agegender.errors import AgeGenderError
from agegender.files import printable
from agegender.places import install_command
from agegender.runtime import prepare_tensorflow

_PROGRAMS: Final = ("app", "train")
"""Commands whose arguments go to another program as they are."""

_EXTRA_OF: Final = {
    "app": "app",
    "export": "export",
    "serve": "serve",
    "summary": "bulk",
    "video": "video",
}
"""What to install for a command that lacks a package; for all others it is "train"."""

_EXTRA_WITH: Final = {"pyarrow": "bulk", "ray": "ray"}
"""What to install for a package, whichever command lacks it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Args:
        arguments: What follows the program's name; ``None`` takes the process's own.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in _PROGRAMS:
        options: dict[str, Any] = {"command": given[0], "arguments": given[1:]}
    else:
        parser = _parser()
        parsed = parser.parse_args(given)
        if parsed.command == "predict":
            _check_predict(parser, parsed)
        options = vars(parsed)
    command = options.pop("command")
    try:
        return _dispatch(command, options)
    except KeyboardInterrupt:
        print(f"agegender {command}: interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "agegender":
            raise
        package = error.name.partition(".")[0]
        extra = _EXTRA_WITH.get(package) or _EXTRA_OF.get(command, "train")
        missing = f"needs the package {package}, which is not installed: {install_command(extra)}"
        print(f"agegender {command}: {missing}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (AgeGenderError, OSError) as error:
        print(printable(f"agegender {command}: {error}"), file=sys.stderr)
        return 2


def _dispatch(command: str, arguments: dict[str, Any]) -> int:  # noqa: PLR0912 - a branch a command
    """Calls the subcommand; each is imported when it runs, so that help and wrong usage answer at once."""
    run: Callable[..., int]
    match command:
        case "predict" if "parquet" in arguments:
            from agegender.commands.bulk import run
        case "predict":
            from agegender.commands.predict import run
        case "video":
            from agegender.commands.video import run
        case "evaluate":
            from agegender.commands.evaluate import run
        case "audit":
            from agegender.commands.audit import run
        case "models":
            from agegender.commands.models import run
        case "publish":
            from agegender.commands.publish import run
        case "export":
            from agegender.commands.export import run
        case "card":
            from agegender.commands.card import run
        case "compare":
            from agegender.commands.compare import run
        case "summary":
            from agegender.commands.summary import run
        case "serve":
            from agegender.commands.serve import run
        case "app":
            from agegender.commands.programs import run_app as run
        case "train":
            from agegender.commands.programs import run_training as run
        case _:
            from agegender.commands.bench import run
    return run(**arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agegender" if Path(sys.argv[0]).stem == "__main__" else "agegender",
        description="How old does a face look, and which gender is it perceived as.",
        epilog="Exit codes: 0 all inputs handled, 1 some inputs failed, 2 wrong usage or nothing to do.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="predict every face of photos")
    predict.add_argument("paths", nargs="*", metavar="PATH", help="a file, a folder or a glob")
    _add_model(predict)
    predict.add_argument("--chips", action="store_true", help="each picture is a face chip: detect nothing")
    _add_json(predict)
    predict.add_argument("--csv", metavar="FILE", type=_file, help="write one row a face")
    _add_annotate(predict)
    _add_many(predict)

    _add_video(commands)

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
    _add_serve(commands)
    summary = commands.add_parser("summary", help="count the people of many photos by age and gender")
    summary.add_argument("source", metavar="PARQUET_OR_JSON", help="what predict --parquet or --json wrote")
    _add_json(summary)
    commands.add_parser("app", help="open the app; its options are those of `streamlit run`")
    commands.add_parser("train", help="train a network; `train --help` lists its options")
    return parser


def _add_video(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def _add_many(predict: argparse.ArgumentParser) -> None:
    many = predict.add_argument_group("many photos")
    many.add_argument(
        "--parquet",
        metavar="DIR",
        help="write a folder of Parquet, here or at a URL; the same command again does only what it lacks",
    )
    many.add_argument(
        "--list",
        metavar="FILE",
        action="append",
        dest="lists",
        default=[],
        help="also the photos that a file names: text, one a line, or Parquet with a column path",
    )
    many.add_argument("--engine", choices=("local", "ray"), default="local", help="default: local")
    many.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster (default: one on this machine)")
    many.add_argument("--force", action="store_true", help="do all of them anew")
    many.add_argument("--quiet", action="store_true", help="no progress and no name of a photo that failed")


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="answer other programs over HTTP")
    serve.add_argument("--host", default="127.0.0.1", help="where to listen (default: this machine only)")
    serve.add_argument("--port", type=int, default=8502, help="default: 8502; 0 takes a free one")
    serve.add_argument(
        "--token-file", metavar="FILE", type=Path, help="a token that requests have to say; needed for others"
    )
    _add_model(serve)


def _check_predict(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the program where options of predict do not go together, and takes those away that say nothing."""
    ray = options.engine == "ray"
    many = options.lists or options.force or options.quiet or ray
    if not (options.paths or options.lists):
        parser.error("the following arguments are required: PATH")
    if options.parquet is None and many:
        parser.error("--list, --engine, --force and --quiet go with --parquet DIR")
    if options.address and not ray:
        parser.error("--address is that of a Ray cluster: say --engine ray")
    if options.parquet is not None and (options.json or options.csv or options.annotate):
        parser.error("--parquet is an output of its own: no --json, --csv or --annotate beside it")
    unused = (
        ("parquet", "lists", "engine", "address", "force", "quiet")
        if options.parquet is None
        else ("json", "csv", "annotate", "blur")
    )
    for name in unused:
        delattr(options, name)


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
    publish.add_argument(
        "--sets",
        metavar="DIR",
        nargs="+",
        default=[],
        help="measure on other sources too, on the part that each keeps for it; with no run and no --again "
        "only that is done to the model NAME",
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
