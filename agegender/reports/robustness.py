"""docs/robustness.md: what was tried to break the package, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agegender.faces.condition import CONDITION_WARNINGS
from agegender.reports.markdown import table, wrap

Figures = Mapping[str, Any]


def report(measured: Mapping[str, Figures]) -> str:
    """Writes the report as Markdown.

    Args:
        measured: What the commands wrote with ``--json``: of `tools.fuzz` "fuzz", of `tools.fuzz.limits`
            "limits", of `tools.once.measure_conditions` "conditions", of `tools.bench_turned` "turned", of
            `tools.visitors` "visitors" and of `tools.kills` "kills".

    Returns:
        The text.
    """
    return "\n\n".join([_opening(), *(write(measured[name]) for name, write in _SECTIONS.items())]) + "\n"


def _opening() -> str:
    return "# What was tried to break it\n\n<!-- written by python -m agegender.reports; do not edit -->"


def _hostile(fuzz: Figures) -> str:
    bounds, faults = fuzz["bounds"], fuzz["faults"]
    words = wrap(
        f"""{fuzz["inputs"]:,} damaged files were given to everything that reads one: good files of every
        format and feature with wrong lengths, sizes and types in their headers, cut, spliced, joined with
        others, and documents with values of other kinds, nested too deep or of numbers without end. Each has
        to be read or refused with a typed error, and a file of under {bounds["file_bytes"] / 1e6:g} MB that
        states at most {bounds["stated_pixels"] / 1e6:g} megapixels within {bounds["seconds"]:g} seconds and
        1 GB."""
    )
    rows = [
        (
            name,
            f"{figures['inputs']:,}",
            f"{figures.get('accepted', 0):,}",
            f"{figures.get('refused', 0):,}",
            f"{figures.get('faults', 0):,}",
            f"{figures['slowest_seconds']:.2f}",
        )
        for name, figures in sorted(fuzz["targets"].items(), key=lambda item: -item[1]["inputs"])
    ]
    header = ("files", "tried", "read", "refused", "faults", "slowest, seconds")
    memory = wrap(
        f"""Seconds are the processor's. No process that read {fuzz["shard"]:,} of them, one after another,
        held more than {fuzz["peak_memory_mb"]:,} MB. Faults: {len(faults) or "none"}. Again, or further:
        `python -m tools.fuzz --inputs N --folder DIR`; it goes on where it stopped. The gate tries 5,000
        each time, and every file that was a fault once (`tests/regressions`)."""
    )
    return f"## Hostile files\n\n{words}\n\n{table(header, rows)}\n\n{memory}"


def _limits(limits: Figures) -> str:
    words = wrap(
        f"""Beyond these bounds up to {limits["accepted_pixels"] / 1e6:g} megapixels are accepted. So much
        took a picture of that size (BMP: of the 200 MiB that a file may have) in each format, read in a
        process of its own, and predicted by `agegender predict` with all that this loads. Pillow's copy
        takes four bytes a pixel, the upright RGB three more; what lies between is done some rows at a time.
        Pictures of over 30 megapixels are decoded one at a time, however many threads read. Seconds are the
        processor's."""
    )
    rows = [
        (
            name,
            f"{figures['pixels'] / 1e6:.0f}",
            f"{figures['file_mb']:.1f}",
            f"{figures['seconds']:.1f}",
            f"{figures['peak_memory_mb']:,}",
            f"{figures['predicted']['seconds']:.1f}",
            f"{figures['predicted']['peak_memory_mb']:,}",
        )
        for name, figures in limits["formats"].items()
    ]
    header = ("format", "megapixels", "file, MB", "read in, s", "peak, MB", "predicted in, s", "peak, MB")
    return f"## The largest pictures\n\n{words}\n\n{table(header, rows)}"


def _conditions(conditions: Figures) -> str:
    words = wrap(
        """Faces that can hardly be seen, or are none, still get an answer, with a warning. How many of the
        chips of each kind are warned about:"""
    )
    rows = [
        (name, f"{figures['n']:,}", *(f"{100 * figures[word]:.1f} %" for word in CONDITION_WARNINGS))
        for name, figures in conditions["chips"].items()
    ]
    header = ("chips", "tried", *CONDITION_WARNINGS)
    return f"## Faces that cannot be judged\n\n{words}\n\n{table(header, rows)}"


def _turned(turned: Figures) -> str:
    words = wrap(
        """Faces that lie on their side or stand on their head are looked for where a photo shows no upright
        face that is sure, and are cropped upright. Pictures of one face each were shown upright and turned.
        Of those found upright, so many are answered, cropped as the upright ones are, answered in another way
        without a warning, and so often age is off by over 10 years or gender another than upright. *Before*
        is the same detector without that look."""
    )
    rows = []
    for name, figures in turned["faces"].items():
        for degrees in ("90", "180", "270"):
            for title, when in (("before", "before"), ("now", "after")):
                shares = [f"{100 * share:.1f} %" for share in figures[when][degrees].values()]
                rows.append((f"{name}, {degrees}°, {title}", *shares))
    header = ("faces", "answered", "cropped upright", "otherwise, no warning", "age off", "gender other")
    upright = wrap(
        "Upright faces, before and now: "
        + "; ".join(
            f"{name}, {figures['n']} pictures: {_share(figures, 'answered')} answered, "
            f"{_share(figures, 'warned')} with a warning, {_share(figures, 'turned by mistake')} turned by "
            "mistake"
            for name, figures in turned["faces"].items()
        )
        + "."
    )
    cost, photos = turned["without_faces"], turned["without_faces"]["photos"]
    more = sum(row["faces_after"] - row["faces_before"] for row in photos.values())
    sizes: dict[str, list[Figures]] = {}
    for name, row in photos.items():
        sizes.setdefault(name.rpartition(", ")[2], []).append(row)
    most = "; ".join(
        f"of {size}, {max(row['ratio'] for row in rows):.2f} times at most, "
        f"{max(row['ms_after'] - row['ms_before'] for row in rows):.0f} ms"
        for size, rows in sizes.items()
    )
    time = wrap(
        f"""{len(photos)} pictures without a face took {cost["median_ratio"]:.2f} times the processor time of
        before in the median; {most} more. In these {more or "no"} more faces were seen than before."""
    )
    return "\n\n".join(("## Faces that are not upright", words, table(header, rows), upright, time))


def _share(figures: Figures, name: str) -> str:
    before, after = (100 * figures[when]["upright"][name] for when in ("before", "after"))
    return f"{before:.1f} and {after:.1f} %"


def _visitors(met: Figures) -> str:
    waited, memory, turns = met["seconds_waited"], met["memory_mb"], met["photos_a_visitor"]
    words = wrap(
        f"""{met["visitors"]} visitors, each with a connection like a browser's, uploaded photos of seven
        faces, waited for the answers, asked why now and then, looked at other pages, and had their photos
        forgotten, for {met["seconds"]} seconds on {met["machine"]["cores"]} cores: {met["answered"]:,} photos
        were answered and {met["pages_seen"]:,} other pages shown, with {len(met["errors"]) or "no"} errors.
        Half of the answers came within {waited["median"]:.0f} seconds, nineteen in twenty within
        {waited["percentile_95"]:.0f}; whoever was served least got {turns["least"]} photos answered, most
        {turns["most"]}. The server held {memory["before"]:,} MB before, {memory["a_third"]:,} MB after a
        third of the time, {memory["two_thirds"]:,} MB after two thirds, {memory["end"]:,} MB at the end and
        {memory["after"]:,} MB after all had left; {memory["after_in_files"]:,} MB of these are files mapped
        into it, TensorFlow's libraries above all, without which nobody can ask why. Again:
        `python -m tools.visitors`; ten visitors come in the gate."""
    )
    return f"## Many visitors at once\n\n{words}"


def _kills(kills: Figures) -> str:
    rows = [
        (name, f"{count:,}", f"{kills['in_time'][name]:,}", f"{kills['seconds_a_work'][name]:.1f}")
        for name, count in kills["kills"].items()
    ]
    words = wrap(
        f"""Small pieces of work got SIGKILL at a random moment of the time that they take. What lay there
        afterwards had to be whole, and the same work, done once more, had to end as if nothing had happened.
        Faults: {len(kills["faults"]) or "none"}. Again: `python -m tools.kills`; ten are in the gate."""
    )
    header = ("work", "kills", "still at work then", "seconds it takes")
    return f"## Killed at random moments\n\n{words}\n\n{table(header, rows)}"


_SECTIONS: Final = {
    "fuzz": _hostile,
    "limits": _limits,
    "conditions": _conditions,
    "turned": _turned,
    "visitors": _visitors,
    "kills": _kills,
}
MEASURED: Final = tuple(_SECTIONS)
"""Names of what `report` is about, which are those of the files in docs/measurements."""
