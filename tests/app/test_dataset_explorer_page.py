from __future__ import annotations

from conftest import texts

PAGE = "pages/dataset_explorer.py"


def test_without_a_folder_the_page_says_how_to_get_the_dataset(open_page):
    app = open_page(PAGE)
    assert not app.exception
    assert "type the path of its folder" in app.info[0].value
    assert "https://susanqq.github.io/UTKFace/" in texts(app)


def test_a_folder_without_faces_is_named(open_page, tmp_path):
    app = open_page(PAGE)
    app.text_input(key="folder").set_value(str(tmp_path)).run()
    assert not app.exception
    assert f"`{tmp_path}`" in app.error[0].value
    assert "How to get the dataset" in texts(app)


def test_a_folder_of_faces_is_drawn_and_counted(open_page, fake_utkface):
    app = open_page(PAGE)
    app.text_input(key="folder").set_value(str(fake_utkface)).run()
    assert not app.exception
    assert not app.error
    assert len(app.get("plotly_chart")) == 4
    assert all(chart.proto.alt for chart in app.get("plotly_chart"))
    faces = sum(1 for path in fake_utkface.rglob("*.jpg.chip.jpg"))
    assert 0 < int(app.metric[0].value.replace(",", "")) <= faces


def test_the_environment_names_the_folder(open_page, fake_utkface, monkeypatch):
    monkeypatch.setenv("UTKFACE_DIR", str(fake_utkface))
    app = open_page(PAGE)
    assert app.text_input(key="folder").value == str(fake_utkface)
    assert len(app.get("plotly_chart")) == 4


def test_skipped_files_are_listed_with_the_reason(open_page, tmp_path):
    for name in ("25_0_2_20170116174525125.jpg.chip.jpg", "25_0_20170116174525125.jpg.chip.jpg"):
        (tmp_path / name).write_bytes(b"")
    app = open_page(PAGE)
    app.text_input(key="folder").set_value(str(tmp_path)).run()
    assert not app.exception
    assert app.dataframe[0].value["file"].tolist() == ["25_0_20170116174525125.jpg.chip.jpg"]
    assert app.metric[3].value == "1"
