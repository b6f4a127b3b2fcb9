"""A report is made whole, or a sentence says why not."""

import zipfile

import pytest
from selfdistill.errors import UserError
from selfdistill.exports.report import add_room


@pytest.fixture
def study(tmp_path):
    (tmp_path / "results/reading_room/data").mkdir(parents=True)
    (tmp_path / "results/reading_room/index.html").write_text("room")
    (tmp_path / "results/reading_room/index.html.provenance.json").write_text("{}")
    (tmp_path / "results/reading_room/data/abc.js").write_text("take")
    with zipfile.ZipFile(tmp_path / "report.zip", "w") as packed:
        packed.writestr("report/report.html", "report")
        packed.writestr("report/data/raw/1/fig_3.svg", "figure")
    return tmp_path


def test_the_reading_room_lies_where_the_links_of_the_reports_files_lead(study):
    assert add_room(study / "report.zip", study / "results") == 2
    assert add_room(study / "report.zip", study / "results") == 0
    with zipfile.ZipFile(study / "report.zip") as packed:
        packed.extractall(study)
        assert len(packed.namelist()) == 4
    figure = study / "report/data/raw/1/fig_3.svg"
    assert (figure.parent / "../reading_room/index.html").read_text() == "room"
    assert (figure.parent / "../reading_room/data/abc.js").read_text() == "take"


def test_what_is_no_report_or_has_no_room_is_told_and_left_alone(study):
    (study / "text.zip").write_text("no zip")
    with zipfile.ZipFile(study / "other.zip", "w") as packed:
        packed.writestr("a.txt", "a")
    before = (study / "other.zip").read_bytes()
    for name, sentence in (("text.zip", "no zip"), ("other.zip", "no report.html in it"), ("gone.zip", "no zip")):
        with pytest.raises(UserError, match=sentence):
            add_room(study / name, study / "results")
    assert (study / "other.zip").read_bytes() == before
    (study / "results/reading_room/index.html").unlink()
    with pytest.raises(UserError, match="no reading room"):
        add_room(study / "report.zip", study / "results")
