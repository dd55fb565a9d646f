"""Laptops and phones: invented makers, their lines, and the uses that a model is built for."""

from __future__ import annotations

from dataclasses import dataclass

# brand | Chinese name | price level (0 budget, 1 middle, 2 premium)
LAPTOP_BRANDS = [
    ("Corvane", "科凡", 1),
    ("Lumora", "流墨", 2),
    ("Tessarq", "泰萨克", 1),
    ("Halcyra", "海岚", 0),
    ("Ostrel", "奥斯垂", 2),
    ("Quillon", "羽隆", 0),
]
PHONE_BRANDS = [
    ("Mirabo", "米拉波", 1),
    ("Lanxing", "岚星", 1),
    ("Pikori", "皮可里", 0),
    ("Veyra", "维雅", 2),
    ("Ombrel", "昂柏", 2),
    ("Halcyra", "海岚", 0),
]
LAPTOP_LINES = ["Slate", "Drift", "Ember", "Kestrel", "Meridian", "Pavo", "Solace", "Tarn"]
PHONE_LINES = ["Arc", "Fjord", "Glint", "Nimbus", "Pulse", "Rill", "Tempo", "Zephyr"]


@dataclass(frozen=True)
class Build:
    """What a model is made for: words for its title and description, and the specification that goes with
    it.
    """

    theme: str
    title: tuple[str, str]
    text: tuple[str, str]
    price: float  # CNY, of a middle brand in the smallest configuration
    screens: tuple[float, ...]  # inches
    memory: tuple[int, ...]  # GB
    storage: tuple[int, ...]  # GB
    battery: tuple[int, int]  # hours for a laptop, mAh for a phone
    colours: tuple[str, ...]


LAPTOPS = [
    Build(
        "ultralight",
        ("Ultralight Laptop", "轻薄笔记本电脑"),
        (
            "Under one kilogram, silent, and light enough to forget in your bag.",
            "不到一公斤，静音无风扇，放在包里几乎感觉不到。",
        ),
        5200,
        (13.3, 14.0),
        (8, 16),
        (256, 512),
        (14, 20),
        ("silver", "white", "blue", "pink"),
    ),
    Build(
        "gaming",
        ("Gaming Laptop", "游戏笔记本电脑"),
        (
            "A dedicated graphics card and a fast screen keep big games smooth.",
            "独立显卡配高刷新率屏幕，大型游戏也流畅。",
        ),
        7400,
        (15.6, 16.0, 17.3),
        (16, 32),
        (512, 1024),
        (5, 8),
        ("black", "grey", "red"),
    ),
    Build(
        "business",
        ("Business Laptop", "商务笔记本电脑"),
        (
            "Fingerprint reader, privacy screen, and a keyboard made for long reports.",
            "指纹识别、防窥屏幕，键盘适合长时间办公。",
        ),
        6100,
        (14.0, 15.6),
        (16, 32),
        (512, 1024),
        (12, 18),
        ("black", "grey", "navy"),
    ),
    Build(
        "creator",
        ("Creator Laptop", "设计师笔记本电脑"),
        (
            "A calibrated high-resolution display for photo and video editing.",
            "出厂校色的高分辨率屏幕，修图剪片得心应手。",
        ),
        8800,
        (14.0, 16.0),
        (32, 64),
        (1024, 2048),
        (9, 13),
        ("silver", "grey", "gold"),
    ),
    Build(
        "student",
        ("Student Laptop", "学生笔记本电脑"),
        (
            "Sturdy hinge, all-day battery and a price that leaves money for books.",
            "转轴结实，续航一整天，价格也留得下买书的钱。",
        ),
        3300,
        (14.0, 15.6),
        (8, 16),
        (256, 512),
        (9, 13),
        ("blue", "white", "green", "silver"),
    ),
]

PHONES = [
    Build(
        "camera",
        ("Camera Phone", "拍照手机"),
        (
            "Large sensor and steady night mode, for pictures worth printing.",
            "大底传感器配稳定夜景模式，拍出值得冲印的照片。",
        ),
        3600,
        (6.3, 6.7),
        (8, 12),
        (256, 512),
        (4500, 5200),
        ("black", "white", "green", "purple"),
    ),
    Build(
        "compact",
        ("Compact Phone", "小屏手机"),
        (
            "Fits in one hand and in a small pocket, without giving up speed.",
            "单手可握，小口袋也放得下，性能不打折。",
        ),
        2600,
        (5.4, 5.9),
        (6, 8),
        (128, 256),
        (3600, 4100),
        ("pink", "blue", "black", "yellow"),
    ),
    Build(
        "gaming",
        ("Gaming Phone", "游戏手机"),
        (
            "Shoulder keys, a quick screen and cooling for long matches.",
            "肩键、高刷屏幕与散热系统，长时间对战不发烫。",
        ),
        3200,
        (6.7, 6.8),
        (12, 16),
        (256, 512),
        (5200, 6000),
        ("black", "red", "silver"),
    ),
    Build(
        "long battery",
        ("Long-Battery Phone", "长续航手机"),
        ("Three days on one charge, and a full charge over breakfast.", "一次充电用三天，吃顿早饭就能充满。"),
        1500,
        (6.5, 6.7),
        (6, 8),
        (128, 256),
        (6500, 7500),
        ("blue", "green", "black"),
    ),
    Build(
        "folding",
        ("Folding Phone", "折叠屏手机"),
        (
            "Opens into a small tablet for reading, maps and two apps side by side.",
            "展开就是小平板，看书、看地图、双应用并排都方便。",
        ),
        6800,
        (7.6, 7.9),
        (12, 16),
        (256, 512),
        (4400, 5000),
        ("gold", "black", "purple", "white"),
    ),
    Build(
        "easy-to-use",
        ("Easy-to-Use Phone", "老人手机"),
        (
            "Big keys, loud speaker and one button that calls the family.",
            "大字体、大音量，一键呼叫家人，适合长辈使用。",
        ),
        800,
        (5.7, 6.1),
        (3, 4),
        (32, 64),
        (4800, 5500),
        ("red", "black", "gold"),
    ),
]
