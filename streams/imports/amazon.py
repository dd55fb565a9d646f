"""Amazon reviews (McAuley lab), the layouts of 2014, 2018 and 2023 -> reviews as events, metadata as items.

In: JSONL (gzipped or not), one review or product a line; 2014's metadata are Python literals instead of JSON; ratings
alone come as CSV, with or without a header. A file is known as metadata by its name (`meta_...`), or is named apart.
A review becomes an interaction `review` with its stars and its text. `average_rating`, `rating_number`, sales ranks
and "also bought" are left out on purpose: they were counted over the whole log, so a backtest would see
the future.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import orjson

from streams.imports.delimited import table_of
from streams.imports.faults import Faults
from streams.imports.lines import first_line, lines_of
from streams.imports.run import Layout
from streams.imports.sources import Source, sources
from streams.records.files import Unreadable

Numbered = Iterator[tuple[str, int, dict[str, Any]]]
_NAMES = re.compile(r"\.(json|jsonl|csv|txt)(\.gz)?$", re.IGNORECASE)
_META = re.compile(r"(^|/)(meta|items?\b|products?\b)[^/]*$", re.IGNORECASE)
_ASIN = re.compile(r"[0-9B][0-9A-Z]{9}")
_DOLLARS = re.compile(r"\$?\s*(\d[\d,]*(?:\.\d+)?)\s*$")
CURRENCY = "USD"


def amazon(path: str, items: str | None, faults: Faults, *, text: bool = True) -> Layout:
    """The layout at `path` (a file of reviews, a folder or a zip). `items`: the metadata, if they lie elsewhere.

    `text`: keep what the reviews say.
    """
    files = sources(path)
    single = len(files) == 1
    reviews = [s for name, s in files.items() if single or (_NAMES.search(name) and not _META.search(name))]
    if items is not None:
        meta = list(sources(items).values())
    else:
        meta = [s for name, s in files.items() if not single and _NAMES.search(name) and _META.search(name)]
    if not reviews:
        raise Unreadable(
            f"{path}: holds no reviews (.json, .jsonl or .csv, gzipped or not, with a name that does not begin with "
            "meta). Name the file of reviews itself."
        )
    events = [(s, _reviews(s, faults, text, "e" if len(reviews) == 1 else f"e{n}-")) for n, s in enumerate(reviews, 1)]
    return Layout([(s, _products(s, faults)) for s in meta], events, fill=not meta)


def _records(source: Source, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in lines_of(source, faults):
        if not text.strip():
            continue
        try:
            found = orjson.loads(text)
        except ValueError:
            try:  # the metadata of 2014
                found = ast.literal_eval(text.strip())
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                faults.row(source.name, line, "(row): expected JSON")
                continue
        if isinstance(found, dict):
            yield line, found
        else:
            faults.row(source.name, line, "(row): expected a JSON object")


def _reviews(source: Source, faults: Faults, text: bool, prefix: str) -> Numbered:
    first = first_line(source)
    if first and not first.lstrip().startswith("{"):
        yield from _ratings(source, faults, first, prefix)
        return
    for line, row in _records(source, faults):
        user = row.get("user_id") or row.get("reviewerID")
        item = row.get("parent_asin") or row.get("asin")
        try:
            stamp = row["timestamp"] if "timestamp" in row else row["unixReviewTime"]
            ts = int(stamp) * (1000 if abs(int(stamp)) < 1e11 else 1)
        except (KeyError, TypeError, ValueError):
            faults.row(source.name, line, "ts: expected `timestamp` or `unixReviewTime`")
            continue
        if not user or not item:
            wanted = "`user_id` or `reviewerID`" if not user else "`asin` or `parent_asin`"
            faults.row(source.name, line, f"(row): expected {wanted}")
            continue
        event: dict[str, Any] = {
            "event_id": f"{prefix}{line}", "type": "interaction", "action": "review", "user_id": str(user),
            "item_id": str(item), "ts": ts,
        }  # fmt: skip
        stars = row["rating"] if "rating" in row else row.get("overall")
        if isinstance(stars, int | float):
            event["value"] = stars
        if text:
            # 2023 calls the summary title
            said = [row.get("summary") or row.get("title"), row.get("reviewText") or row.get("text")]
            if words := "\n".join(html.unescape(part).strip() for part in said if isinstance(part, str) and part):
                event["text"] = words
        yield source.name, line, event


def _ratings(source: Source, faults: Faults, first: str, prefix: str) -> Numbered:
    """Ratings alone: `user,item,rating,timestamp` (2014), `item,user,rating,timestamp` (2018), or a header (2023)."""
    cells = [cell.strip() for cell in first.split(",")]
    columns = None if not cells[-1].isdigit() else ["item" if _ASIN.fullmatch(cells[0]) else "user"]
    if columns is not None:
        columns += ["user" if columns == ["item"] else "item", "rating", "timestamp"]
    table = table_of(source, faults, delimiter=",", columns=columns)
    names = {"user_id": "user", "parent_asin": "item", "asin": "item"}
    at = {names.get(name, name): i for i, name in enumerate(table.columns)}
    if not {"user", "item", "rating", "timestamp"} <= at.keys():
        raise Unreadable(
            f"{source.name}: expected reviews as JSON lines, or ratings as CSV with user_id, parent_asin, rating and "
            f"timestamp; the first line is {first.strip()[:80]!r}. Other tables go through `headwater import csv`."
        )
    for line, row in table.rows:
        try:
            value, stamp = float(row[at["rating"]]), int(row[at["timestamp"]])
        except ValueError:
            faults.row(source.name, line, "(row): expected a rating and a time")
            continue
        yield source.name, line, {
            "event_id": f"{prefix}{line}", "type": "interaction", "action": "review", "user_id": row[at["user"]],
            "item_id": row[at["item"]], "value": value, "ts": stamp * (1000 if abs(stamp) < 1e11 else 1),
        }  # fmt: skip


def _products(source: Source, faults: Faults) -> Numbered:
    for line, row in _records(source, faults):
        item = row.get("parent_asin") or row.get("asin")
        if not item:
            faults.row(source.name, line, "item_id: expected `asin` or `parent_asin`")
            continue
        title = row.get("title")
        product: dict[str, Any] = {
            "item_id": str(item),
            "title": html.unescape(title).strip() if isinstance(title, str) and title.strip() else str(item),
            "categories": _categories(row),
        }
        more = {
            "description": " ".join(_texts(row.get("description")) + _texts(row.get("feature", row.get("features")))),
            "brand": next(iter(_texts(row.get("brand") or row.get("store"))), ""),
            "price": _price(row.get("price")),
            "image_url": _image(row),
            "published_at": _published(row),
        }
        yield source.name, line, product | {name: value for name, value in more.items() if value}


def _texts(value: Any) -> list[str]:
    """A text, or a list of texts (of lists of texts), as a flat list without what is empty."""
    if isinstance(value, str):
        plain = html.unescape(value).strip()
        return [plain] if plain else []
    return list(chain.from_iterable(_texts(part) for part in value)) if isinstance(value, list) else []


def _categories(row: dict[str, Any]) -> list[str]:
    found = _texts(row.get("categories") or row.get("category"))
    return list(dict.fromkeys(found or _texts(row.get("main_category") or row.get("main_cat"))))


def _price(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        found = _DOLLARS.match(value)  # a range has no one price, and some hold a piece of a page
        value = float(found[1].replace(",", "")) if found else None
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        return None
    return {"amount": float(value), "currency": CURRENCY}


def _image(row: dict[str, Any]) -> str:
    images = row.get("images")
    if isinstance(images, list) and images and isinstance(images[0], dict):
        found = images[0].get("hi_res") or images[0].get("large")
    elif isinstance(images, dict):
        found = next(iter(_texts(images.get("hi_res")) or _texts(images.get("large"))), None)
    else:
        found = next(iter(_texts(row.get("imageURLHighRes") or row.get("imageURL") or row.get("imUrl"))), None)
    return found if isinstance(found, str) else ""


def _published(row: dict[str, Any]) -> int | None:
    details = row.get("details")
    said = details.get("Date First Available") if isinstance(details, dict) else row.get("date")
    if isinstance(said, str):
        with suppress(ValueError):
            return int(datetime.strptime(said.strip(), "%B %d, %Y").replace(tzinfo=UTC).timestamp() * 1000)
    return None
