"""Each layout of the data sets, in files made here, through the command itself."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from schemas.events import EVENT
from schemas.items import Item
from streams.cli.imports import group


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(group, [str(arg) for arg in args])


def read(out: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Items and events; each is what our schemas accept."""
    items, events = ([json.loads(line) for line in (out / f"{n}.jsonl").open()] for n in ("items", "events"))
    for item in items:
        Item.model_validate(item)
    for event in events:
        EVENT.validate_python(event)
    return items, events


def done(*args: str | Path, out: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    result = run(*args, "--out", out)
    assert result.exit_code == 0, result.output
    return read(out)


FLAGS = "|".join("1" if n in (1, 5) else "0" for n in range(19))


def test_ml_100k_in_latin_1(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t4\t881250000\n")
    films = f"242|Mis\xe9rables, Les (1995)|01-Jan-1995||http://imdb/x|{FLAGS}\n302|unknown||||{FLAGS}\n"
    (tmp_path / "u.item").write_bytes(films.encode("latin-1"))
    items, events = done("movielens", tmp_path, out=tmp_path / "out")
    assert items[0] == {
        "item_id": "242", "title": "Misérables, Les (1995)", "categories": ["Action", "Comedy"],
        "attributes": {"year": 1995}, "url": "http://imdb/x", "published_at": 788918400000,
    }  # fmt: skip
    assert "published_at" not in items[1]
    assert [e["user_id"] for e in events] == ["186", "196"]  # in order of time
    assert events[1] == {
        "event_id": "e1", "type": "interaction", "action": "rate", "user_id": "196", "item_id": "242", "value": 3.0,
        "ts": 881250949000,
    }  # fmt: skip


def test_ml_1m_with_double_colons(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n2::1193::0.5::978300761\n")
    (tmp_path / "movies.dat").write_bytes("1193::Caf\xe9: a film (1975)::Drama|Children's\n".encode("latin-1"))
    items, events = done("movielens", tmp_path, out=tmp_path / "out")
    assert items == [
        {
            "item_id": "1193", "title": "Café: a film (1975)", "categories": ["Drama", "Children's"],
            "attributes": {"year": 1975},
        }
    ]  # fmt: skip
    assert [e["value"] for e in events] == [5.0, 0.5]


def test_ml_latest_in_its_zip_and_as_a_file_with_the_films_beside_it(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,32,4.0,1260759144\n"
    films = 'movieId,title,genres\n31,"Miserables, Les (1998)",Drama|War\n32,"A ""B""",(no genres listed)\n'
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-latest-small/ratings.csv", ratings)
        archive.writestr("ml-latest-small/movies.csv", films)
        archive.writestr("ml-latest-small/README.txt", "hello")
    from_zip = done("movielens", tmp_path / "ml.zip", out=tmp_path / "zip")
    assert [(i["title"], i["categories"]) for i in from_zip[0]] == [
        ("Miserables, Les (1998)", ["Drama", "War"]),
        ('A "B"', []),
    ]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "ratings.csv").write_text(ratings)
    (tmp_path / "folder" / "movies.csv").write_text(films)
    assert done("movielens", tmp_path / "folder" / "ratings.csv", out=tmp_path / "file") == from_zip


def test_amazon_2014_reviews_and_metadata_that_are_python_literals(tmp_path: Path) -> None:
    review = {
        "reviewerID": "A2", "asin": "0000013714", "reviewerName": "J", "helpful": [2, 3], "reviewText": "A &amp; B",
        "overall": 5.0, "summary": "Good", "unixReviewTime": 1252800000, "reviewTime": "09 13, 2009",
    }  # fmt: skip
    meta = {
        "asin": "0000013714", "title": "Girls' Tutu", "price": 3.17, "imUrl": "http://x/y.jpg", "brand": "Coxlures",
        "related": {"also_bought": ["B0"]}, "salesRank": {"Toys": 211836}, "categories": [["Toys", "Tutus"], ["Toys"]],
    }  # fmt: skip
    (tmp_path / "reviews_Toys.json.gz").write_bytes(gzip.compress(json.dumps(review).encode()))
    (tmp_path / "meta_Toys.json.gz").write_bytes(gzip.compress(repr(meta).encode()))
    items, events = done("amazon", tmp_path, out=tmp_path / "out")
    assert events == [
        {
            "event_id": "e1", "type": "interaction", "action": "review", "user_id": "A2", "item_id": "0000013714",
            "value": 5.0, "ts": 1252800000000, "text": "Good\nA & B",
        }
    ]  # fmt: skip
    assert items == [
        {
            "item_id": "0000013714", "title": "Girls' Tutu", "categories": ["Toys", "Tutus"], "brand": "Coxlures",
            "price": {"amount": 3.17, "currency": "USD"}, "image_url": "http://x/y.jpg",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("price", "amount"), [("$5.99", 5.99), ("$1,299.00", 1299.0), ("$1.00 - $5.00", None), (".a-box{x:1}", None)]
)
def test_amazon_2018(tmp_path: Path, price: str, amount: float | None) -> None:
    review = {"overall": 4.0, "verified": True, "reviewerID": "A3", "asin": "B01", "style": {}, "unixReviewTime": 1500}
    meta = {
        "asin": "B01", "title": "", "feature": ["light", "red"], "description": ["A lamp."], "price": price,
        "imageURLHighRes": ["http://h"], "also_buy": ["B9"], "category": ["Home", "Lamps"], "main_cat": "Home",
        "date": "March 4, 2016",
    }  # fmt: skip
    (tmp_path / "Home_5.json").write_text(json.dumps(review) + "\n")
    (tmp_path / "m.json").write_text(json.dumps(meta) + "\n")
    items, events = done("amazon", tmp_path / "Home_5.json", "--items", tmp_path / "m.json", out=tmp_path / "out")
    assert (events[0]["ts"], "text" in events[0]) == (1_500_000, False)
    item = items[0]
    assert (item["title"], item["description"]) == ("B01", "A lamp. light red")  # a product without a title: its id
    assert (item["categories"], item["published_at"]) == (["Home", "Lamps"], 1457049600000)
    assert item.get("price") == (None if amount is None else {"amount": amount, "currency": "USD"})


def test_amazon_2023_counts_by_the_parent_and_leaves_out_what_knows_the_future(tmp_path: Path) -> None:
    review = {
        "rating": 1.0, "title": "Bad", "text": "Broke", "images": [], "asin": "B1", "parent_asin": "P1",
        "user_id": "AG", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": True,
    }  # fmt: skip
    meta = {
        "main_category": "Games", "title": "Pad", "average_rating": 4.8, "rating_number": 10, "features": [],
        "description": [], "price": None, "images": [{"thumb": "t", "large": "l", "hi_res": None}], "store": "Sony",
        "categories": [], "details": {"Date First Available": "May 1, 2020"}, "parent_asin": "P1",
    }  # fmt: skip
    (tmp_path / "Video_Games.jsonl").write_text(json.dumps(review) + "\n")
    (tmp_path / "meta_Video_Games.jsonl").write_text(json.dumps(meta) + "\n")
    items, events = done("amazon", tmp_path, "--no-text", out=tmp_path / "out")
    assert (events[0]["item_id"], events[0]["ts"], "text" in events[0]) == ("P1", 1588687728923, False)
    assert items == [
        {
            "item_id": "P1", "title": "Pad", "categories": ["Games"], "brand": "Sony", "image_url": "l",
            "published_at": 1588291200000,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "A1YJEY40YUW4SE,7806397051,1.0,1391040000\n",
        "7806397051,A1YJEY40YUW4SE,1.0,1391040000\n",
        "user_id,parent_asin,rating,timestamp\nA1YJEY40YUW4SE,7806397051,1.0,1391040000000\n",
    ],
)
def test_amazon_ratings_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "ratings.csv").write_text(text)
    items, events = done("amazon", tmp_path / "ratings.csv", out=tmp_path / "out")
    assert items == [{"item_id": "7806397051", "title": "7806397051"}]
    assert [(e["user_id"], e["item_id"], e["ts"]) for e in events] == [("A1YJEY40YUW4SE", "7806397051", 1391040000000)]


def test_a_folder_that_is_no_movielens_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n")
    result = run("movielens", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "u.data" in result.output
    assert not (tmp_path / "out").exists()
