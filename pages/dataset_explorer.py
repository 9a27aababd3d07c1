"""What the models learn from: who is in the dataset, how it was labelled, and what training makes of it."""

import streamlit as st

from ui.augmentation import show_augmentation
from ui.dataset import choose_source
from ui.dataset_audit import show_audit
from ui.dataset_gallery import browse
from ui.dataset_labels import show_distribution
from ui.dataset_split import show_split
from ui.widgets import choose_one

SECTIONS = {
    "Distribution": show_distribution,
    "Browse": browse,
    "Audit": show_audit,
    "Augmentation": show_augmentation,
    "Split": show_split,
}

st.title("Dataset explorer")
st.markdown(
    "A model can only know the faces it was shown. Here is who they are, by the labels in their file names, "
    "and how far those labels can be trusted."
)
source = choose_source()
section = choose_one("Show", SECTIONS, key="section", label_visibility="collapsed", wrap=True)
SECTIONS[section](source)
