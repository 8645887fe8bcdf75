"""Files are found in order and cut without losing a character."""

import re
import zipfile

import numpy as np
import pytest

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import corpus, sources


def files(path) -> list[str]:
    return sources.files(schema.Data(source="files", path=str(path)))


def test_files_are_sorted_and_found_below_folders(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("2")
    (tmp_path / "a.txt").write_text("1")
    (tmp_path / "c.md").write_text("3")
    assert files(tmp_path) == ["1", "2", "3"]
    assert files(tmp_path / "**" / "*.txt") == ["1", "2"]
    assert files(tmp_path / "c.md") == ["3"]


def test_few_files_are_cut_and_many_are_not(tmp_path):
    text = "line\n" * 2000
    (tmp_path / "0.txt").write_text(text)
    assert len(files(tmp_path)) == 3 and "".join(files(tmp_path)) == text
    for number in range(1, 50):
        (tmp_path / f"{number}.txt").write_text("x")
    assert len(files(tmp_path)) == 50 and files(tmp_path)[0] == text


@pytest.mark.parametrize(
    "text, ends",
    [
        ("a" * 6 + "\n\n" + "b" * 6 + "\n" + "c" * 9, ["\n\n", "b\n", "c"]),
        ("a" * 6 + "\n\nb\n" + "c" * 8, ["a\n\n", "c"]),
        ("a" * 25, ["a", "a", "a"]),
        ("a\n\n" + "b" * 12, ["b", "b"]),  # a cut this early would leave a crumb
        ("", [""]),
    ],
)
def test_pieces_end_at_blank_lines_then_lines_and_join_to_the_text(text, ends):
    cut = sources.pieces(text, size=10)
    assert "".join(cut) == text
    assert max(map(len, cut)) <= 10
    assert len(cut) == len(ends)
    assert all(map(str.endswith, cut, ends))


@pytest.mark.parametrize(
    "path, message",
    [
        ("", "config.data.path '' names no files; give"),
        ("no/such/place", "config.data.path 'no/such/place' matches no file"),
        ("no/**/*.txt", "config.data.path 'no/**/*.txt' matches no file"),
    ],
)
def test_a_path_without_files_is_named_with_a_remedy(path, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        files(path)


def test_empty_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(ConfigError, match="1 files and all are empty"):
        files(tmp_path)


def test_a_file_that_is_not_utf_8_is_named_in_one_line(tmp_path):
    (tmp_path / "image.png").write_bytes(b"ab\xff\xfe")
    with pytest.raises(ConfigError, match="image.png.*not UTF-8 at byte 2") as error:
        files(tmp_path)
    assert "\n" not in str(error.value)


def test_a_name_with_brackets_is_a_file_and_not_a_pattern(tmp_path):
    (tmp_path / "a[1].txt").write_text("bracket")
    assert files(tmp_path / "a[1].txt") == ["bracket"]


def test_a_pair_is_one_however_odd_its_characters(tmp_path):
    """No unit separator, line separator or carriage return moves another pair."""
    lines = ["bon\x1fjour\thel\x1flo", "a\u2028b\tc\x85d", "e\tf\tcolumn\r"]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    found = sources.pairs(schema.Data(source="pairs", path=str(path)))
    assert found == ["bonjour\x1fhello", "a\u2028b\x1fc\x85d", "e\x1ff"]


@pytest.mark.parametrize("damage", ["no_zip", "content", "encoding"])
def test_a_zip_of_pairs_that_cannot_be_read_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "pairs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "a.txt", b"caf\xe9\tcoffee\n" if damage == "encoding" else "a\tb\n"
        )
    if damage == "no_zip":
        path.write_bytes(b"plain")
    if damage == "content":
        path.write_bytes(path.read_bytes().replace(b"a\tb", b"a\tc"))
    with pytest.raises(ConfigError, match="pairs.zip', which cannot be read") as error:
        sources.pairs(schema.Data(source="pairs", path=str(path)))
    assert "\n" not in str(error.value)


def test_a_unit_separator_in_other_text_separates_nothing(monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "given", lambda _: ["a\x1fb" * 20, "cd" * 20])
    built = corpus.build(schema.Data(source="given", held_out=0.5))
    both = np.concatenate([built.train, built.held_out])
    assert built.tokenizer.decode(both).count("ab") == 20


def test_paragraphs_join_to_the_embedded_text_again():
    """Two and two, in order; where there are an odd number the last is left out."""
    data = schema.Data(source="paragraphs")
    found = [pair.split(sources.UNIT) for pair in sources.paragraphs(data)]
    assert {len(pair) for pair in found} == {2}
    parts = iter(part for pair in found for part in pair)
    for document in sources.embedded(data):
        marks = document.count("\n\n")
        own = "\n\n".join(next(parts) for _ in range((marks + 1) // 2 * 2))
        left = document.removeprefix(own)
        assert left == "" or (marks % 2 == 0 and left.count("\n\n") <= 1)
        assert document.startswith(own)
    assert next(parts, None) is None
    assert corpus.build(data).pairs
