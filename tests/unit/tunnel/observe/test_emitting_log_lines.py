"""`emit` and `configure`, through the standard library's logger of the package."""

import io
import logging
from collections.abc import Iterator

import pytest

from mtls_tunnel.config.schema import Logging
from mtls_tunnel.observe import logs


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    """Leave the process's loggers as they were."""
    logger, root = logging.getLogger(logs.LOGGER_NAME), logging.getLogger()
    before = (list(logger.handlers), logger.level, logger.propagate, list(root.handlers))
    yield
    logger.handlers[:], level, logger.propagate, root.handlers[:] = before
    logger.setLevel(level)


def endings(stream: io.StringIO) -> list[str]:
    return [line.partition("Z ")[2] for line in stream.getvalue().splitlines()]


def test_attributes_come_in_the_order_given_and_none_is_left_out() -> None:
    stream = io.StringIO()
    logs.configure(Logging(), stream)
    logs.emit(logs.INFO, "listener: accepted connection", peer_cn="web", remote="192.0.2.1:5", peer_uri=None, tls=1.3)
    assert endings(stream) == ['level=INFO msg="listener: accepted connection" peer_cn=web remote=192.0.2.1:5 tls=1.3']


def test_an_attribute_may_be_called_level_or_msg() -> None:
    stream = io.StringIO()
    logs.configure(Logging(), stream)
    logs.emit(logs.INFO, "m", level="l", msg="n", args="a")
    assert endings(stream) == ["level=INFO msg=m level=l msg=n args=a"]


def test_percent_signs_in_a_message_are_left_alone() -> None:
    stream = io.StringIO()
    logs.configure(Logging(), stream)
    logs.emit(logs.INFO, "50%s %d", done="100%")
    assert endings(stream) == ['level=INFO msg="50%s %d" done=100%']


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["DEBUG", "INFO", "WARN", "ERROR"]),
        ("info", ["INFO", "WARN", "ERROR"]),
        ("warn", ["WARN", "ERROR"]),
        ("error", ["ERROR"]),
    ],
)
def test_the_level_of_the_configuration_decides_what_is_shown(level: str, shown: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(Logging(level=level), stream)  # type: ignore[arg-type]
    for number in (logs.DEBUG, logs.INFO, logs.WARN, logs.ERROR):
        logs.emit(number, "m")
    assert endings(stream) == [f"level={name} msg=m" for name in shown]


def test_a_reload_changes_level_and_format_of_the_same_stream() -> None:
    stream = io.StringIO()
    logs.configure(Logging(), stream)
    logs.emit(logs.DEBUG, "unseen")
    logs.configure(Logging(level="debug", format="json"), stream)
    logs.emit(logs.DEBUG, "seen")
    assert len(logging.getLogger(logs.LOGGER_NAME).handlers) == 1
    assert '"level":"DEBUG","msg":"seen"}' in stream.getvalue()
    assert "unseen" not in stream.getvalue()


def test_another_stream_takes_over_from_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure(Logging(), first)
    logs.configure(Logging(), second)
    logs.emit(logs.INFO, "m")
    assert (first.getvalue(), endings(second)) == ("", ["level=INFO msg=m"])


def test_the_default_stream_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Logging())
    logs.emit(logs.INFO, "m")
    assert capsys.readouterr().out.endswith(" level=INFO msg=m\n")


def test_warnings_of_other_libraries_have_the_same_shape() -> None:
    stream = io.StringIO()
    logs.configure(Logging(), stream)
    foreign = logging.getLogger("asyncio")
    foreign.warning("slow: %s", "task\n1")
    foreign.info("unseen")
    assert endings(stream) == ['level=WARN msg="asyncio: slow: task\\n1"']


def test_an_exception_of_another_library_takes_one_line_and_says_where_it_was() -> None:
    stream = io.StringIO()
    logs.configure(Logging(), stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("asyncio").exception("lost")
    assert endings(stream)[0].startswith(
        'level=ERROR msg="asyncio: lost" error="ValueError: two\\nlines" where="test_emitting_log_lines.py:'
    )
    assert len(endings(stream)) == 1


def test_a_foreign_message_whose_arguments_do_not_fit_is_still_logged() -> None:
    stream = io.StringIO()
    record = logging.LogRecord("asyncio", logging.WARNING, "", 0, "%d apples", ("no",), None)
    logs.LineHandler(stream).handle(record)
    assert endings(stream) == ['level=WARN msg="asyncio: %d apples"']


def test_lines_that_were_lost_are_owned_up_to() -> None:
    class Shut(io.StringIO):
        open = False

        def write(self, text: str) -> int:
            if not self.open:
                raise BrokenPipeError
            return super().write(text)

    stream = Shut()
    logs.configure(Logging(), stream)
    logs.emit(logs.INFO, "lost")
    logs.emit(logs.INFO, "lost too")
    stream.open = True
    logs.emit(logs.INFO, "kept")
    logs.emit(logs.INFO, "kept too")
    assert endings(stream) == [
        "level=INFO msg=kept",
        'level=WARN msg="log: lines were lost" count=2',
        'level=INFO msg="kept too"',
    ]
