"""What the models learn from: who is in the dataset, how it was labelled, and what training makes of it."""

import streamlit as st

from ui.augmentation import show_augmentation
from ui.dataset import choose_source
from ui.dataset_audit import show_audit
from ui.dataset_gallery import browse
from ui.dataset_labels import show_distribution
from ui.dataset_split import show_split
from ui.state import linked
from ui.widgets import ensure_menu

SECTIONS = {
    "distribution": (":material/bar_chart: Distribution", show_distribution),
    "browse": (":material/photo_library: Browse", browse),
    "audit": (":material/fact_check: Audit", show_audit),
    "augmentation": (":material/auto_fix_high: Augmentation", show_augmentation),
    "split": (":material/call_split: Split", show_split),
}

ensure_menu()
st.title("Dataset explorer")
st.markdown(
    "A model can only know the faces it was shown. Here is who they are, by the labels in their file names, "
    "and how far those labels can be trusted."
)
source = choose_source()
section = linked(
    st.segmented_control,
    "Show",
    list(SECTIONS),
    name="section",
    key="dataset_section",
    default="distribution",
    required=True,
    format_func=lambda name: SECTIONS[name][0],
    label_visibility="collapsed",
    wrap=True,
)
SECTIONS[section][1](source)
