"""The demo's catalogue: some 600 items of the project's own making, in English, in Chinese, and in both.

In: the word lists of `streams.demo.words`. Out: item records (plain dicts of the shape of
`schemas.items.Item`) for the items topic. `catalogue.jsonl` beside this file holds them ready made, one a
line, so that a reader can look at them and other tools can load them; `python -m streams.demo.catalogue`
writes it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from streams.demo.words import books, clothing, electronics, films, games, helpdesk

Item = dict[str, Any]

FILE = Path(__file__).with_name("catalogue.jsonl")
SEED = 20_261
NEWEST = datetime(2026, 10, 31, tzinfo=UTC)
SPREAD_DAYS = 900
GARMENTS_OF_A_KIND = 13
MODELS_OF_A_BUILD = 9

# brand level -> factor on a plain price
LEVELS = (0.62, 1.0, 1.7)

# what a book or a film of a genre is called, where it is not simply "<genre> novel" or "<genre> film"
BOOK_NOUNS = {
    "history": ("history book", "历史读物"),
    "cooking": ("cookbook", "食谱"),
    "travel": ("travel book", "旅行文学"),
    "programming": ("programming book", "编程图书"),
    "children": ("picture book", "儿童绘本"),
}
FILM_NOUNS = {"documentary": ("documentary", "纪录片"), "animation": ("animated film", "动画电影")}


def load() -> list[Item]:
    """The committed catalogue, in the order of the file."""
    return [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]


def make() -> list[Item]:
    """The catalogue made anew from the word lists; always the same."""
    random = Random(SEED)
    items = [
        *_garments(random),
        *_devices(random, "laptops", electronics.LAPTOPS, electronics.LAPTOP_BRANDS, electronics.LAPTOP_LINES),
        *_devices(random, "phones", electronics.PHONES, electronics.PHONE_BRANDS, electronics.PHONE_LINES),
        *_games(random),
        *_films(random),
        *_books(random),
        *_help(random),
    ]
    for item in items:
        age = timedelta(minutes=random.randrange(SPREAD_DAYS * 24 * 60))
        item["published_at"] = (NEWEST - age).strftime("%Y-%m-%dT%H:%M:%SZ")
        if "minutes" in item["attributes"]:
            item["attributes"]["year"] = (NEWEST - age).year
    return items


def write() -> None:
    """Writes `catalogue.jsonl`."""
    FILE.write_text("".join(line(item) + "\n" for item in make()), "utf-8")


def line(item: Item) -> str:
    """An item as a line of the file: sorted keys, compact, Chinese as it is."""
    return json.dumps(item, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _garments(random: Random) -> Iterator[Item]:
    for garment in clothing.GARMENTS:
        combinations = [
            (colour, cut, material) for cut in garment.cuts for material in cut[2] for colour in garment.colours
        ]
        for number, (colour, cut, material) in enumerate(_spread(random, combinations, GARMENTS_OF_A_KIND)):
            brand, brand_zh, level = random.choice(clothing.BRANDS)
            factor = LEVELS[level] * clothing.COSTLY.get(material, 1.0)
            english = f"{brand} {colour.title()} {material.title()} {cut[0]} {garment.noun[0]}"
            chinese = f"{brand_zh}{clothing.COLOURS[colour]}{clothing.MATERIALS[material]}{cut[1]}{garment.noun[1]}"
            yield _item(
                ("clothing", garment.category, number),
                _language(number, random),
                (english, chinese),
                garment.use,
                brand,
                garment.price * factor * random.uniform(0.8, 1.25),
                {
                    "colour": colour,
                    "material": material,
                    "cut": cut[0].lower(),
                    "sizes": garment.sizes.split() if garment.sizes != "one size" else ["one size"],
                },
            )


def _spread(random: Random, combinations: list[tuple[Any, ...]], count: int) -> list[tuple[Any, ...]]:
    """`count` of the combinations, shuffled so that colours (first) take turns and none comes twice."""
    random.shuffle(combinations)
    turns: dict[Any, int] = {}
    order = []
    for place, combination in enumerate(combinations):
        turn = turns[combination[0]] = turns.get(combination[0], -1) + 1
        order.append((turn, place))
    return [combinations[place] for _, place in sorted(order)[:count]]


def _devices(
    random: Random,
    category: str,
    builds: list[electronics.Build],
    brands: list[tuple[str, str, int]],
    lines: list[str],
) -> Iterator[Item]:
    for build in builds:
        names = [(brand, line) for brand in brands for line in lines]
        for number, ((brand, brand_zh, level), line_name) in enumerate(random.sample(names, MODELS_OF_A_BUILD)):
            step = random.randrange(2)
            screen = random.choice(build.screens)
            memory, storage = build.memory[step], build.storage[step]
            colour = build.colours[number % len(build.colours)]
            size = f"{storage // 1024} TB" if storage >= 1024 else f"{storage} GB"
            battery = random.randint(*build.battery)
            model = f"{line_name} {screen:g}"
            english = f"{brand} {model} {build.title[0]}, {memory} GB + {size}, {colour.title()}"
            chinese = f"{brand_zh} {model} {build.title[1]} {memory}GB+{size.replace(' ', '')}"
            chinese += f" {clothing.COLOURS[colour]}"
            attributes = {
                "colour": colour,
                "use": build.theme,
                "screen_inches": screen,
                "memory_gb": memory,
                "storage_gb": storage,
            }
            if category == "laptops":
                attributes["battery_hours"] = battery
            else:
                attributes["battery_mah"] = battery // 50 * 50
            # devices differ less between brands than clothes do
            price = build.price * (0.5 + LEVELS[level] / 2) * (1.0, 1.28)[step] * random.uniform(0.92, 1.1)
            yield _item(
                (category, build.theme, number),
                _language(number, random),
                (english, chinese),
                build.text,
                brand,
                price,
                attributes,
            )


def _games(random: Random) -> Iterator[Item]:
    platforms = ["PC", "console", "handheld", "PC and console"]
    for genre, (genre_zh, titles, plays, worlds) in games.GENRES.items():
        texts = _texts(random, plays, worlds, len(titles))
        for number, (title, text) in enumerate(zip(titles, texts, strict=True)):
            studio, _, level = random.choice(games.STUDIOS)
            yield _item(
                ("games", genre, number),
                _language(number, random),
                (f"{title[0]} ({genre} game)", f"《{title[1]}》{genre_zh}游戏"),
                text,
                studio,
                128 * LEVELS[level] * random.uniform(0.6, 1.7),
                {
                    "genre": genre,
                    "platform": random.choice(platforms),
                    "players": random.choice([1, 1, 2, 4]),
                },
            )


def _films(random: Random) -> Iterator[Item]:
    for genre, (genre_zh, titles, leads, plots) in films.GENRES.items():
        noun, noun_zh = FILM_NOUNS.get(genre, (f"{genre} film", f"{genre_zh}电影"))
        texts = _texts(random, leads, plots, len(titles), ", " if genre == "documentary" else " ")
        for number, (title, text) in enumerate(zip(titles, texts, strict=True)):
            studio, _, level = random.choice(films.STUDIOS)
            director = random.choice(films.DIRECTORS)
            yield _item(
                ("films", genre, number),
                _language(number, random),
                (f"{title[0]} ({noun})", f"《{title[1]}》{noun_zh}"),
                (f"{text[0]} Directed by {director[0]}.", f"{text[1]}导演：{director[1]}。"),
                studio,
                24 * LEVELS[level] * random.uniform(0.7, 1.4),
                {"genre": genre, "director": director[0], "minutes": random.randrange(84, 156)},
            )


def _books(random: Random) -> Iterator[Item]:
    for genre, (genre_zh, titles, openings, endings) in books.GENRES.items():
        noun, noun_zh = BOOK_NOUNS.get(genre, (f"{genre} novel", f"{genre_zh}小说"))
        joint = " " if noun.endswith("novel") else ", "
        texts = _texts(random, openings, endings, len(titles), " " if genre == "children" else joint)
        for number, (title, text) in enumerate(zip(titles, texts, strict=True)):
            publisher, _, level = random.choice(books.PUBLISHERS)
            author = random.choice(books.AUTHORS)
            binding = random.choice(["paperback", "paperback", "hardcover"])
            pages = random.randrange(28, 64, 4) if genre == "children" else random.randrange(160, 620, 4)
            yield _item(
                ("books", genre, number),
                _language(number, random),
                (f"{title[0]} ({noun})", f"《{title[1]}》{noun_zh}"),
                (f"{text[0]} By {author[0]}.", f"{text[1]}作者：{author[1]}。"),
                publisher,
                52 * LEVELS[level] * (1.4 if binding == "hardcover" else 1.0) * random.uniform(0.8, 1.3),
                {"genre": genre, "author": author[0], "pages": pages, "format": binding},
            )


def _texts(
    random: Random, first: list[tuple[str, str]], second: list[tuple[str, str]], count: int, joint: str = " "
) -> list[tuple[str, str]]:
    """`count` descriptions of two parts, as evenly over the combinations as their number allows."""
    chinese_joint = "，" if joint == ", " else ""
    texts = [(f"{a[0]}{joint}{b[0]}.", f"{a[1]}{chinese_joint or _comma(a[1])}{b[1]}。") for a in first for b in second]
    random.shuffle(texts)
    return [texts[number % len(texts)] for number in range(count)]


def _comma(start: str) -> str:
    """Chinese sentences that begin with a doer run on; those that begin with a deed take a comma."""
    return "" if start[0] in "一唯三两" else "，"


def _help(random: Random) -> Iterator[Item]:
    numbers: dict[str, int] = {}
    for article in helpdesk.ARTICLES:
        number = numbers[article.topic] = numbers.get(article.topic, -1) + 1
        item = _item(
            ("help", article.topic, number),
            article.languages,
            article.title,
            None,
            None,
            None,
            {"topic": article.topic},
        )
        item["answer"] = _in_languages(article.languages, article.answer, "\n")
        yield item


def _language(number: int, random: Random) -> str:
    """Of nine items four speak both languages, three English and two Chinese; the start of the turn is
    drawn.
    """
    return ("both", "en", "zh", "both", "en", "both", "zh", "en", "both")[(number + random.randrange(3)) % 9]


def _in_languages(languages: str, texts: tuple[str, str], joint: str) -> str:
    return joint.join(texts) if languages == "both" else texts[languages == "zh"]


def _item(
    place: tuple[str, str, int],
    languages: str,
    title: tuple[str, str],
    text: tuple[str, str] | None,
    brand: str | None,
    price: float | None,
    attributes: dict[str, Any],
) -> Item:
    category, shelf, number = place
    item: Item = {
        "item_id": f"{category}-{shelf.replace(' ', '-')}-{number + 1:02d}",
        "title": _in_languages(languages, title, " / "),
        "categories": [category, shelf],
        "attributes": {**attributes, "languages": ["en", "zh"] if languages == "both" else [languages]},
    }
    if text:
        item["description"] = _in_languages(languages, text, " ")
    if brand:
        item["brand"] = brand
    if price:
        item["price"] = {"amount": _shop_price(price), "currency": "CNY"}
    return item


def _shop_price(amount: float) -> float:
    """Prices as shops write them: 26.9, 159, 1290, 6899."""
    if amount < 60:
        return round(amount) - 0.1
    if amount < 1000:
        return float(round(amount / 10) * 10 - 1)
    return float(round(amount / 100) * 100 - 1)


if __name__ == "__main__":
    write()
