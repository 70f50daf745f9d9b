"""The image, built once for this folder; where nothing can build or run one, the skip says what to install."""

from collections.abc import Iterator

import pytest

from build_image import Unavailable, open_image
from support.containers import Unpacked


@pytest.fixture(scope="session")
def image() -> Iterator[Unpacked]:
    try:
        built = open_image("mtls-tunnel:test")
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    with Unpacked(built) as unpacked:
        yield unpacked
