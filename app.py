"""The app's entry: page settings and navigation, nothing else. Start it with ``streamlit run app.py``."""

import streamlit as st

# Icons stand in the titles, because the browser would fetch a page's own icon from Google's servers.
page = st.navigation(
    {
        "Ask it": [
            st.Page("pages/predict.py", title=":material/familiar_face_and_zone: Predict", default=True),
            st.Page("pages/explain.py", title=":material/help: Explain"),
            st.Page("pages/compare_models.py", title=":material/leaderboard: Compare models"),
        ],
        "How it came to be": [
            st.Page("pages/training_curves.py", title=":material/show_chart: Training curves"),
            st.Page("pages/dataset_explorer.py", title=":material/dataset: Dataset explorer"),
            st.Page("pages/about.py", title=":material/info: About"),
        ],
    }
)
name = page.title.partition(": ")[2]
st.set_page_config(page_title=f"{name} · Age and gender", page_icon="ui/icon.svg", layout="wide")
page.run()
