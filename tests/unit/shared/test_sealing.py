"""What is sealed is opened by the same key for the same purpose, and by nothing else."""

from __future__ import annotations

import traceback
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sealing import Sealing, Unsealable

KEY = "k" * 32


@given(st.binary(max_size=200), st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_what_is_sealed_can_be_unsealed(plain: bytes, purpose: str) -> None:
    assert Sealing(KEY).unseal(Sealing(KEY).seal(plain, purpose=purpose), purpose=purpose) == plain


def test_the_same_is_never_sealed_twice_alike() -> None:
    sealing = Sealing(KEY)

    assert len({sealing.seal(b"secret", purpose="hook a") for _ in range(100)}) == 100


def test_what_was_sealed_for_one_thing_is_not_opened_for_another() -> None:
    sealed = Sealing(KEY).seal(b"secret", purpose="hook a")

    with pytest.raises(Unsealable):
        Sealing(KEY).unseal(sealed, purpose="hook b")


def test_another_key_opens_nothing() -> None:
    sealed = Sealing(KEY).seal(b"secret", purpose="hook a")

    with pytest.raises(Unsealable):
        Sealing("K" + KEY[1:]).unseal(sealed, purpose="hook a")


@given(st.data())
def test_one_changed_bit_is_noticed(data: st.DataObject) -> None:
    raw = bytearray(b64decode(Sealing(KEY).seal(b"secret", purpose="").removeprefix("v1.")))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8

    with pytest.raises(Unsealable):
        Sealing(KEY).unseal("v1." + b64encode(raw).decode(), purpose="")


@given(st.text(max_size=80) | st.text(max_size=80).map("v1.".__add__))
def test_whatever_else_stands_there_is_unsealable(text: str) -> None:
    with pytest.raises(Unsealable):
        Sealing(KEY).unseal(text, purpose="")


def test_neither_the_key_nor_what_is_sealed_shows() -> None:
    sealing = Sealing(KEY)
    sealed = sealing.seal(b"hunter2", purpose="hook a")
    with pytest.raises(Unsealable) as raised:
        Sealing("x" * 32).unseal(sealed, purpose="hook a")

    told = "".join(traceback.format_exception(raised.value)) + repr(sealing) + sealed
    assert KEY not in told
    assert "hunter2" not in told
    assert raised.value.__cause__ is None
