"""What the clothing department sells: brands, colours, materials, and for each garment the cuts that exist
of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.demo.words import pairs

# brand | Chinese name | price level (0 budget, 1 middle, 2 premium)
BRANDS = [
    ("Lindenfell", "林登菲", 2),
    ("Velloa", "薇洛雅", 2),
    ("Yunlan", "云岚", 1),
    ("Tidewick", "潮汐里", 1),
    ("Norrbrae", "北坡", 1),
    ("Mowu", "墨屋", 1),
    ("Pebblestitch", "小石针", 0),
    ("Qinghe Loom", "清禾织", 0),
]

COLOURS = dict(
    pairs("""
red | 红色
blue | 蓝色
navy | 藏青色
green | 绿色
black | 黑色
white | 白色
grey | 灰色
beige | 米色
pink | 粉色
yellow | 黄色
purple | 紫色
brown | 棕色
orange | 橙色
silver | 银色
gold | 金色
""")
)

MATERIALS = dict(
    pairs("""
cotton | 纯棉
organic cotton | 有机棉
linen | 亚麻
silk | 真丝
satin | 缎面
chiffon | 雪纺
velvet | 丝绒
knit | 针织
wool | 羊毛
merino | 美利奴羊毛
cashmere | 羊绒
alpaca | 羊驼毛
flannel | 法兰绒
bamboo | 竹纤维
fleece | 抓绒
denim | 牛仔
stretch | 弹力
washed | 水洗
corduroy | 灯芯绒
leather | 真皮
suede | 麂皮
canvas | 帆布
nylon | 尼龙
mesh | 网面
goose-down | 鹅绒
duck-down | 鸭绒
""")
)

# what a material adds to a price, as a factor; those not named add nothing
COSTLY = {
    "silk": 1.5,
    "cashmere": 1.9,
    "leather": 1.5,
    "suede": 1.3,
    "wool": 1.15,
    "merino": 1.25,
    "alpaca": 1.4,
}
COSTLY |= {"goose-down": 1.35, "velvet": 1.15, "organic cotton": 1.1, "linen": 1.1}


@dataclass(frozen=True)
class Garment:
    """One kind of garment. `cuts` are (English, Chinese, materials); the materials of a cut are those that
    suit it.
    """

    category: str
    noun: tuple[str, str]
    price: float  # CNY, of a middle brand in a plain material
    cuts: list[tuple[str, str, list[str]]]
    use: tuple[str, str]
    colours: tuple[str, ...] = (
        "red",
        "blue",
        "navy",
        "green",
        "black",
        "white",
        "grey",
        "beige",
        "pink",
        "purple",
    )
    sizes: str = "XS S M L XL"


def _cuts(block: str) -> list[tuple[str, str, list[str]]]:
    rows = [[part.strip() for part in line.split("|")] for line in block.strip().splitlines()]
    return [(english, chinese, [m.strip() for m in materials.split(",")]) for english, chinese, materials in rows]


WARM = ("red", "navy", "green", "black", "grey", "beige", "brown", "purple")
SHOES = ("white", "black", "grey", "navy", "red", "green", "beige")
LEATHER = ("black", "brown", "beige", "navy", "red", "green")

GARMENTS = [
    Garment(
        "dresses",
        ("Dress", "连衣裙"),
        420,
        _cuts("""
Wrap | 裹身 | silk, linen, chiffon, cotton
Floral Midi | 碎花中长款 | cotton, chiffon, silk
Maxi | 长款 | linen, chiffon, cotton
Slip | 吊带 | silk, satin, velvet
A-Line | A字 | cotton, linen, knit, velvet
Pleated | 百褶 | chiffon, satin
"""),
        (
            "Falls softly and moves with you, from the office to a summer evening.",
            "垂坠飘逸，从上班到夏夜约会都合适。",
        ),
        ("red", "blue", "green", "black", "white", "pink", "yellow", "purple", "beige"),
    ),
    Garment(
        "skirts",
        ("Skirt", "半身裙"),
        260,
        _cuts("""
Pleated | 百褶 | wool, satin, cotton
A-Line | A字 | denim, corduroy, wool
Midi | 中长款 | linen, satin, knit
Mini | 短款 | denim, corduroy, leather
Pencil | 铅笔 | wool, knit
"""),
        ("Sits neatly at the waist, with hidden pockets.", "高腰剪裁，附隐形口袋。"),
        ("red", "navy", "green", "black", "white", "pink", "brown", "beige"),
    ),
    Garment(
        "shirts",
        ("Shirt", "衬衫"),
        260,
        _cuts("""
Slim-Fit | 修身 | cotton, silk
Relaxed | 宽松 | linen, cotton
Striped | 条纹 | cotton, linen
Checked | 格纹 | flannel, cotton
Band-Collar | 立领 | linen, silk, cotton
Short-Sleeve | 短袖 | linen, cotton
"""),
        ("Breathes well and needs little ironing.", "透气舒适，少熨烫。"),
        ("white", "blue", "navy", "green", "pink", "grey", "red", "beige"),
    ),
    Garment(
        "t-shirts",
        ("T-Shirt", "T恤"),
        110,
        _cuts("""
Crew-Neck | 圆领 | cotton, organic cotton, merino
V-Neck | V领 | cotton, bamboo, merino
Oversized | 宽松 | cotton, organic cotton
Long-Sleeve | 长袖 | cotton, bamboo, merino
Pocket | 口袋 | organic cotton, linen
"""),
        ("A weight for every season, and a collar that keeps its shape.", "四季可穿，领口不易变形。"),
        ("white", "black", "grey", "red", "blue", "green", "yellow", "orange", "purple"),
    ),
    Garment(
        "sweaters",
        ("Sweater", "毛衣"),
        390,
        _cuts("""
Crew-Neck | 圆领 | wool, merino, cashmere, cotton
Turtleneck | 高领 | merino, cashmere, wool
Cable-Knit | 麻花 | wool, alpaca, cotton
V-Neck | V领 | cashmere, merino
Oversized | 宽松 | alpaca, wool
"""),
        ("Warm without weight, and soft on bare skin.", "轻暖亲肤，贴身不扎。"),
        (*WARM, "white", "pink"),
    ),
    Garment(
        "hoodies",
        ("Hoodie", "连帽卫衣"),
        240,
        _cuts("""
Zip-Up | 拉链 | cotton, fleece, organic cotton
Pullover | 套头 | cotton, fleece
Oversized | 宽松 | fleece, organic cotton
Cropped | 短款 | cotton, fleece
"""),
        ("Brushed inside, with a deep hood and a kangaroo pocket.", "内里磨毛，大帽檐，袋鼠口袋。"),
        ("black", "grey", "navy", "green", "red", "orange", "purple", "beige"),
    ),
    Garment(
        "jackets",
        ("Jacket", "夹克"),
        560,
        _cuts("""
Biker | 机车 | leather, suede
Bomber | 飞行员 | nylon, suede, satin
Utility | 工装 | canvas, corduroy, cotton
Trucker | 经典款 | denim, corduroy
Hooded Rain | 连帽防雨 | nylon
"""),
        ("Cut for layering, with sturdy zips and four pockets.", "适合叠穿，结实拉链，四个口袋。"),
        ("black", "navy", "green", "brown", "blue", "beige", "grey"),
    ),
    Garment(
        "coats",
        ("Coat", "大衣"),
        980,
        _cuts("""
Double-Breasted | 双排扣 | wool, cashmere
Belted | 系带 | wool, cashmere, alpaca
Long | 长款 | wool, alpaca
Collarless | 无领 | wool, cashmere
Duffle | 牛角扣 | wool
"""),
        ("Fully lined; holds its line through a whole winter.", "全衬里，整个冬天都挺括有型。"),
        WARM,
    ),
    Garment(
        "down jackets",
        ("Down Jacket", "羽绒服"),
        720,
        _cuts("""
Hooded | 连帽 | goose-down, duck-down
Long | 长款 | goose-down, duck-down
Packable | 可收纳 | goose-down, duck-down
Cropped | 短款 | duck-down, goose-down
"""),
        ("Keeps warm down to fifteen below; sheds light snow and rain.", "零下十五度依然保暖，可挡小雨雪。"),
        ("black", "white", "navy", "red", "green", "silver", "yellow", "purple"),
    ),
    Garment(
        "jeans",
        ("Jeans", "牛仔裤"),
        300,
        _cuts("""
Straight | 直筒 | stretch, washed, organic cotton
Slim | 修身 | stretch, washed
Wide-Leg | 阔腿 | washed, organic cotton
Bootcut | 微喇 | stretch, washed
High-Waisted | 高腰 | stretch, organic cotton
"""),
        ("Holds its shape after fifty washes.", "洗涤五十次仍不变形。"),
        ("blue", "navy", "black", "grey", "white"),
        "26 28 30 32 34",
    ),
    Garment(
        "trousers",
        ("Trousers", "休闲裤"),
        310,
        _cuts("""
Wide-Leg | 阔腿 | linen, wool, cotton
Tapered | 锥形 | cotton, wool, corduroy
Pleated | 褶裥 | wool, linen
Drawstring | 抽绳 | linen, cotton
"""),
        ("Smart enough for a meeting, easy enough for a long flight.", "开会够得体，长途飞行也舒服。"),
        ("black", "navy", "beige", "grey", "brown", "green", "white"),
        "28 30 32 34 36",
    ),
    Garment(
        "sneakers",
        ("Sneakers", "运动鞋"),
        380,
        _cuts("""
Low-Top | 低帮 | canvas, leather, suede
High-Top | 高帮 | canvas, leather
Running | 跑步 | mesh, knit
Trail | 越野 | mesh, suede
Platform | 厚底 | canvas, leather
"""),
        ("Cushioned sole, removable insole, grip for wet streets.", "缓震鞋底，可拆鞋垫，湿路不打滑。"),
        SHOES,
        "36 37 38 39 40 41 42 43 44",
    ),
    Garment(
        "boots",
        ("Boots", "靴子"),
        620,
        _cuts("""
Chelsea | 切尔西 | leather, suede
Ankle | 短筒 | leather, suede
Lace-Up | 系带 | leather, canvas
Knee-High | 长筒 | leather, suede
Hiking | 徒步 | nylon, suede
"""),
        ("Stitched sole that can be replaced; lined for the cold.", "缝线大底可更换，内里保暖。"),
        LEATHER,
        "36 37 38 39 40 41 42 43 44",
    ),
    Garment(
        "bags",
        ("Bag", "包"),
        420,
        _cuts("""
Tote | 托特 | canvas, leather, suede
Crossbody | 斜挎 | leather, nylon, suede
Bucket | 水桶 | leather, canvas
Messenger | 邮差 | canvas, leather, nylon
Weekend | 旅行 | canvas, nylon, leather
"""),
        ("Room for a laptop and a book, with a pocket for keys.", "装得下电脑和书，附钥匙袋。"),
        (*LEATHER, "white", "pink"),
        "one size",
    ),
    Garment(
        "scarves",
        ("Scarf", "围巾"),
        180,
        _cuts("""
Long | 长款 | wool, cashmere, linen
Square | 方形 | silk, satin, cotton
Checked | 格纹 | wool, cashmere
Fringed | 流苏 | wool, alpaca
Striped | 条纹 | cotton, silk, wool
"""),
        ("Hemmed by hand; folds small enough for a pocket.", "手工卷边，折起来可放进口袋。"),
        (*WARM, "white", "pink", "yellow", "blue"),
        "one size",
    ),
    Garment(
        "pyjamas",
        ("Pyjamas", "睡衣套装"),
        230,
        _cuts("""
Long-Sleeve | 长袖 | cotton, silk, flannel, bamboo
Short-Sleeve | 短袖 | cotton, silk, bamboo
Striped | 条纹 | cotton, flannel
Checked | 格纹 | flannel, cotton
"""),
        ("Loose at the wrist and waist, for slow mornings.", "袖口腰间宽松，适合慢悠悠的早晨。"),
        ("blue", "navy", "pink", "white", "green", "grey", "purple"),
    ),
]
