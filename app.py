"""The app. Start it with ``streamlit run app.py``: Streamlit finds the server below and serves ui/menu.py."""

import runpy
from pathlib import Path

import streamlit as st

from ui.server import middleware, service_routes, warmed_up

MENU = Path(__file__).parent / "ui" / "menu.py"

if __name__ == "__main__":  # run as a script, without a server of its own, as streamlit.testing does
    runpy.run_path(str(MENU), run_name="__main__")
else:
    app = st.App(MENU, routes=service_routes(), middleware=middleware(), lifespan=warmed_up)
