"""Figures as pure functions: estimates and tables in, a figure out.

    faces      one face as a small drawing: its age distribution, its gender gauge
    explain    one answer: maps over the face, the distribution in full, versions of the face
    training   curves of training runs
    compare    several systems side by side
    ranges     age ranges answered for others, and what systems say of one face
    fairness   one model by group
    dataset    the labels of a dataset
    summary    people that many photos show
    audit      labels of one photo in conflict, the parts of a split side by side
    video      the people in a video
    style      what all figures share

Every figure follows the same rules, so that it can be shown anywhere:

- transparent background and no text colour of its own, so that it takes on the page's theme;
- colours that colour-blind people can tell apart, and what a colour tells is also told by a label, a dash or
  a position;
- no dragging or zooming by accident, which on a phone would swallow the scrolling;
- one sentence that says what the figure shows, for people who cannot see it: `description` reads it back.
"""

from agegender.charts.audit import gaps_by_band, label_gaps, split_shares
from agegender.charts.compare import (
    MAX_SYSTEMS,
    band_lines,
    group_points,
    reliability_diagram,
    set_lines,
    trade_off,
)
from agegender.charts.dataset import (
    age_histogram,
    ages_by_ethnicity,
    capture_days,
    ethnicity_balance,
    gender_balance,
    source_balance,
)
from agegender.charts.explain import contribution_chart, occlusion_chart, stability_chart, year_distribution
from agegender.charts.faces import Drawing, draw_answer
from agegender.charts.fairness import fairness_points
from agegender.charts.ranges import answer_ranges, range_confusion
from agegender.charts.style import description
from agegender.charts.summary import people_bars
from agegender.charts.training import MAX_RUNS, epoch_time_curve, learning_rate_curve, training_curve
from agegender.charts.video import age_over_time, people_by_band, track_timeline

__all__ = [
    "MAX_RUNS",
    "MAX_SYSTEMS",
    "Drawing",
    "age_histogram",
    "age_over_time",
    "ages_by_ethnicity",
    "answer_ranges",
    "band_lines",
    "capture_days",
    "contribution_chart",
    "description",
    "draw_answer",
    "epoch_time_curve",
    "ethnicity_balance",
    "fairness_points",
    "gaps_by_band",
    "gender_balance",
    "group_points",
    "label_gaps",
    "learning_rate_curve",
    "occlusion_chart",
    "people_bars",
    "people_by_band",
    "range_confusion",
    "reliability_diagram",
    "set_lines",
    "source_balance",
    "split_shares",
    "stability_chart",
    "track_timeline",
    "trade_off",
    "training_curve",
    "year_distribution",
]
