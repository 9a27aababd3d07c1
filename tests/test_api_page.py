"""docs/api.md is what the docstrings say."""

from tools.write_api_page import PAGE, api_page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == api_page(), "run python -m tools.write_api_page"
