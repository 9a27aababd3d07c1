"""What the models learn from: the labels of a UTKFace-like folder."""

import streamlit as st

from agegender import charts
from agegender.data.table import Dataset, default_data_folder, read_dataset
from agegender.errors import DatasetError
from ui.widgets import ensure_menu, quote, show_chart

HOW_TO_GET = """
**How to get the dataset**

1. UTKFace is free for non-commercial research. Its project page,
   [susanqq.github.io/UTKFace](https://susanqq.github.io/UTKFace/), says on which terms and where to get it.
2. Take the *Aligned & Cropped Faces*, about 24,000 pictures of 200 × 200 pixels, and unpack them into a
   folder.
3. Type the folder's path above. Or name it once for the app and for training, before you start either:
"""


@st.cache_data(max_entries=2, ttl="10m", show_spinner="Reading the file names …")
def load(folder: str) -> Dataset:
    return read_dataset(folder)


def show_help() -> None:
    st.markdown(HOW_TO_GET)
    st.code("export UTKFACE_DIR=path/to/UTKFace", "bash")


def show_labels(dataset: Dataset) -> None:
    table = dataset.table
    grid = st.grid(4, min_column_width=150)
    grid.metric("Faces", f"{len(table):,}", border=True)
    grid.metric("Ages", f"{table['age'].min()} to {table['age'].max()}", border=True)
    grid.metric("Median age", f"{table['age'].median():.0f}", border=True)
    grid.metric("Skipped files", f"{len(dataset.skipped):,}", border=True)

    st.subheader("Ages by gender", help="The gender that UTKFace's annotators perceived.")
    show_chart(charts.age_histogram(table), key="ages")
    grid = st.grid(2, min_column_width=320)
    with grid.cell():
        st.subheader("Gender")
        show_chart(charts.gender_balance(table), key="genders")
        st.subheader("Ethnicity", help="The five words are the dataset's own.")
        show_chart(charts.ethnicity_balance(table), key="ethnicities")
    with grid.cell():
        st.subheader("Ages by ethnicity")
        show_chart(charts.ages_by_ethnicity(table), key="ages_by_ethnicity")

    st.subheader("Skipped files")
    if dataset.skipped.empty:
        st.success("Every file name could be read.", icon=":material/check:")
    else:
        st.markdown("Their names do not say what they should, so training and these charts leave them out.")
        st.dataframe(dataset.skipped, hide_index=True, alt="Files that were skipped, and why")


ensure_menu()
st.title("Dataset explorer")
st.markdown(
    "A model can only know the faces it was shown. Here is who they are, by the labels in their file names."
)

default = default_data_folder()
folder = st.text_input(
    "Dataset folder",
    value=str(default or ""),
    placeholder="path/to/UTKFace",
    help="A folder, on the computer where this app runs, of pictures named like UTKFace's: "
    "`[age]_[gender]_[ethnicity]_[date].jpg`.",
    key="folder",
    persist_state="session",
).strip()
if not folder:
    st.info("No dataset here yet: type the path of its folder above.", icon=":material/folder_open:")
    show_help()
    st.stop()
try:
    dataset = load(folder)
except DatasetError:
    st.error(
        f"There is no dataset in {quote(folder)}: no pictures named like UTKFace's.",
        icon=":material/folder_off:",
    )
    show_help()
    st.stop()
show_labels(dataset)
