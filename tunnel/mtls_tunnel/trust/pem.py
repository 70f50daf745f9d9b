"""PEM text: bytes become labelled blocks, or a sentence that says what the file is instead.

It only cuts; decoding what a block holds is for `cryptography`.  Text between blocks (as `openssl x509 -text`
writes it) is ignored.  Pure.  Source: RFC 7468 §2 and §5.2.
"""

import re
from dataclasses import dataclass

_BEGIN = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----[ \t\r]*$", re.MULTILINE)
# A BEGIN line that is none, or dashes at the end of the file that may have become one.
_TORN = re.compile(rb"^-----B|^-+\Z", re.MULTILINE)
_WAIT = "it may be half written: let whoever writes it finish, or copy it again"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DER_SEQUENCE = (b"\x30\x80", b"\x30\x81", b"\x30\x82", b"\x30\x83")


class PemError(ValueError):
    """The file is no usable PEM: a plain sentence and what to do about it."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block with its label (``CERTIFICATE``, ``PRIVATE KEY``)."""

    label: str
    text: bytes  # BEGIN and END lines included

    @property
    def encrypted(self) -> bool:
        """Say whether a password protects it, in PKCS #8 or in the older way of RFC 1421."""
        return self.label == "ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in self.text


def is_der(content: bytes) -> bool:
    """Say whether *content* looks like DER rather than PEM."""
    return content.startswith(_DER_SEQUENCE)


def blocks(content: bytes) -> tuple[Block, ...]:
    """Cut *content* into its PEM blocks, in file order.

    Raises:
        PemError: the file is empty, DER, no PEM at all, or stops inside a block.
    """
    content = content.removeprefix(_BYTE_ORDER_MARK)
    if not content.strip():
        raise PemError("the file is empty", "it has to hold PEM blocks")
    found: list[Block] = []
    outside = b""
    position = 0
    while (begin := _BEGIN.search(content, position)) is not None:
        label = begin.group(1)
        end = content.find(b"-----END " + label + b"-----", begin.end())
        following = _BEGIN.search(content, begin.end())
        if end < 0 or (following is not None and following.start() < end):
            raise PemError(f"the file is incomplete: a {label.decode()} block begins and does not end", _WAIT)
        outside += content[position : begin.start()]
        position = end + len(b"-----END " + label + b"-----")
        found.append(Block(label.decode(), content[begin.start() : position] + b"\n"))
    outside += content[position:]
    if _TORN.search(outside):
        raise PemError("the file is incomplete: it stops inside a BEGIN line", _WAIT)
    if found:
        return tuple(found)
    if is_der(content):
        raise PemError(
            "the file is in DER form and PEM is wanted", "openssl x509 -inform DER -in FILE (or openssl pkey)"
        )
    raise PemError("the file holds no PEM block", "it has to hold lines of the form -----BEGIN ...-----")
