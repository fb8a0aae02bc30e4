"""Keys of videos are made of their ids, and lead back to nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette")

from hcq_cli.errors import NotFoundError
from hcq_cli.web.media import id_of, key_of


@given(st.binary(min_size=1, max_size=255).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_a_key_leads_back_to_its_id(item_id: str) -> None:
    key = key_of(item_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", key) and id_of(key) == item_id


@given(st.text(max_size=40))
def test_whatever_is_no_key_is_refused(text: str) -> None:
    try:
        assert key_of(id_of(text)) == text
    except NotFoundError:
        pass
