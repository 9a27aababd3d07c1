from __future__ import annotations

from agegender.runs.comparison import ABSENT, compare_configs, flatten


def recipe(**changes) -> dict:
    stages = [{"name": "head", "epochs": 1, "frozen_blocks": "all"}, {"name": "finetune", "epochs": 8}]
    return {"task": "age", "stages": stages, "augmentation": {"flip": 0.5, "zoom": 0.1}, **changes}


def test_only_what_differs_is_listed_with_dotted_keys():
    other = recipe(
        stages=[recipe()["stages"][0], {"name": "finetune", "epochs": 12}],
        augmentation={"flip": 0.5, "zoom": 0.07500000000000001},
        seed=3,
    )
    table = compare_configs({"one": recipe(), "two": other})
    assert table.columns.tolist() == ["setting", "one", "two"]
    assert table.to_numpy().tolist() == [
        ["stages.finetune.epochs", "8", "12"],
        ["augmentation.zoom", "0.1", "0.075"],
        ["seed", ABSENT, "3"],
    ]


def test_one_recipe_can_be_listed_whole():
    table = compare_configs({"one": recipe()}, only_differences=False)
    assert table["setting"].tolist() == [
        "task",
        "stages.head.epochs",
        "stages.head.frozen_blocks",
        "stages.finetune.epochs",
        "augmentation.flip",
        "augmentation.zoom",
    ]


def test_equal_recipes_have_nothing_to_list():
    table = compare_configs({"one": recipe(), "two": recipe()})
    assert table.empty
    assert table.columns.tolist() == ["setting", "one", "two"]
    assert compare_configs({}).empty
    assert compare_configs({"one": {}, "two": {}}).empty


def test_values_become_plain_words():
    values = {
        "start": None,
        "limit": 5,
        "on": True,
        "rate": 3e-4,
        "hidden": [512, 256],
        "empty": {},
        "none": [],
    }
    table = compare_configs({"run": values}, only_differences=False)
    assert dict(zip(table["setting"], table["run"], strict=True)) == {
        "start": "none",
        "limit": "5",
        "on": "yes",
        "rate": "0.0003",
        "hidden": "512, 256",
        "empty": "none",
        "none": "none",
    }


def test_members_go_by_name_or_else_by_number_and_values_stay_as_they_are():
    nested = {"a": {"b": {"c": 1}}, "sizes": [8, 4], "none": [], "empty": {}}
    assert flatten(nested) == {"a.b.c": 1, "sizes": [8, 4], "none": [], "empty": {}}
    stages = {"stages": [{"name": "head", "epochs": 2}, {"epochs": 3}]}
    assert flatten(stages) == {"stages.head.epochs": 2, "stages.2.epochs": 3}
