"""What must hold for every input of the configuration's parsers, however it was made: by hypothesis or by a fuzzer."""

from mtls_tunnel.config import durations
from mtls_tunnel.config.dump import dump
from mtls_tunnel.config.load import Loaded, Source, load
from mtls_tunnel.errors import ConfigError, Problem

WHOLE = b'mode: bridge\nlisten: ":1"\ntarget: a:2\ntls: {cert: c, key: k, ca: [a]}\n'
SHARED = b"tls: {cert: c, key: k, ca: [a]}\nroles: {r: {allow_cn: [x]}}\ntunnels:\n"
PLACES = 4


def check_file(content: bytes) -> None:
    """Any bytes load, and survive dump and load, or are a ConfigError of printable lines.

    The first byte chooses where the rest stands: as a whole file, behind a file that loads, as a list of tunnels, or
    as one of two files of a directory.  So a fuzzer reaches the sections without having to find the required keys.
    """
    problems: tuple[Problem, ...] = ()
    try:
        loaded = _loaded(content[0] % PLACES if content else 0, content[1:])
    except ConfigError as error:
        problems = error.problems
        assert problems
    else:
        written = dump(loaded.config)
        assert load([Source("dumped", written)]).config == loaded.config, written
    assert all(str(problem).isprintable() for problem in problems), problems


def check_duration(content: bytes) -> None:
    """Any text is a ValueError with a printable sentence, or a duration that survives being written."""
    text = content.decode("utf-8", "surrogateescape")
    told = ""
    try:
        seconds = durations.parse(text)
    except ValueError as refused:
        told = str(refused)
    else:
        assert 0 <= seconds <= durations.LONGEST / durations.NANOSECONDS_PER_SECOND, text
        assert durations.parse(durations.text(seconds)) == seconds, text
    assert told.isprintable(), text


def _loaded(place: int, content: bytes) -> Loaded:
    if place == 1:
        return load([Source.of("f.yaml", WHOLE + content)])
    if place == 2:
        return load([Source.of("f.yaml", SHARED + content)])
    if place == 3:
        return load(
            [Source.of_directory("d/a.yaml", WHOLE), Source.of_directory("d/b.yaml", content)],
            process=Source.of("p.yaml", content[:40]),
        )
    return load([Source.of("f.yaml", content)])
