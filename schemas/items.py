"""What can be recommended, and the vector of its text.

In: `<ns>.items.v1` (null value: withdrawn) and `<ns>.item-vectors.v1`. Out: the World's catalogue and index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from schemas.wire import Id, NullMeans, Timestamp, Whole, Wire


class Price(Wire):
    """An amount of money; the currency as its ISO 4217 code, always in capitals here."""

    amount: float = Field(ge=0)
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{3}$"), AfterValidator(str.upper)]


class Sponsored(Wire):
    """Paid placement: what the user is told, and what is paid."""

    label: str
    bid: float = Field(0.0, ge=0)


class Item(Wire):
    """One thing of the catalogue. An explicit null is the same as leaving an optional field out."""

    item_id: Id
    title: str
    description: str | None = None
    categories: Annotated[list[str], NullMeans(list)] = Field(default_factory=list)
    brand: str | None = None
    price: Price | None = None
    attributes: Annotated[dict[str, JsonValue], NullMeans(dict)] = Field(default_factory=dict)
    available: Annotated[bool, NullMeans(lambda: True)] = True
    published_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    url: str | None = None
    image_url: str | None = None
    answer: str | None = Field(None, description="for a catalogue of help articles")
    sponsored: Sponsored | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A null value on the items topic: this item is no longer offered."""

    item_id: str


class ItemVector(Wire):
    """The encoded text of an item. `vector` is base64 of `dim` float16 numbers, little-endian."""

    item_id: Id
    encoder_id: Id
    content_hash: str = Field(pattern=r"^[0-9a-f]{16}$", description="of the text encoded")
    dim: Annotated[int, Whole(1, 65_536)]
    vector: str
