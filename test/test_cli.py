"""Exit codes and error lines that all commands share."""

import pytest

from resources.cli import BAD_INPUT, FAILED, counted, end_with


def test_an_error_is_one_line_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert end_with(ValueError("a.mha: expected\n  three dimensions, found 2")) == BAD_INPUT == 2
    assert end_with(MemoryError(), FAILED) == FAILED == 1
    expected = "error: a.mha: expected three dimensions, found 2\nerror: MemoryError\n"
    assert capsys.readouterr() == ("", expected)


def test_one_is_not_many() -> None:
    assert [counted(number, "case") for number in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
