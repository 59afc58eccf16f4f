from __future__ import annotations

from mmcli.modalities.category import Category, Config


def test_ids_by_frequency_with_one_for_the_unknown_and_the_rare() -> None:
    fitted = Category.fit(Config(), iter(["b", "b", "b", "a", "a", "once", " b "]))
    assert fitted.names == ["b", "a"]
    encoded = fitted.transform(["a", "b", "once", "never", None, " a"])
    assert encoded.column.values[:, 0].nan_to_num(nan=-1).tolist() == [2.0, 1.0, 0.0, 0.0, -1.0, 2.0]
    assert sum(encoded.remarks.values()) == 2
    assert fitted.describe().fields[0].categories == 3


def test_the_linear_baseline_sees_indicators() -> None:
    fitted = Category.fit(Config(min_count=1), iter(["x", "y"]))
    column = fitted.transform(["x", "zzz", None]).column
    features = fitted.linear_features(column, column.present.nonzero()[:, 0])
    assert features.argmax(1).tolist() == [1, 0, 3]
    assert features.sum(1).tolist() == [1.0, 1.0, 1.0]


def test_what_looks_like_a_category() -> None:
    assert Category.sniff(["red", "green"] * 20, "").confidence > 0.5
    assert Category.sniff([f"text number {i}" for i in range(40)], "").confidence == 0
    assert Category.sniff(["1", "2"] * 20, "").confidence < 0.5
