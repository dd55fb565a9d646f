"""Books, by subject: titles, authors and publishers of the project's own making."""

from __future__ import annotations

from streams.demo.words import pairs

PUBLISHERS = [
    ("Fern & Inkwell", "蕨墨书局", 1),
    ("Harbour Lamp Press", "港灯出版社", 0),
    ("Nine Bridges Books", "九桥书社", 1),
    ("Stonecrop Library", "景天文库", 0),
    ("Vellum Lane", "犊皮巷书坊", 2),
]

AUTHORS = pairs("""
Orla Vennimarsh | 奥拉·文尼玛什
Tobin Achterly | 托宾·阿赫特利
Isolde Farrowmere | 伊索尔德·法罗米尔
Cassim Bellorane | 卡西姆·贝洛兰
Petra Oakhollow | 佩特拉·奥克霍洛
Dunstan Wyrleigh | 邓斯坦·沃利
Lu Mizhou | 陆觅舟
Shen Qihe | 沈栖禾
Wenren Yanqiu | 闻人砚秋
Su Duchuan | 苏渡川
Bai Yumian | 白羽眠
Amaru Tintaya-Voss | 阿马鲁·廷塔亚沃斯
""")

GENRES: dict[str, tuple[str, list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]] = {
    "science fiction": (
        "科幻",
        pairs("""
The Lighthouse at Tau Seven | 陶七号灯塔
A Brief Silence of Machines | 机器的短暂沉默
Gardeners of the Dyson Ring | 戴森环上的园丁
The Tide Beneath Saturn | 土星之下的潮汐
Salt Circuit | 盐之回路
The Year the Stars Moved | 群星移动之年
Children of the Slow Ship | 慢船之子
Every Clock on Mars | 火星上的每一座钟
The Empathy Engine | 共情引擎
Letters to a Distant Probe | 写给远方探测器的信
The Silicon Monastery | 硅基修道院
"""),
        pairs("""
A repairwoman on a forgotten station | 一位被遗忘空间站上的女修理工
A lonely archivist | 一名孤独的档案员
A retired astronaut | 一位退休宇航员
"""),
        pairs("""
finds a message older than the Sun | 发现一条比太阳更古老的讯息
must decide what humankind may remember | 必须决定人类可以记住什么
raises the first child born between stars | 抚养第一个诞生于星际的孩子
"""),
    ),
    "fantasy": (
        "奇幻",
        pairs("""
The Bone-Flute Heir | 骨笛继承人
Map of Vanishing Rivers | 消失之河地图
The Dragon Who Kept Accounts | 记账的龙
Queen of the Moth Court | 飞蛾宫廷女王
A Thousand Paper Spirits | 千纸灵
The Apprentice of Hollow Hill | 空山学徒
Winter's Ninth Name | 冬天的第九个名字
The Fox Spirit's Bargain | 狐仙的交易
Tower of Borrowed Voices | 借声之塔
The Swordsmith's Shadow | 铸剑师之影
Sea of Glass Horses | 玻璃马之海
"""),
        pairs("""
An orphan who hears stones | 一个能听见石头说话的孤儿
A court magician out of favour | 一位失宠的宫廷法师
A young mapmaker | 一名年轻的制图师
"""),
        pairs("""
bargains with a river god | 与河神做了一笔交易
crosses a desert of sleeping giants | 穿越沉睡巨人的沙漠
inherits a spell nobody can finish | 继承了一道无人能完成的咒语
"""),
    ),
    "mystery": (
        "推理",
        pairs("""
The Poisoned Inkstone | 毒砚
Murder at the Tide Mill | 潮汐磨坊谋杀案
The Librarian Who Knew Too Little | 知道太少的图书管理员
Thirteen Umbrellas | 十三把伞
A Corpse for the Harvest Fair | 丰收集市的尸体
The Locked Teahouse | 密室茶馆
Footprints on Fresh Plaster | 新灰泥上的脚印
The Alibi of Doctor Mirren | 米伦医生的不在场证明
Case of the Silent Parrot | 沉默鹦鹉案
Last Stop, Lotus Station | 终点站：莲花站
The Widow's Chess Problem | 寡妇的棋局
"""),
        pairs("""
A village postmistress | 一位乡村女邮差
An inspector with a bad memory | 一位记性不好的警探
A tea merchant | 一名茶商
"""),
        pairs("""
notices the one thing out of place | 注意到唯一不对劲的细节
has nine suspects and a single night | 面对九名嫌疑人和仅有的一夜
solves a death that everyone calls an accident | 破解了一桩众人都说是意外的命案
"""),
    ),
    "romance": (
        "爱情",
        pairs("""
A Window on Plane Tree Street | 梧桐街的窗
The Summer We Kept Bees | 我们养蜂的夏天
Half a Cup of Moonlight | 半杯月光
The Florist's Second Spring | 花店的第二个春天
Yours, in Every Weather | 风雨皆归你
An Invitation to Pearl Island | 珍珠岛的邀请
Love, Misfiled | 归错档的爱
The Long Way to Your Door | 绕路去见你
Snow on Our Scarves | 落在围巾上的雪
What the Violin Said | 小提琴说了什么
Meet Me at Platform Four | 四号站台见
"""),
        pairs("""
A widowed florist | 一位丧偶的花店主
A stubborn baker | 一位倔强的面包师
A shy piano tuner | 一个腼腆的调琴师
"""),
        pairs("""
learns to trust a second spring | 学会相信第二个春天
answers a letter meant for someone else | 回复了一封寄错的信
has one summer to say it | 只有一个夏天来说出口
"""),
    ),
    "history": (
        "历史",
        pairs("""
Salt, Silk and Silver | 盐、丝与白银
The Bridge Builders of the South | 江南造桥人
A Short History of Paper | 纸的简史
Caravans of the Night | 夜行商队
When the River Changed Its Course | 大河改道之时
The Lamp-Lighters' City | 点灯人的城市
Ships That Carried Tea | 运茶之船
Ten Inventions of Quiet People | 无名者的十项发明
Walls, Markets, Gardens | 城墙、集市与园林
The Empire's Bookkeepers | 帝国的记账人
A People's History of Bread | 面包的平民史
"""),
        pairs("""
Drawn from forgotten letters and ledgers | 取材于被遗忘的书信与账册
With forty maps and drawings | 附四十幅地图与插图
Told through twelve ordinary lives | 由十二个普通人的一生讲起
"""),
        pairs("""
a fresh look at how trade shaped daily life | 重新审视贸易如何塑造日常生活
how a few people changed a whole city | 讲述少数人如何改变一座城
the story of an age seen from its kitchens | 从厨房看见一个时代
"""),
    ),
    "horror": (
        "恐怖",
        pairs("""
The Wallpaper Has a Pulse | 墙纸在跳动
Feast of the Hollow Saints | 空心圣徒的盛宴
Something in the Rice Field | 稻田里的东西
The Night Elevator | 午夜电梯
We Buried It Twice | 我们埋了它两次
The Doll Mender | 修偶人
Thirst in the Old Dormitory | 旧宿舍的渴
A Lantern for the Unliving | 亡者灯笼
The Fog That Knew Our Names | 知道我们名字的雾
Teeth Under the Snow | 雪下有牙
The Shrine at Kilometre Nine | 九公里处的神龛
"""),
        pairs("""
A caretaker alone in winter | 冬日里独居的看守人
A night watchman | 一名守夜人
A young bride | 一位新娘
"""),
        pairs("""
hears a guest that never checked in | 听见一位从未登记的住客
must keep a lamp lit until morning | 必须让一盏灯亮到天明
returns to a house that never let go | 回到一栋从未放手的房子
"""),
    ),
    "cooking": (
        "美食",
        pairs("""
One Pot, Four Seasons | 一锅四季
The Patient Noodle | 面条慢慢来
Bread Without Hurry | 不急的面包
Small Kitchen, Big Wok | 小厨房大炒锅
Pickles and Ferments at Home | 家庭腌渍与发酵
The Vegetable Weeknight | 工作日蔬菜餐
Dumplings by Hand | 手作饺子
Spice Routes on a Plate | 盘中香料之路
Soup for Every Sorrow | 百愁有汤
Sweet Things, Less Sugar | 少糖甜点
The Breakfast Street Cookbook | 早餐街食谱
"""),
        pairs("""
Ninety recipes with photographs | 九十道附图食谱
Recipes that work in a small kitchen | 适合小厨房的菜谱
Step-by-step lessons for beginners | 写给新手的分步课程
"""),
        pairs("""
with shopping lists and times you can trust | 附购物清单与可靠的时间
from market to table in half an hour | 从菜市场到餐桌只要半小时
and the reasons behind every step | 讲清每一步背后的道理
"""),
    ),
    "travel": (
        "旅行",
        pairs("""
Slow Boats of the Delta | 三角洲慢船
Walking the Tea Mountains | 走茶山
Night Trains of the North | 北方夜火车
Islands Without Airports | 没有机场的岛屿
A Cyclist on the Old Salt Road | 骑行古盐道
Forty Days of Desert Wind | 大漠风四十日
Guesthouses at the End of the Road | 路尽头的客栈
The Weekend Hiker's Atlas | 周末徒步地图集
Markets Before Sunrise | 日出前的集市
Letters from High Villages | 高山村落来信
Rivers I Have Slept Beside | 我睡过的河边
"""),
        pairs("""
A journey on foot and by local bus | 一段步行与乡间巴士的旅程
Part diary and part guide | 半是日记，半是指南
With hand-drawn maps | 附手绘地图
"""),
        pairs("""
for readers who like to arrive late | 写给喜欢慢慢抵达的人
full of kitchens, weather and kind strangers | 写满厨房、天气与善良的陌生人
with twenty routes you can follow | 收录二十条可以跟走的路线
"""),
    ),
    "programming": (
        "编程",
        pairs("""
Patterns for Patient Programmers | 耐心程序员的模式
Streams, Tables, Time | 流、表与时间
The Small Database Book | 小小数据库
Python by Questions | 问答学 Python
Testing What Matters | 测试要紧之处
Graphs Without Fear | 不怕图论
Readable Code, Readable Teams | 可读的代码，可读的团队
Machine Learning from Scratch Paper | 草稿纸上的机器学习
Networks at the Kitchen Table | 餐桌上的网络
The Terminal Companion | 终端伴侣
Distributed Systems for Night Owls | 夜猫子的分布式系统
"""),
        pairs("""
Short chapters with exercises | 短章节，配练习
Examples you can run as you read | 边读边跑的示例
Written for working developers | 写给一线开发者
"""),
        pairs("""
from first principles to production | 从基本原理到生产环境
with honest notes on what fails | 如实记录会失败的做法
and solutions at the back | 书末附答案
"""),
    ),
    "children": (
        "童书",
        pairs("""
Why the Elephant Whispers | 大象为什么说悄悄话
Lulu Builds a Bridge | 露露造桥
The Moon Forgot Its Coat | 月亮忘了穿外套
Counting Ducks with Grandpa | 和爷爷数鸭子
The Monster Who Liked Broccoli | 爱吃西兰花的怪兽
Tiger's First Haircut | 小老虎第一次理发
Goodnight, Little Excavator | 晚安，小挖掘机
The Umbrella That Wanted Sun | 想晒太阳的雨伞
A Pocket Full of Snow | 一口袋雪
Bear Learns to Wait | 小熊学等待
The Kite and the Crow | 风筝与乌鸦
"""),
        pairs("""
A picture book for ages three to six | 三至六岁图画书
A bedtime story with big pictures | 大图睡前故事
A first reader for five and up | 五岁以上初阶读物
"""),
        pairs("""
about courage and saying sorry | 关于勇气与道歉
that makes children laugh out loud | 让孩子哈哈大笑
with a new detail on every page | 每一页都有新的小细节
"""),
    ),
}
