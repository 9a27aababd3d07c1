"""docs/audit.md: what the audit found in UTKFace, and what somebody saw who looked at its contact sheets."""

from __future__ import annotations

from typing import Any, Final

from agegender.labels import AGE_BAND_NAMES, ETHNICITIES, GENDERS, say_span
from agegender.reports.markdown import table, wrap

_FEW: Final = 50
_TIMES: Final = {"2": "twice", "3": "three times", "4": "four times", "5": "five times"}

Figures = dict[str, Any]


def report(audit: Figures, by_eye: Figures) -> str:
    """Writes the report as Markdown.

    Args:
        audit: What `python -m agegender audit --json` wrote: of a dataset with duplicates, with suspects.
        by_eye: Counts of a look at the contact sheets.

    Returns:
        The text.
    """
    sections = (
        _opening(audit),
        _files(audit),
        _duplicates(audit),
        _threshold(audit, by_eye),
        _conflicts(audit),
        _floor(audit),
        _suspects(audit, by_eye),
        _balance(audit),
        _rerun(audit),
    )
    return "\n\n".join(_wrap(section) for section in sections) + "\n"


def _opening(audit: Figures) -> str:
    noise, suspects, duplicates = audit["label_noise"], audit["suspects"], audit["duplicates"]
    return f"""# The data, audited

<!-- written by python -m agegender.reports; do not edit -->

What `python -m agegender audit` found in the UTKFace folder that this project's models are trained and
tested on: {audit["files"]:,} aligned and cropped face chips. In short:

- **{duplicates["photos"]:,} photos are there more than once**, so that {duplicates["redundant"]:,} files are
  redundant. All files of such a photo are kept in one part of the split.
- **Their copies were labelled anew, and the labels differ**: by {noise["age_gap"]["value"]:.1f} years on
  average, and in gender for {_percent(noise["gender_differs"])} of pairs. On such labels no model's mean
  absolute error can be below about {noise["age_floor_reweighted"]["value"]:.1f} years, nor its gender
  accuracy above about {_percent(noise["gender_ceiling"])}.
- **{suspects["files"]:,} labels do not fit their face.** A look at the first ones says that most are wrong.
- Names that are no labels: {len(audit["damaged_names"])}. Unreadable files: {len(audit["unreadable"])}.
  Pictures of nothing: {len(audit["no_picture"])}.
- Ages are far from even: {_share(audit["balance"]["band"], "26-35")} of the faces are labelled 26 to 35
  years, {_share(audit["balance"]["band"], "76+")} over 75."""


def _files(audit: Figures) -> str:
    damaged = audit["damaged_names"]
    names = table(("file", "what is wrong"), ((f"`{e['file']}`", e["reason"]) for e in damaged))
    size, most = max(audit["sizes"]["pixels"].items(), key=lambda item: item[1])
    weight, days = audit["sizes"]["bytes"], list(audit["dates"]["by_day"])
    modes = " and ".join(audit["sizes"]["modes"])
    return f"""## Files

**Damaged names.** A name holds the labels: `[age]_[gender]_[ethnicity]_[date].jpg.chip.jpg`. These do not
follow the rule:

{names}

They take no part in anything. For some a label could be guessed, but so few faces are not worth a guess.

**Unreadable files**: {_named(audit["unreadable"])}.

**Sizes**: {most:,} of {audit["labelled"]:,} are {size.replace("x", "×")} pixels, {modes}. Files have
{weight["least"] / 1000:.1f} to {weight["most"] / 1000:.1f} kB, half of them under
{weight["median"] / 1000:.1f} kB.

**Pictures of nothing**, whose brightness hardly changes: {_named(audit["no_picture"])}. They stay where they
are: whoever removes test files after looking at them changes what is measured. Chips that show an eye or a
barcode do have structure; some of them turn up among the suspicious labels below.

**Dates** in names are from {days[0]} to {days[-1]}, on {len(days)} days; {audit["dates"]["undated"]:,} files
have none. They say when a file was collected, not when its photo was taken."""


def _duplicates(audit: Figures) -> str:
    duplicates, split = audit["duplicates"], audit["split"]
    by_copies = duplicates["photos_by_copies"].items()
    copies = ", ".join(f"{photos:,} {_TIMES.get(times, f'{times} times')}" for times, photos in by_copies)
    return f"""## The same photo, more than once

Files are compared in two ways: by their bytes (SHA-256), and by a difference hash, which says for 16×16
places whether the picture gets brighter to the right. Re-encoding, scaling and small shifts hardly change it,
and the hash of the mirrored picture follows from it. Files whose hashes differ in at most
{duplicates["threshold_bits"]} of the 256 bits, mirrored or not, are taken for one photo.

- {duplicates["identical_pairs"]:,} pairs of files are identical, {duplicates["near_pairs"]:,} more are near.
- {duplicates["photos"]:,} photos are in {duplicates["files"]:,} files: {copies}.
- If every photo were there once, there would be {duplicates["redundant"]:,} files less.

**What we do.** All files of a photo go to the same part of the split, which is decided by content
(`agegender/data/split.py`): {split["train"]:,} for training, {split["validation"]:,} for validation,
{split["test"]:,} for testing. Photos that straddle: {split["straddling_groups"]}. The split's hash is
`{split["hash"]}`."""


def _threshold(audit: Figures, by_eye: Figures) -> str:
    duplicates, alike = audit["duplicates"], by_eye["look_alikes"]
    across = by_eye["same_photo_across_splits_by_bits"]
    limit = duplicates["threshold_bits"]
    rows = []
    for band, seen in by_eye["pairs_by_bits"].items():
        low, high = (int(end) for end in band.split("-"))
        # Identical files were not drawn: they need no look.
        pairs = _within(duplicates["pairs_by_bits"], low, high)
        pairs -= duplicates["identical_pairs"] if low == 0 else 0
        counts = [seen[key] for key in ("shown", "same_photo", "same_person", "different", "unsure")]
        rows.append((say_span(band), f"{pairs:,}", *counts))
    header = ("bits apart", "pairs", "looked at", "same photo", "same person only", "other people", "unsure")
    near, far = by_eye["pairs_by_bits"]["25-28"], by_eye["pairs_by_bits"]["29-32"]
    return f"""## Why {limit} bits

Pairs of files, identical ones left out, were drawn at random from each range of distances and looked at side
by side, without their labels:

{table(header, rows)}

The counts are of one look by eye, by whoever wrote the audit: at 96 pixels a chip, and at full size where
that left a doubt. `--pictures` draws the same pairs again, numbered (seed {by_eye["sample_seed"]}), for
anybody to check.

Up to {limit} bits every pair looked at is one photo. There is a gap in the distances just there: only
{_within(duplicates["pairs_by_bits"], limit - 1, limit + 4)} pairs are {limit - 1} to {limit + 4} bits apart,
while {_within(duplicates["pairs_by_bits"], 33, 40):,} are 33 to 40 apart, nearly all of them strangers. The
labels agree with that: those of far copies do not differ more than those of identical files (next section),
as they would if strangers were among them.

**What {limit} bits miss.** From 25 to 28 bits {near["same_photo"]} of {near["shown"]} pairs are still one
photo, from 29 to 32 bits {far["same_photo"]} of {far["shown"]}. A photo that was cropped differently or
painted over can be farther apart than strangers are. So the {alike["shown"]} pairs outside the groups that
look most alike to the face-recognition base were looked at too: {alike["same_photo"]} are one photo,
{alike["same_person"]} two photos of one person, {alike["different"]} different people, {alike["unsure"]}
unsure. Of the pairs that are one photo, {across["25-28"]} up to 28 bits, {across["29-32"]} up to 32 bits and
{alike["same_photo_across_splits"]} of the look-alikes (some are the same pairs) lie in two parts of the
split; {alike["same_photo_in_training_and_test"]} of the look-alikes in training and test. That is well under
one in a hundred of the {audit["split"]["test"]:,} test files: a model that had learned all of these by heart
would gain a few hundredths of a year. The limit stays, because a higher one would average the labels of strangers and move files
of a split that published figures were measured on."""


def _conflicts(audit: Figures) -> str:
    conflicts, noise, photos = audit["conflicts"], audit["label_noise"], audit["duplicates"]["photos"]
    percentiles = conflicts["age_gap_percentiles"]
    return f"""## Labels in conflict

Of the {photos:,} photos with copies, {conflicts["photos_age_differs"]:,} have more than one age:
{conflicts["photos_over_5_years"]:,} differ by more than 5 years, {conflicts["photos_over_10_years"]:,} by
more than 10. {conflicts["photos_gender_differs"]:,} have both genders, and
{conflicts["photos_ethnicity_differs"]:,} more than one ethnicity. Over all {noise["pairs"]:,} pairs of
copies:

- ages are {noise["age_gap"]["value"]:.1f} years apart on average ({_interval(noise["age_gap"], ".1f")}); the
  median is {percentiles["p50"]:.0f} years, one pair in ten is {percentiles["p90"]:.0f} or more apart, the
  worst {percentiles["p100"]:.0f};
- {_percent(noise["over5"])} are more than 5 years apart, {_percent(noise["over10"])} more than 10;
- gender differs in {_percent(noise["gender_differs"])}, ethnicity in {_percent(noise["ethnicity_differs"])}.

{_gaps("bits apart", conflicts["by_distance"])}

**What we do.** In training, all copies of a photo take one label: the mean of their ages, and the gender that
most of them have; where genders are even, the photo teaches no gender (`resolve_conflicts` in
`agegender/training/targets.py`). In validation and test every label stays as it is, right or wrong, so that
figures can be compared with other people's."""


def _floor(audit: Figures) -> str:
    noise = audit["label_noise"]
    least, most = noise["age_floor_bounds"]
    plain, reweighted, ceiling = (
        noise[name] for name in ("age_floor", "age_floor_reweighted", "gender_ceiling")
    )
    return f"""## The floor under every model

A model gives a photo one answer, and cannot please two labels that differ. Let *a* and *b* be independent
labels of one photo, *m* the median of the labels it could have got, which is the best answer there is, and
*D* the mean of |*a* − *b*|. The least mean absolute error is then the mean of |*a* − *m*|:

- for Gaussian errors *D* / √2, **{plain["value"]:.2f} years** ({_interval(plain, ".2f")}), and
  **{reweighted["value"]:.2f} years** ({_interval(reweighted, ".2f")}) if each age band counts as often as it
  occurs in the dataset, not as often as it is copied;
- whatever the errors, at least *D* / 2 = {least:.2f} years, because |*a* − *b*| ≤ |*a* − *m*| + |*b* − *m*|,
  and at most *D* = {most:.2f} years, because no other answer, *b* included, is nearer to *a* on average.

For gender, let two labels differ with probability *p*, and let each photo be mislabelled with the same
probability *e*. Then *p* = 2 *e* (1 − *e*), and the best accuracy is 1 − *e*:
**{_percent(ceiling)}** ({_interval(ceiling, ".1%")}). If all doubt sits in a few photos that nobody can tell,
it is lower, down to {_share_of(noise["gender_ceiling_least"])}.

Figures in brackets are 95 % bootstrap intervals over photos. This assumes that the labels of copies are
independent and that photos with copies are like the others. UTKFace's labels began as a model's estimates
that people checked, so copies may share an error: the true floor is more likely higher than lower.

By the mean of a pair's two ages, which puts the largest disagreements in the middle:

{_gaps("age", noise["by_band"])}"""


def _suspects(audit: Figures, by_eye: Figures) -> str:
    suspects, conflicts = audit["suspects"], audit["conflicts"]
    model, found, split = suspects["model"], suspects["conflicting_photos_found"], suspects["by_split"]
    keys = ("shown", "wrong_label", "no_face", "plausible_or_unclear")
    looked = table(
        ("rank", "looked at", "label is wrong", "no face", "plausible or unclear"),
        ((say_span(ranks), *(row[key] for key in keys)) for ranks, row in by_eye["suspects_by_rank"].items()),
    )
    return f"""## Suspicious labels

A network that was trained on a photo has learned its label and does not doubt it. So features come from the
frozen face-recognition base (`weights/mobilenet-vggface2`), which never saw UTKFace, and ridge regressions on
top learn the labels in five folds: each file is predicted by what was learned on the other four, with all
copies of a photo in one fold. On files it has not seen, this model has a mean absolute error of
{model["age_mae"]:.2f} years and a gender accuracy of {_share_of(model["gender_accuracy"])}; its intervals,
from the errors of files of about the same predicted age, hold {_share_of(model["interval_coverage"])} of the
labels.

- An **age** is suspicious where the label is at least 5 years from the prediction, and at least twice as far
  as the interval reaches on that side: {suspects["age"]:,} files.
- A **gender** is suspicious where the other one has a probability of 98 % or more: {suspects["gender"]:,}
  files.

Together these are {suspects["files"]:,} files, {suspects["both"]} of them for both reasons:
{split["train"]:,} in training, {split["validation"]:,} in validation, {split["test"]:,} in test. They are
ranked by how rare so large a deviation is. By eye:

{looked}

So a suspicion is a reason to look, not a verdict. And the list is far from complete: of the
{conflicts["photos_gender_differs"]} photos whose copies have both genders, so that a label must be wrong,
{found["gender"]} have a suspect in gender; of the {conflicts["photos_over_10_years"]} whose ages differ by
more than 10 years, {found["over_10_years"]} have one in age.

**What we do.** Nothing by itself; `--csv` lists the files for whoever wants to look. Taking out of validation
and test what a model disagrees with would make figures look better, and models no better."""


def _balance(audit: Figures) -> str:
    cells = {(c["band"], c["gender"], c["ethnicity"]): c["files"] for c in audit["balance"]["cells"]}
    rows = []
    for band in AGE_BAND_NAMES:
        for gender in GENDERS:
            counts = [cells[band, gender, ethnicity] for ethnicity in ETHNICITIES]
            rows.append((f"{say_span(band)}, {gender}", *(f"{n:,}" for n in (*counts, sum(counts)))))
    totals = [audit["balance"]["ethnicity"][name] for name in ETHNICITIES]
    rows.append(("all", *(f"{n:,}" for n in (*totals, sum(totals)))))
    few = sum(count < _FEW for count in cells.values())
    genders = " and ".join(f"{_share(audit['balance']['gender'], name)} {name}" for name in GENDERS)
    return f"""## Balance

By the dataset's own labels, {genders}. Files by age band and gender, and by ethnicity:

{table(("age, gender", *ETHNICITIES, "all"), rows)}

Of these {len(cells)} cells {few} have fewer than {_FEW} files. About one in ten of these is in the test
split, too few to measure anything there.

**What we do.** Training can give rare ages and genders more weight (`balance` in a recipe), and cards give
figures by group with intervals, which say how few faces they rest on."""


def _rerun(audit: Figures) -> str:
    run = audit["run"]
    return f"""## Run it again

    python -m agegender audit --data DIR --json agegender/assets/audit.json \\
        --csv findings.csv --pictures SHEETS
    python -m agegender.reports

The audit took {run["cpu_seconds"]:.0f} seconds of processor time; by the clock {run["seconds"]:.0f} seconds
on {run["cores"]} cores, which other programs were using too. `--no-model` looks for no suspicious labels and
needs no TensorFlow. The sheets of `--pictures` show people's faces: they are for looking at and belong in no
repository."""


def _wrap(section: str) -> str:
    """Fills paragraphs and list items; headings, tables, code and comments stay as they are."""
    blocks = []
    for block in section.split("\n\n"):
        if block.startswith("- "):
            items = f"\n{block}".split("\n- ")[1:]
            blocks.append("\n".join(wrap(item, "- ", "  ") for item in items))
        elif block.startswith(("#", "|", "    ", "<!--")):
            blocks.append(block)
        else:
            blocks.append(wrap(block))
    return "\n\n".join(blocks)


def _gaps(what: str, rows: dict[str, Figures]) -> str:
    header = (what, "pairs", "mean age difference (years)", "gender differs")
    lines = (
        (say_span(name), f"{row['pairs']:,}", f"{row['age_gap']:.1f}", _share_of(row["gender_differs"]))
        for name, row in rows.items()
    )
    return table(header, lines)


def _named(entries: list[dict[str, str]]) -> str:
    return ", ".join(f"`{entry['file']}`" for entry in entries) or "none"


def _within(by_bits: dict[str, int], low: int, high: int) -> int:
    return sum(count for bits, count in by_bits.items() if low <= int(bits) <= high)


def _percent(estimate: Figures) -> str:
    return _share_of(estimate["value"])


def _share_of(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def _share(counts: dict[str, int], name: str) -> str:
    return f"{counts[name] / sum(counts.values()):.0%}".replace("%", " %")


def _interval(estimate: Figures, form: str) -> str:
    return f"{estimate['low']:{form}} to {estimate['high']:{form}}".replace("%", " %")
