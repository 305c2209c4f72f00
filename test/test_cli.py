"""Exit codes and error lines that all commands share."""

import pytest

from resources.cli import BAD_INPUT, FAILED, end_with


def test_an_error_is_one_line_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert end_with(ValueError("a.mha: expected\n  three dimensions, found 2")) == BAD_INPUT == 2
    assert end_with(MemoryError(), FAILED) == FAILED == 1
    expected = "error: a.mha: expected three dimensions, found 2\nerror: MemoryError\n"
    assert capsys.readouterr() == ("", expected)
