import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.trust.pem import PemError, blocks, is_der

ONE = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN EC PRIVATE KEY-----\nBB==\n-----END EC PRIVATE KEY-----\n"


def test_blocks_come_in_file_order_and_text_around_them_is_passed_over() -> None:
    content = b"Certificate:\n    Data: ...\n" + ONE + b"subject=CN = x\n" + KEY + b"trailing words"
    assert [(block.label, block.text) for block in blocks(content)] == [("CERTIFICATE", ONE), ("EC PRIVATE KEY", KEY)]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + ONE, id="byte order mark"),
        pytest.param(ONE.replace(b"\n", b"\r\n"), id="line ends of Windows"),
        pytest.param(ONE.rstrip(), id="no line end at the end"),
        pytest.param(ONE.replace(b"-----\nAA", b"-----  \nAA"), id="blanks behind the BEGIN line"),
    ],
)
def test_what_editors_do_to_a_file_does_no_harm(content: bytes) -> None:
    assert [block.label for block in blocks(content)] == ["CERTIFICATE"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b" \n\n", "empty", id="blank"),
        pytest.param(b"garbage", "no PEM block", id="garbage"),
        pytest.param(b"\x30\x82\x01\x00abc", "DER form", id="DER"),
        pytest.param(ONE[:40], "does not end", id="stops in the middle"),
        pytest.param(ONE[:-6], "does not end", id="stops in the END line"),
        pytest.param(ONE[:15], "stops inside a BEGIN line", id="stops in the BEGIN line"),
        pytest.param(ONE[:40] + b"\n" + ONE, "does not end", id="a half one before a whole one"),
        pytest.param(ONE + ONE[:40], "does not end", id="a half one behind a whole one"),
        pytest.param(ONE.replace(b"END CERT", b"END X509 CERT"), "does not end", id="another END"),
    ],
)
def test_a_file_that_is_none_says_what_it_is_instead(content: bytes, sentence: str) -> None:
    with pytest.raises(PemError, match=sentence) as caught:
        blocks(content)
    assert caught.value.remedy


@given(st.integers(min_value=1, max_value=len(ONE + KEY) - 2))
def test_a_file_cut_anywhere_is_never_taken_for_whole(length: int) -> None:
    """But where a block has just ended: then it is shorter, and the key or the pair is missed later."""
    cut = (ONE + KEY)[:length]
    try:
        found = blocks(cut)
    except PemError:
        return
    assert [block.label for block in found] == ["CERTIFICATE"]
    assert length >= len(ONE) - 1
    assert cut[len(ONE) :] == b""


@given(st.binary(max_size=120))
def test_any_bytes_give_blocks_or_one_sentence(content: bytes) -> None:
    try:
        found = blocks(content)
    except PemError:
        return
    assert found


@pytest.mark.parametrize(
    ("text", "encrypted"),
    [
        pytest.param(
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA\n-----END ENCRYPTED PRIVATE KEY-----\n", True, id="PKCS8"
        ),
        pytest.param(
            KEY.replace(b"BB", b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nBB"), True, id="RFC 1421"
        ),
        pytest.param(KEY, False, id="plain"),
    ],
)
def test_an_encrypted_key_is_seen_by_its_wrapping(text: bytes, encrypted: bool) -> None:
    assert blocks(text)[0].encrypted is encrypted


def test_der_is_told_from_text() -> None:
    assert (is_der(b"\x30\x82\x01\x00"), is_der(ONE)) == (True, False)
