"""Whatever a configuration file holds: values that survive dump and load, or printable lines that say what is wrong."""

import sys

import atheris

with atheris.instrument_imports(include=["mtls_tunnel", "yaml"]):
    from support.config_oracles import check_file


def TestOneInput(content: bytes) -> None:
    check_file(content)


if __name__ == "__main__":
    atheris.Setup(sys.argv, TestOneInput)
    atheris.Fuzz()
