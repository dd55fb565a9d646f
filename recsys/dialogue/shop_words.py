"""Words of shops in English and Chinese: nouns, colours, brands, attributes. Data only, read at import.

A line of a table is `english, other english | chinese, other chinese > wider word`; the first English name is
the word's name everywhere else. Its names stand for each other, so 连衣裙 can name the category "Dresses"; a
wider word is met by a narrower one: sneakers are shoes. English names are singular, as `recsys.text.stem` leaves
them. Simplified characters only: the tokeniser turns the common traditional ones into these first.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One thing with its names. `english` and `chinese` are in order of preference; `wider` is another's name."""

    name: str
    english: tuple[str, ...]
    chinese: tuple[str, ...]
    wider: str | None


def _names(part: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in part.split(",") if name.strip())


def _table(lines: str) -> dict[str, Entry]:
    entries = {}
    for line in lines.strip().splitlines():
        names, _, wider = line.partition(">")
        english, _, chinese = names.partition("|")
        first = _names(english)[0]
        entries[first] = Entry(first, _names(english), _names(chinese), wider.strip() or None)
    return entries


NOUNS = _table(
    """
    clothing, clothes, apparel, garment | 服装, 衣服, 服饰, 衣物
    dress, gown, frock | 连衣裙, 裙子, 裙, 长裙, 短裙子 > clothing
    skirt, miniskirt | 半身裙, 半裙, 短裙 > clothing
    wedding dress | 婚纱 > dress
    jacket | 外套, 夹克, 夹克衫 > clothing
    coat, overcoat | 大衣, 外衣 > clothing
    down jacket, puffer jacket, puffer | 羽绒服 > jacket
    windbreaker, trench coat | 风衣 > jacket
    raincoat | 雨衣 > coat
    shirt | 衬衫, 衬衣 > clothing
    blouse | 女士衬衫, 罩衫 > shirt
    t-shirt, tshirt, tee, tee shirt | T恤, T恤衫, 短袖 > clothing
    polo shirt, polo | polo衫 > clothing
    sweater, jumper, pullover, cardigan | 毛衣, 针织衫, 开衫 > clothing
    hoodie, sweatshirt | 卫衣, 帽衫, 连帽卫衣 > clothing
    pant, trouser | 裤子, 长裤, 裤, 休闲裤, 西裤, 西装裤 > clothing
    jean | 牛仔裤 > pant
    shorts | 短裤 > pant
    legging | 打底裤, 紧身裤 > pant
    suit | 西装, 西服 > clothing
    swimsuit, swimwear, bikini | 泳衣, 泳装, 比基尼 > clothing
    underwear, lingerie | 内衣, 内裤 > clothing
    bra | 文胸, 胸罩 > underwear
    pajama, pyjama, sleepwear | 睡衣, 睡衣套装 > clothing
    sock, stocking | 袜子, 丝袜, 袜 > clothing
    shoe, footwear | 鞋, 鞋子, 鞋类
    sneaker, trainer | 运动鞋, 球鞋, 休闲鞋 > shoe
    running shoe | 跑鞋, 跑步鞋 > sneaker
    basketball shoe | 篮球鞋 > sneaker
    boot | 靴子, 靴, 马丁靴 > shoe
    sandal | 凉鞋 > shoe
    slipper, flip flop | 拖鞋 > shoe
    high heel, heel | 高跟鞋 > shoe
    dress shoe, oxford shoe | 皮鞋 > shoe
    bag | 包, 包包, 箱包
    handbag, purse, tote, tote bag | 手提包, 手袋, 托特包 > bag
    backpack, rucksack, schoolbag | 双肩包, 背包, 书包 > bag
    wallet | 钱包
    suitcase, luggage | 行李箱, 拉杆箱, 旅行箱
    laptop bag, laptop case, laptop sleeve | 电脑包 > bag
    hat, cap, beanie | 帽子, 棒球帽
    scarf | 围巾, 丝巾
    glove, mitten | 手套
    belt | 皮带, 腰带
    sunglass, sunglasses | 太阳镜, 墨镜
    glasses, eyeglass, spectacle | 眼镜
    watch, wristwatch | 手表, 腕表
    smartwatch, smart watch | 智能手表 > watch
    jewelry, jewellery | 首饰, 珠宝, 饰品
    necklace | 项链 > jewelry
    ring | 戒指 > jewelry
    earring | 耳环, 耳钉 > jewelry
    bracelet | 手链, 手镯 > jewelry
    umbrella | 雨伞, 伞
    phone, smartphone, mobile phone, cell phone, cellphone, mobile | 手机, 智能手机, 移动电话
    phone case, phone cover | 手机壳, 手机套
    laptop, notebook computer, notebook pc, laptop computer | 笔记本电脑, 笔记本, 手提电脑 > computer
    gaming laptop | 游戏本, 游戏笔记本 > laptop
    ultralight laptop | 轻薄本, 超极本 > laptop
    business laptop | 商务本 > laptop
    student laptop | 学生本 > laptop
    computer, pc | 电脑, 计算机
    desktop, desktop computer | 台式机, 台式电脑 > computer
    tablet | 平板电脑, 平板
    monitor | 显示器, 屏幕
    keyboard | 键盘
    mouse | 鼠标
    gaming mouse | 游戏鼠标 > mouse
    printer | 打印机
    router | 路由器
    headphone, headset | 耳机, 头戴式耳机
    earphone, earbud | 耳塞, 入耳式耳机, 无线耳机 > headphone
    speaker | 音箱, 音响
    camera | 相机, 照相机, 摄像机
    television, tv, smart tv | 电视, 电视机
    charger | 充电器
    power bank | 充电宝, 移动电源
    cable | 数据线, 线缆
    hard drive, hard disk, ssd | 硬盘, 固态硬盘
    usb drive, flash drive | u盘
    graphics card, gpu | 显卡
    drone | 无人机
    electronics | 电子产品, 数码产品, 数码
    accessory | 配件
    game | 游戏
    video game, computer game | 电子游戏, 电脑游戏 > game
    mobile game | 手游, 手机游戏 > video game
    board game | 桌游, 桌面游戏 > game
    card game | 卡牌游戏, 卡牌 > game
    game console, console | 游戏机, 主机
    controller, gamepad | 手柄, 游戏手柄
    puzzle | 拼图, 益智, 解谜
    action | 动作
    adventure | 冒险
    strategy | 策略
    role playing, rpg, role playing game | 角色扮演
    simulation | 模拟
    shooter, fps | 射击
    space shooter | 太空射击, 太空射击游戏 > shooter
    platformer, platform, jump and run | 平台跳跃, 平台动作
    farming, farm, farming sim | 农场经营, 农场, 种田
    city building, city builder | 城市建造, 城市建设, 模拟城市, 城建
    racing | 竞速, 赛车
    sport | 体育, 运动
    casual | 休闲
    indie | 独立, 独立游戏
    horror | 恐怖
    comedy, black comedy | 喜剧, 搞笑, 黑色幽默
    romance | 爱情, 言情, 浪漫
    thriller | 惊悚
    mystery | 悬疑, 推理
    fantasy | 奇幻, 玄幻, 魔幻
    science fiction, sci fi, scifi | 科幻
    documentary | 纪录片
    animation, animated, cartoon | 动画
    anime | 动漫, 番剧
    drama | 剧情
    wuxia, martial art, kung fu | 武侠, 功夫
    war | 战争
    western | 西部
    musical | 音乐剧, 歌舞片
    crime | 犯罪
    film, movie, motion picture | 电影, 影片, 片子
    horror film, horror movie | 恐怖片, 恐怖电影 > horror
    comedy film, comedy movie | 喜剧片, 喜剧电影 > comedy
    romance film, romantic film, romantic movie | 爱情片, 爱情电影 > romance
    thriller film | 惊悚片, 惊悚电影, 悬疑片 > thriller
    science fiction film, sci fi film, sci fi movie | 科幻片, 科幻电影 > science fiction
    science fiction novel, sci fi novel | 科幻小说 > science fiction
    animation film, animated film, cartoon film | 动画片, 动画电影 > animation
    action film, action movie | 动作片 > action
    drama film | 剧情片 > drama
    war film | 战争片 > war
    western film | 西部片 > western
    crime film | 犯罪片 > crime
    wuxia film, kung fu film, martial art film | 武侠片, 功夫片 > wuxia
    tv series, tv show, series | 电视剧, 连续剧, 剧集
    book | 书, 书籍, 图书
    novel | 小说 > book
    fiction | 虚构
    ebook | 电子书 > book
    textbook | 教材, 课本 > book
    comic, manga, graphic novel | 漫画 > book
    cookbook, cooking book, recipe book | 食谱, 菜谱 > book
    picture book, children's book, kids book | 绘本, 儿童绘本, 图画书, 童书 > book
    travel book, travel writing, travelogue | 旅行文学, 游记, 旅行书 > book
    programming book, coding book | 编程图书, 编程书 > book
    history book | 历史读物, 历史书 > book
    biography | 传记 > book
    history | 历史
    cooking, cookery | 烹饪, 厨艺
    travel, travelling, traveling | 旅行, 旅游
    programming, coding | 编程
    poetry | 诗歌, 诗集
    magazine | 杂志
    music | 音乐
    album | 专辑 > music
    toy | 玩具
    doll | 娃娃, 玩偶 > toy
    plush toy, stuffed animal | 毛绒玩具 > toy
    building block | 积木 > toy
    furniture | 家具
    chair | 椅子, 座椅
    desk | 书桌, 办公桌
    table | 桌子, 餐桌
    sofa, couch | 沙发
    bed | 床
    mattress | 床垫
    bookshelf, bookcase | 书架
    wardrobe | 衣柜
    lamp | 台灯, 灯具
    curtain | 窗帘
    carpet, rug | 地毯
    pillow | 枕头
    bedding | 床上用品, 床品
    kitchen | 厨房, 厨具
    cup, mug | 杯子, 马克杯, 水杯
    pot, pan | 锅, 炒锅
    knife | 刀具, 菜刀
    coffee machine, coffee maker | 咖啡机
    refrigerator, fridge | 冰箱
    washing machine | 洗衣机
    air conditioner | 空调
    vacuum cleaner, vacuum | 吸尘器
    home appliance, appliance | 家电, 电器
    food | 食品, 食物, 美食
    snack | 零食
    drink, beverage | 饮料
    coffee | 咖啡 > drink
    tea | 茶叶, 茶 > drink
    wine | 葡萄酒, 红酒, 白葡萄酒
    beer | 啤酒
    chocolate | 巧克力 > snack
    fruit | 水果
    cosmetics, makeup | 化妆品, 彩妆
    lipstick | 口红 > cosmetics
    perfume, fragrance | 香水
    skincare, skin care | 护肤品, 护肤
    shampoo | 洗发水
    sunscreen | 防晒霜
    toothbrush | 牙刷
    sports equipment | 运动器材, 体育用品
    bicycle, bike | 自行车, 单车
    yoga mat | 瑜伽垫
    dumbbell | 哑铃
    tent | 帐篷
    football, soccer | 足球
    basketball | 篮球
    car | 汽车, 轿车
    stationery | 文具
    pen | 钢笔, 圆珠笔
    gift, present | 礼物, 礼品
    gift card | 礼品卡
    flower | 鲜花
    pet supplies, pet | 宠物用品, 宠物
    baby, infant | 婴儿, 宝宝
    kid, child | 儿童, 孩子, 小孩, 童装
    woman, lady, female | 女士, 女装, 女性, 女款, 女式
    man, gentleman, male | 男士, 男装, 男性, 男款, 男式
    girl | 女孩, 女童
    boy | 男孩, 男童
    help, help article | 帮助, 帮助中心
    """
)

# What kinds of a thing are called beside it: 游戏 means "gaming" only in 游戏手机, 老人 names no shelf alone.
KINDS = _table(
    """
    gaming | 电竞, 游戏
    ultralight, ultraportable, ultra light, thin and light, lightweight | 轻薄, 超轻薄, 超薄, 轻便
    business, office | 商务, 办公
    creator, design, designer | 设计师, 创作, 创作者, 设计
    student, college | 学生, 大学生
    camera, photo, photography | 拍照, 摄影, 影像
    compact, small, small screen, mini | 小屏, 小屏幕, 小尺寸, 迷你
    long battery, long lasting, long battery life, big battery | 长续航, 大电池, 超长续航
    folding, foldable, fold, flip | 折叠屏, 折叠
    easy to use, senior, elderly | 老人, 老年人, 老年, 长辈
    wireless | 无线
    waterproof | 防水
    """
)

# Nouns for people: "shoes for women" asks for both, "kids under 5" tells an age.
PEOPLE = frozenset({"baby", "kid", "woman", "man", "girl", "boy"})

MATERIALS = _table(
    """
    leather | 皮革, 真皮, 皮质
    cotton | 棉, 纯棉, 棉质, 全棉
    silk | 丝绸, 真丝, 蚕丝
    wool | 羊毛, 毛呢
    cashmere | 羊绒
    linen | 亚麻
    denim | 牛仔布, 丹宁
    polyester | 涤纶, 聚酯纤维
    nylon | 尼龙
    lace | 蕾丝
    fur | 皮草
    velvet | 天鹅绒, 丝绒
    plastic | 塑料
    metal | 金属
    wood, wooden | 木质, 实木, 木头
    glass | 玻璃
    steel, stainless steel | 不锈钢
    ceramic | 陶瓷
    sugar | 糖
    nut | 坚果
    peanut | 花生
    milk | 牛奶
    gluten | 麸质
    meat | 肉
    """
)

COLOURS = _table(
    """
    red, scarlet, crimson | 红色, 红, 大红色, 大红, 正红色, 赤色
    blue | 蓝色, 蓝
    navy, navy blue, dark blue | 藏青色, 藏青, 深蓝色, 深蓝, 海军蓝, 藏蓝色, 藏蓝
    light blue, sky blue | 浅蓝色, 浅蓝, 天蓝色, 天蓝
    green | 绿色, 绿
    dark green | 深绿色, 深绿, 墨绿色, 墨绿
    light green | 浅绿色, 浅绿
    yellow | 黄色, 黄
    orange | 橙色, 橘色, 橙, 橘黄色
    purple | 紫色, 紫
    violet | 紫罗兰色
    lavender | 薰衣草色
    pink | 粉色, 粉红色, 粉红, 粉
    black | 黑色, 黑
    white | 白色, 白, 纯白色
    off white, ivory, cream | 米白色, 米白, 象牙白, 奶白色, 乳白色
    grey, gray | 灰色, 灰
    dark grey, dark gray, charcoal | 深灰色, 深灰
    light grey, light gray | 浅灰色, 浅灰
    brown | 棕色, 褐色, 咖啡色, 棕, 咖色
    beige | 米色, 杏色
    khaki | 卡其色, 卡其
    tan, camel | 驼色
    gold, golden | 金色, 金黄色
    silver | 银色, 银白色
    rose gold | 玫瑰金, 玫瑰金色
    burgundy, maroon, wine red, dark red | 酒红色, 酒红, 暗红色, 深红色, 枣红色
    turquoise, teal, cyan | 青色, 蓝绿色, 青绿色
    coral | 珊瑚色
    olive, olive green | 橄榄绿, 军绿色, 军绿
    multicolour, multicolor, multicoloured, multicolored, colorful, colourful | 彩色, 多色, 花色
    transparent, clear | 透明, 透明色
    """
)

# English colour names that mostly mean something else in running text: colours only as a value of an item.
SHY_COLOURS = frozenset(
    {
        "cream",
        "clear",
        "tan",
        "camel",
        "colorful",
        "colourful",
        "violet",
        "lavender",
        "charcoal",
        "golden",
        "花色",
    }
)

BRANDS = _table(
    """
    nike | 耐克
    adidas | 阿迪达斯, 阿迪
    puma | 彪马
    new balance | 新百伦
    converse | 匡威
    under armour | 安德玛
    li-ning, lining | 李宁
    anta | 安踏
    asics | 亚瑟士
    skechers | 斯凯奇
    uniqlo | 优衣库
    levi's | 李维斯
    the north face, north face | 北面
    gucci | 古驰
    chanel | 香奈儿
    louis vuitton, lv | 路易威登
    hermes | 爱马仕
    apple | 苹果
    huawei | 华为
    honor | 荣耀
    xiaomi, mi | 小米
    redmi | 红米
    samsung | 三星
    oneplus | 一加
    lenovo | 联想
    thinkpad | 小黑
    dell | 戴尔
    hp, hewlett packard | 惠普
    asus | 华硕
    acer | 宏碁
    msi | 微星
    microsoft | 微软
    google | 谷歌
    sony | 索尼
    nintendo | 任天堂
    canon | 佳能
    nikon | 尼康
    panasonic | 松下
    philips | 飞利浦
    dyson | 戴森
    bosch | 博世
    siemens | 西门子
    haier | 海尔
    midea | 美的电器
    logitech | 罗技
    razer | 雷蛇
    intel | 英特尔
    lego | 乐高
    ikea | 宜家
    muji | 无印良品
    starbucks | 星巴克
    casio | 卡西欧
    rolex | 劳力士
    disney | 迪士尼
    """
)

# Names of attributes of items; the first English one is only a name of the line.
ATTRIBUTES = _table(
    """
    size | 尺码, 尺寸, 码数, 大小
    material, fabric | 材质, 材料, 面料
    memory, ram | 内存, 运行内存
    storage, capacity | 存储, 容量, 存储空间
    screen, screen size, display | 屏幕尺寸
    weight | 重量
    style | 风格, 款式
    season | 季节
    gender | 性别
    platform | 平台
    language | 语言
    year | 年份
    author | 作者
    director | 导演
    publisher | 出版社, 发行商
    developer | 开发商
    rating | 评分
    battery | 电池, 续航
    sleeve, sleeve length | 袖长
    """
)
