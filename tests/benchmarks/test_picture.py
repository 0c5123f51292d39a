from xml.etree import ElementTree

from benchmarks.picture import LINE, Point, front, names_apart, scatter

POINTS = [Point("slow", 1, 0.99), Point("<fast>", 4, 0.9), Point("beaten", 0.9, 0.8), Point("twin", 1, 0.99)]


def test_points_that_no_other_beats_are_joined() -> None:
    assert [point.name for point in front(POINTS)] == ["slow", "twin", "<fast>"]


def test_a_picture_is_sound_xml_with_every_name() -> None:
    root = ElementTree.fromstring(scatter(POINTS, "times as fast", "retention"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"slow", "<fast>", "beaten", "twin", "times as fast", "retention"} <= set(texts)


def test_names_do_not_cover_each_other() -> None:
    places = [(0.0, 100.0), (5.0, 101.0), (5.0, 10.0), (400.0, 102.0)]
    assert names_apart(places) == [100.0, 100.0 + LINE, 10.0, 102.0]
