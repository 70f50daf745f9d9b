"""Whatever stands where a duration belongs: seconds that survive being written, or a sentence."""

import sys

import atheris

with atheris.instrument_imports(include=["mtls_tunnel"]):
    from support.config_oracles import check_duration


def TestOneInput(content: bytes) -> None:
    check_duration(content)


if __name__ == "__main__":
    atheris.Setup(sys.argv, TestOneInput)
    atheris.Fuzz()
