"""MovieLens: the folder or zip of GroupLens, any of its editions -> ratings as events, films as items.

ml-100k `u.data` (tab) and `u.item` (|, Latin-1); ml-1m and ml-10m `ratings.dat`, `movies.dat` (::, Latin-1); ml-20m,
25m, 32m and latest `ratings.csv`, `movies.csv`. A rating becomes an interaction `rate` with its value; genres become
categories; the year in the title becomes `attributes.year`, a full date (ml-100k) `published_at`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streams.imports.delimited import Table, table_of
from streams.imports.faults import Faults
from streams.imports.run import Layout
from streams.imports.sources import Source, file_at, named, sources
from streams.records.files import Unreadable

Numbered = Iterator[tuple[str, int, dict[str, Any]]]
RATINGS = ["user_id", "item_id", "rating", "timestamp"]
# the flags of u.item, in their order (u.genre says the same)
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
FILM = ["movie id", "movie title", "release date", "video release date", "IMDb URL", *GENRES]
_YEAR = re.compile(r"\((\d{4})\)\s*$")


def movielens(path: str, faults: Faults) -> Layout:
    """The layout at `path`: a folder, a zip, or the file of ratings with the films beside it."""
    files = sources(path)
    if Path(path).is_file() and len(files) == 1:  # films are looked for beside the ratings
        files |= {p.name: file_at(p) for p in Path(path).resolve().parent.iterdir() if p.is_file()}
    if ratings := named(files, "u.data"):
        films = named(files, "u.item")
        table = table_of(ratings, faults, delimiter="\t", columns=RATINGS)
        rows = _films_100k(films, faults) if films else None
    elif ratings := named(files, "ratings.dat"):
        films = named(files, "movies.dat")
        table = table_of(ratings, faults, delimiter="::", columns=RATINGS)
        rows = (
            _films(films, table_of(films, faults, delimiter="::", columns=["id", "title", "genres"])) if films else None
        )
    elif ratings := named(files, "ratings.csv"):
        films = named(files, "movies.csv")
        table = table_of(ratings, faults, delimiter=",")
        rows = _films(films, table_of(films, faults, delimiter=",")) if films else None
    else:
        raise Unreadable(
            f"{path}: holds no u.data, ratings.dat or ratings.csv. Name the folder or the zip as GroupLens has it; "
            "other tables go through `headwater import csv`."
        )
    items = [(films, rows)] if films is not None and rows is not None else []
    return Layout(items, [(ratings, _ratings(ratings, table, faults))], fill=not items)


def _ratings(source: Source, table: Table, faults: Faults) -> Numbered:
    for line, (user, item, rating, stamp, *_) in table.rows:
        try:
            value, ts = float(rating), int(float(stamp) * 1000)
        except (ValueError, OverflowError):
            faults.row(source.name, line, "(row): expected a rating and a time in seconds in the last two cells")
            continue
        yield source.name, line, {
            "event_id": f"e{line}", "type": "interaction", "action": "rate", "user_id": user.strip(),
            "item_id": item.strip(), "value": value, "ts": ts,
        }  # fmt: skip


def _films(source: Source, table: Table) -> Numbered:
    for line, (item, title, genres, *_) in table.rows:
        kinds = [] if genres.startswith("(no genres") else [g.strip() for g in genres.split("|") if g.strip()]
        yield source.name, line, _film(item, title, kinds)


def _films_100k(source: Source, faults: Faults) -> Numbered:
    for line, cells in table_of(source, faults, delimiter="|", columns=FILM).rows:
        kinds = [name for name, flag in zip(GENRES[1:], cells[6:], strict=True) if flag == "1"]
        film = _film(cells[0], cells[1], kinds)
        if cells[4]:
            film["url"] = cells[4]
        with suppress(ValueError):  # a few films have no date
            film["published_at"] = int(datetime.strptime(cells[2], "%d-%b-%Y").replace(tzinfo=UTC).timestamp() * 1000)
        yield source.name, line, film


def _film(item_id: str, title: str, categories: list[str]) -> dict[str, Any]:
    film: dict[str, Any] = {"item_id": item_id.strip(), "title": title.strip(), "categories": categories}
    if year := _YEAR.search(title):
        film["attributes"] = {"year": int(year[1])}
    return film
