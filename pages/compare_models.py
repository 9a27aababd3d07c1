"""All models side by side: their figures, what they cost, whom they fail, and their answers for one photo."""

import streamlit as st

from agegender.errors import ModelError
from ui import compare, side_by_side
from ui.session import PRIVACY, choose_photo, choose_photos
from ui.widgets import show_failure


def show_charts(comparison: compare.Comparison) -> None:
    figure = compare.show_trade_off(comparison)
    st.subheader("Side by side")
    chosen, order = compare.choose_systems(comparison), compare.order_of(comparison)
    if chosen:
        compare.show_by_group(chosen, figure, order)
        compare.show_calibration(chosen, order)
        compare.show_sets(comparison, chosen, order)
    else:
        st.info("Choose a system to see its charts.", icon=":material/compare:")


def show_answers(comparison: compare.Comparison) -> None:
    st.subheader("Ask all of them about one photo")
    st.caption(PRIVACY)
    photos = choose_photos()
    models = [entry["name"] for entry in comparison["models"] if entry["trained"]]
    if not photos:
        st.info(
            "Drop a photo above, or switch the example on: every system then answers for the same face.",
            icon=":material/familiar_face_and_zone:",
        )
        return
    try:
        side_by_side.ask_all(choose_photo(photos), models)
    except ModelError as error:
        show_failure(error)


st.title("Compare models")
try:
    comparison = compare.find_comparison()
except ModelError as error:
    show_failure(error)
    st.stop()
trained = [entry for entry in comparison["models"] if entry["trained"]]
if comparison["n"]:
    waiting = len(comparison["models"]) - len(trained)
    st.markdown(
        "What each idea is worth, measured on the same "
        f"{comparison['n']:,} faces of UTKFace, which took part in no training, not even as copies."
        + (f" {len(trained)} of {len(comparison['models'])} models are trained." if waiting else "")
    )
else:
    st.info("No model is trained and measured here yet. The table says what to run.")
compare.show_leaderboard(comparison)
if trained:
    show_charts(comparison)
    compare.show_confusion(comparison)
compare.show_published(comparison)
if trained:
    show_answers(comparison)
