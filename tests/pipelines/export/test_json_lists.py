import json

from pipelines.export.json_lists import JsonLists


def test_lists_grow_in_any_order_and_end_up_in_one_object(tmp_path):
    lists = JsonLists(tmp_path, ("images", "annotations"))
    lists.append("annotations", {"id": 1})
    lists.append("images", {"name": "café"})
    lists.append("annotations", {"id": 2})
    path = lists.finish({"info": {"description": "é"}})
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "info": {"description": "é"},
        "images": [{"name": "café"}],
        "annotations": [{"id": 1}, {"id": 2}],
    }


def test_a_list_that_stays_empty_is_there(tmp_path):
    path = JsonLists(tmp_path, ("images", "annotations")).finish({"info": {}})
    assert json.loads(path.read_text()) == {"info": {}, "images": [], "annotations": []}
