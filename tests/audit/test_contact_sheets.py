"""Contact sheets: which pairs are drawn, and what is on the paper."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from agegender.audit.contact_sheets import DISTANCE_BANDS, Tile, distance_band, draw_sheet, sample_pairs


def test_every_distance_has_its_band():
    bits = np.arange(45)
    bands = distance_band(bits)
    for band, (low, high) in enumerate(DISTANCE_BANDS):
        assert bits[bands == band].tolist() == list(range(low, high + 1))
    assert set(bands[41:]) == {len(DISTANCE_BANDS)}


def test_the_sample_takes_so_many_of_each_band_and_repeats():
    pairs = pd.DataFrame({"bits": np.repeat(np.arange(0, 41, 4), 10), "first": np.arange(110)})
    drawn = sample_pairs(pairs, each=7)
    # The first band is 0, 4 and 8 bits, the fourth only 28.
    assert drawn["band"].value_counts().sort_index().to_dict() == dict.fromkeys(range(6), 7)
    assert drawn.loc[drawn["band"] == 0, "bits"].max() <= 8
    assert set(drawn.loc[drawn["band"] == 3, "bits"]) == {28}
    assert drawn.loc[drawn["band"] == 2, "number"].tolist() == list(range(1, 8))
    pd.testing.assert_frame_equal(drawn, sample_pairs(pairs, each=7))
    assert sample_pairs(pairs, each=7, seed=1)["first"].tolist() != drawn["first"].tolist()


def test_a_band_with_few_pairs_gives_all_it_has():
    drawn = sample_pairs(pd.DataFrame({"bits": [1, 2, 30]}), each=60)
    assert drawn[["band", "number"]].to_numpy().tolist() == [[0, 1], [0, 2], [4, 1]]


def test_a_sheet_shows_each_picture_and_words_under_it(tmp_path):
    colors = [(200, 0, 0), (0, 0, 200), (0, 160, 0)]
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, color in zip(files, colors, strict=True):
        Image.new("RGB", (200, 200), color).save(file)
    tiles = [Tile((files[0], files[1]), ("1",)), Tile((files[2], tmp_path / "missing.png"), ("2",))]
    sheet = np.asarray(draw_sheet(tiles))
    assert 900 < sheet.shape[1] <= 1000
    width = 2 * 96 + 6
    assert sheet[48, [48, 144, width + 48, width + 144]].tolist() == [*map(list, colors), [128, 128, 128]]
    words = sheet[96 : 96 + 13]
    assert (words[:, :50] < 128).any()  # ink
    assert (words[:, 50:100] == 255).all()
