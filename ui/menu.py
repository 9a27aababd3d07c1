"""The menu and the frame of every page. Streamlit runs this file anew for every click of a visitor.

It stands apart from pages/, because Streamlit takes a folder of that name beside the file that it runs for
its older kind of app, in which a link to a page opens that page without its menu.
"""

import streamlit as st

from agegender.places import PRODUCT

# Icons stand in the titles, because the browser would fetch a page's own icon from Google's servers.
MENU = {
    "Ask it": {
        "predict": ":material/familiar_face_and_zone: Predict",
        "live": ":material/videocam: Live",
        "video": ":material/movie: Video",
        "explain": ":material/help: Explain",
        "compare_models": ":material/leaderboard: Compare models",
    },
    "How it came to be": {
        "training_curves": ":material/show_chart: Training curves",
        "dataset_explorer": ":material/dataset: Dataset explorer",
        "about": ":material/info: About",
    },
}

page = st.navigation(
    {
        section: [
            st.Page(PRODUCT / "pages" / f"{name}.py", title=title, default=name == "predict")
            for name, title in pages.items()
        ]
        for section, pages in MENU.items()
    }
)
if st.session_state.get("open page") != page.url_path:
    # Streamlit carries these from page to page, but a choice that an address made only after one more click.
    st.session_state["open page"] = page.url_path
    st.session_state.pop("live state", None)  # who was before the camera; see ui/live.py
    for key in {"model", "example", "face"} & set(st.session_state):
        st.session_state[key] = st.session_state[key]
st.set_page_config(
    page_title=f"{page.title.partition(': ')[2]} · Age and gender",
    page_icon=str(PRODUCT / "ui" / "icon.svg"),
    layout="wide",
)
page.run()
