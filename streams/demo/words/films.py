"""Films, by genre: titles, directors and studios of the project's own making."""

from __future__ import annotations

from streams.demo.words import pairs

STUDIOS = [
    ("Greyheron Pictures", "灰鹭影业", 1),
    ("Long Shore Films", "长岸电影", 0),
    ("Red Kettle Pictures", "红壶影业", 1),
    ("West Lantern", "西灯影业", 2),
    ("Seventh Bell", "第七钟影业", 0),
]

DIRECTORS = pairs("""
Ottilie Brandmoor | 奥蒂莉·布兰德莫
Casimir Wrenfold | 卡西米·伦福德
Shu Wanzhou | 舒晚舟
Ines Castelmar | 伊内斯·卡斯特玛
Gu Yanqi | 谷砚栖
Tamsin Orrowby | 塔姆辛·奥罗比
Murong Bei | 慕容北野
Ravi Sundermarsh | 拉维·桑德马什
""")

GENRES: dict[str, tuple[str, list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]] = {
    "science fiction": (
        "科幻",
        pairs("""
The Last Orbit of Maris | 玛丽斯的最后轨道
Seed Ship Eleven | 种子飞船十一号
Memory for Rent | 记忆出租
Beneath Two Suns | 双日之下
The Copper Android | 铜色机器人
Signal from the Ice Moon | 冰月来信
Tomorrow, Again, Tomorrow | 明日复明日
The Gravity Thief | 偷重力的人
City Without Shadows | 无影之城
Astronaut's Winter | 宇航员的冬天
The Quantum Ferry | 量子渡轮
"""),
        pairs("""
A tired pilot | 一名疲惫的飞行员
A linguist on a distant moon | 遥远卫星上的一位语言学家
The last engineer awake | 唯一醒着的工程师
"""),
        pairs("""
must choose between the crew and the Earth | 必须在船员与地球之间抉择
receives a message sent by herself | 收到一封来自自己的讯息
discovers that the ship has been dreaming | 发现飞船一直在做梦
"""),
    ),
    "horror": (
        "恐怖",
        pairs("""
The House That Hummed | 低鸣的房子
Midnight Bell Ringer | 午夜敲钟人
Salt Around the Bed | 床边的盐
She Came from the Reservoir | 水库来客
No Face in the Photograph | 无面照片
The Seventh Incense | 第七炷香
Under the Floor of Room Nine | 九号房地板下
Lullaby for the Buried | 葬者摇篮曲
The Scarecrow Blinks | 稻草人眨眼
Hungry Ghost Avenue | 饿鬼大道
What the Attic Keeps | 阁楼藏着什么
"""),
        pairs("""
A young family | 一个年轻的家庭
A night nurse | 一名夜班护士
A student on holiday | 一名度假的学生
"""),
        pairs("""
hears footsteps where no one lives | 听见无人之处的脚步声
finds a door that was not there yesterday | 发现昨天还不存在的门
learns why the village locks its well | 得知村子为何锁上那口井
"""),
    ),
    "comedy": (
        "喜剧",
        pairs("""
My Mother Hired a Robot | 我妈雇了个机器人
Three Weddings and a Goat | 三场婚礼一只羊
The Worst Hotel in Spring Bay | 春湾最差旅馆
Grandpa Goes Viral | 爷爷红了
Dumpling Diplomacy | 饺子外交
Wrong Bus to Happiness | 坐错车的幸福
The Accidental Mayor | 误打误撞当市长
Office Plant Detective | 办公室绿植侦探
Lost in the Night Market | 夜市走丢记
A Very Polite Robbery | 彬彬有礼的抢劫
The Choir That Could Not Sing | 不会唱歌的合唱团
"""),
        pairs("""
An unlucky chef | 一个倒霉的厨师
A grumpy neighbour | 一个爱抱怨的邻居
A retired bus driver | 一位退休公交司机
"""),
        pairs("""
tells one small lie that grows all summer | 撒了一个小谎，整个夏天越滚越大
ends up running the wrong business | 阴差阳错做起了别的生意
has one week to save the family restaurant | 只有一周时间拯救家里的餐馆
"""),
    ),
    "romance": (
        "爱情",
        pairs("""
Letters Across the Strait | 海峡两岸的信
Umbrella for Two | 两个人的伞
The Piano in the Ferry Hall | 渡轮大厅的钢琴
Slow Train to Suzhen | 开往苏镇的慢车
Your Name in the Margin | 页边你的名字
Before the Osmanthus Falls | 桂花落下之前
Love in the Time Zones | 时区恋人
The Beekeeper's Daughter Dances | 养蜂人的女儿起舞
Rooftop Winter Kiss | 天台冬吻
Second Chance Bakery | 再遇面包房
A Summer of Missed Calls | 未接来电的夏天
"""),
        pairs("""
A translator and a cellist | 一位翻译与一位大提琴手
Two strangers on a night train | 夜车上的两个陌生人
Childhood friends | 一对青梅竹马
"""),
        pairs("""
meet again ten years too late | 在迟到十年后重逢
share one umbrella and then a city | 先共一把伞，再共一座城
write letters that never say the one thing | 写了许多信，却从未说出那句话
"""),
    ),
    "thriller": (
        "惊悚",
        pairs("""
The Ninth Witness | 第九位证人
Cold Harbour Protocol | 冷港协议
Forty Minutes to Dawn | 黎明前四十分钟
The Interpreter's Silence | 翻译官的沉默
Glass Alibi | 玻璃不在场证明
Undercurrent City | 暗流之城
The Man Who Sold Tomorrow's News | 出售明日新闻的人
Dead Letter Street | 死信街
A Stranger Has the Keys | 钥匙在陌生人手里
Double Ledger | 双重账本
The Last Cable Car | 末班缆车
"""),
        pairs("""
A forensic accountant | 一名法务会计
A detective about to retire | 一位即将退休的警探
A translator at a trial | 庭审上的一位翻译
"""),
        pairs("""
hears the one sentence that can kill | 听到一句足以致命的话
has until dawn to find the truth | 必须在天亮前查清真相
follows the money to an old friend | 顺着账目查到一位老友
"""),
    ),
    "animation": (
        "动画",
        pairs("""
Pip and the Paper Dragon | 皮皮与纸龙
The Whale Who Carried a Village | 驮着村庄的鲸
Moon Rabbit Express | 月兔快递
The Tailor Mouse of Lantern Lane | 灯笼巷的裁缝鼠
Cloud Shepherds | 牧云少年
Tiny Thunder | 小雷公
Nana's Flying Teapot | 奶奶的飞天茶壶
The Snail Who Raced the Rain | 和雨赛跑的蜗牛
Bamboo Boy | 竹孩儿
Kingdom of Lost Socks | 丢失袜子王国
The Fox Painter | 画狐
"""),
        pairs("""
A shy girl with a kite | 一个带着风筝的害羞女孩
A very small dragon | 一条很小很小的龙
A brave mouse | 一只勇敢的老鼠
"""),
        pairs("""
sets out to bring back the stolen rain | 出发去找回被偷走的雨
finds a friend above the clouds | 在云上遇见了朋友
saves the festival with a needle and thread | 用一针一线拯救了灯会
"""),
    ),
    "documentary": (
        "纪录片",
        pairs("""
A Year on the Salt Lake | 盐湖一年
The Bread We Share | 分享面包
Voices of the Last Ferrymen | 最后的摆渡人
Deep Kelp | 海藻深林
Repairing the Night Sky | 修复夜空
Bridges of Stone and Rope | 石桥与绳桥
The Crane Counters | 数鹤人
How a City Drinks | 城市如何饮水
Made by Hand in Qingshi | 青石手作
Tea, Slowly | 慢慢喝茶
Rails to the Roof of the World | 通往世界屋脊的铁轨
"""),
        pairs("""
Filmed over three winters | 历时三个冬天拍摄
Told by those who live there | 由当地人亲口讲述
With pictures never shown before | 呈现从未公开的画面
"""),
        pairs("""
a patient look at work, weather and hope | 耐心凝视劳作、天气与希望
how people and nature keep a fragile peace | 记录人与自然脆弱的和平
the quiet craft behind everyday things | 展现日常之物背后的手艺
"""),
    ),
    "wuxia": (
        "武侠",
        pairs("""
Snow on the Broken Sword | 断剑雪
The Inn at Crane Pass | 鹤关客栈
Nine Strokes of the Willow | 柳叶九式
Blind Swordsman of Mist River | 雾江盲侠
The Silent Flute Sect | 无声笛派
Ten Thousand Li of Moonlight | 月光万里
The Escort and the Fox Mask | 镖师与狐面
Rain over Iron Bridge | 铁桥风雨
A Debt of Plum Blossoms | 梅花债
The Last Disciple | 末代弟子
Shadow of the White Ape | 白猿影
"""),
        pairs("""
A wandering swordswoman | 一位云游女侠
A disgraced escort guard | 一名落魄镖师
A retired swordsman | 一位归隐的剑客
"""),
        pairs("""
must carry a letter through the mountains | 要带一封信翻越群山
returns to the school that closed its gates | 重返紧闭大门的师门
meets an old enemy at a lonely inn | 在孤零零的客栈遇见宿敌
"""),
    ),
}
