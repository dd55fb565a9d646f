"""Games, by genre: titles of the project's own making, their studios, and what happens in them."""

from __future__ import annotations

from streams.demo.words import pairs

# studio | Chinese name | price level
STUDIOS = [
    ("Copper Kite", "铜鸢工作室", 1),
    ("Moth & Lantern", "蛾与灯", 0),
    ("Nine Reeds", "九苇互动", 1),
    ("Saltglass", "盐晶游戏", 2),
    ("Owlgate", "鸮门工作室", 2),
    ("Bamboo Relay", "竹驿游戏", 0),
]

GENRES: dict[str, tuple[str, list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]] = {
    "role-playing": (
        "角色扮演",
        pairs("""
Embers of Aldermoor | 奥德沼余烬
The Cartographer's Oath | 制图师之誓
Nine Gates of Suyin | 素音九门
Wardens of the Pale Coast | 苍岸守望者
Oathbreaker's Lantern | 背誓者之灯
The Silver Heron Saga | 银鹭传说
Thornwake | 荆棘苏醒
A Crown for the Ferryman | 摆渡人的王冠
Sword Above the Clouds | 云上剑歌
Chronicle of the Ninth Moon | 第九月编年史
"""),
        pairs("""
Lead a band of exiles | 率领一群流亡者
Play a disgraced knight | 扮演一名失势的骑士
Guide a young spirit-caller | 指引一位年轻的唤灵师
"""),
        pairs("""
across a kingdom where every choice is remembered | 穿越一个记得你每个选择的王国
through ruins that change with the moon | 探索随月相变化的遗迹
to win back a city lost to the fog | 夺回被迷雾吞没的城邦
through turn-based battles and long campfire talks | 经历回合制战斗与篝火夜谈
"""),
    ),
    "strategy": (
        "策略",
        pairs("""
Banners over Kessrin | 凯斯林战旗
The Tea Road War | 茶道之战
Iron Monsoon | 铁血季风
Seven Rivers Command | 七河指挥官
Ledger of Empires | 帝国账本
Hexfront: Winter Line | 六角前线：冬季防线
Court of Quiet Knives | 暗刃宫廷
The Long Siege of Harrow Keep | 哈罗堡围城
Warring Tides | 战国潮汐
Marshal of the Steppe | 草原元帅
"""),
        pairs("""
Raise armies and sign treaties | 招募军队、缔结盟约
Plan supply lines and sieges | 规划补给与攻城
Outwit four rival courts | 智胜四方宫廷
"""),
        pairs("""
on a map that remembers every battle | 地图会留下每一场战役的痕迹
in campaigns of an evening or a month | 一晚或一个月的战役任你选择
against an opponent that learns your habits | 对手会学习你的习惯
where weather decides as much as steel | 天气与刀剑同样决定胜负
"""),
    ),
    "racing": (
        "竞速",
        pairs("""
Apex Lantern Rally | 灯火拉力赛
Midnight Switchback | 午夜发卡弯
Dust & Chrome | 尘土与铬
Skyway Nine Hundred | 天际九百
Gravel Hearts | 砾石之心
Turbo Junk Harbour | 港湾涡轮
Redline Plateau | 红线高原
Coastline Grand Tour | 海岸巡回赛
Drift Street Legends of Nanwan | 南湾漂移传说
Hover Cup Zero | 悬浮杯零式
"""),
        pairs("""
Tune your own car | 亲手调校赛车
Race thirty mountain roads | 驰骋三十条山路
Take the wheel at dawn | 在黎明握紧方向盘
"""),
        pairs("""
and feel every change of grip | 感受每一次抓地变化
with split-screen for four friends | 支持四人分屏同乐
through storms, tunnels and night markets | 穿越暴雨、隧道与夜市
and beat the ghosts of last season | 超越上赛季的幽灵车手
"""),
    ),
    "puzzle": (
        "解谜",
        pairs("""
The Clockmaker's Attic | 钟表匠的阁楼
Folding Paper Cities | 折纸之城
Mirrors of Room Eleven | 十一号房的镜子
A Tangle of Threads | 千丝万缕
Lighthouse Logic | 灯塔逻辑
The Inkblot Garden | 墨迹花园
Unsaid: A Word Puzzle | 未说出口
Tiles of the Moon Bridge | 月桥砖谜
Gravity's Apprentice | 重力学徒
Boxes Within Boxes | 盒中盒
"""),
        pairs("""
Turn, fold and combine | 旋转、折叠、组合
Solve two hundred rooms | 破解两百个房间
Bend light and shadow | 操控光与影
"""),
        pairs("""
at your own pace, without a timer | 没有计时，随你节奏
to uncover a gentle story | 揭开一个温柔的故事
with hints that never give it away | 提示点到即止，不会剧透
alone or with someone on the sofa | 可独自游玩，也可与人同坐沙发
"""),
    ),
    "horror": (
        "恐怖",
        pairs("""
Ward Thirteen Breathes | 十三病区的呼吸
The Drowned Choir | 溺亡唱诗班
Do Not Wake the House | 别吵醒这栋房子
Blackwater Signal | 黑水信号
The Paper Bride | 纸嫁衣匠
Under Marrow Hill | 骨髓山下
Static After Midnight | 午夜杂音
The Well Remembers | 井中记忆
Candle Without Flame | 无焰之烛
Corridor of Teeth | 齿廊
"""),
        pairs("""
Survive one long night | 熬过漫长一夜
Search an abandoned hospital | 搜寻废弃医院
Follow a voice on the radio | 追随电台里的声音
"""),
        pairs("""
with one torch and too few batteries | 只有一支手电和不够用的电池
while something listens to your microphone | 而有什么正聆听你的麦克风
and learn what the village buried | 查明村庄埋葬了什么
where hiding works only once | 同一个藏身处只能用一次
"""),
    ),
    "farming": (
        "农场经营",
        pairs("""
Plum Rain Valley | 梅雨谷
Turnip & Thistle | 萝卜与蓟
Grandmother's Orchard | 外婆的果园
Little Terrace Farm | 小小梯田
Honeywell Meadow Days | 蜜泉草甸
The Goat Who Ran the Farm | 山羊当家
Harvest on Snail Island | 蜗牛岛丰收记
Four Seasons of Tea | 茶园四季
Barn Lights | 谷仓灯火
Duckpond Diary | 鸭塘日记
"""),
        pairs("""
Plant, cook and trade | 种植、烹饪、交易
Rebuild an old farm | 重建一座老农场
Keep bees, goats and tea | 养蜂、养羊、种茶
"""),
        pairs("""
and make friends with a whole village | 与整个村子交朋友
through four painted seasons | 走过四季如画的时光
with nothing to lose and no hurry | 没有失败，不必着急
and dance at the lantern festival | 在灯会上起舞
"""),
    ),
    "space shooter": (
        "太空射击",
        pairs("""
Comet Riders | 彗星骑手
Void Hornet | 虚空黄蜂
Starfall Armada | 星陨舰队
Last Gunner of Orison | 奥里森最后炮手
Neon Perihelion | 霓虹近日点
Asteroid Alley 2099 | 小行星巷2099
The Kepler Skirmish | 开普勒遭遇战
Photon Cavalry | 光子骑兵
Dogfight over Europa Station | 欧罗巴站空战
Iron Nebula | 铁星云
"""),
        pairs("""
Fly a patched-up fighter | 驾驶一架修修补补的战机
Command a squadron | 指挥一支飞行中队
Hold the last gate | 守住最后的星门
"""),
        pairs("""
through swarms, minefields and solar storms | 穿越虫群、雷区与太阳风暴
in quick matches of ten minutes | 十分钟一局，畅快淋漓
with weapons you build from wreckage | 用残骸打造武器
alone or with three wingmen online | 单人或与三名僚机联机
"""),
    ),
    "platform": (
        "平台跳跃",
        pairs("""
Moss the Bouncing Fox | 跳跳狐莫斯
Inkpot Leap | 墨水瓶大跳
Tumble & Tock | 滚滚与滴答
Above the Mushroom Roofs | 蘑菇屋顶之上
Pogo Knight | 弹簧骑士
Cat on the Clocktower | 钟楼上的猫
Little Lantern Runner | 小灯笼快跑
Windup Hero Bibo | 发条英雄比波
Cloudstep | 踏云
The Great Pancake Escape | 煎饼大逃亡
"""),
        pairs("""
Jump, dash and glide | 跳跃、冲刺、滑翔
Run across rooftops | 在屋顶间奔跑
Climb a tower that never sleeps | 攀登一座不眠之塔
"""),
        pairs("""
through a hundred hand-drawn levels | 闯过一百个手绘关卡
with controls as crisp as an apple | 手感清脆利落
and find the secrets behind every wall | 寻找每面墙后的秘密
together with a friend on one screen | 与朋友同屏合作
"""),
    ),
    "city-building": (
        "城市建造",
        pairs("""
Riverbend Mayor | 河湾市长
Canals of Vessmoor | 维斯沼运河
Rooftop Republic | 屋顶共和国
Great Walls, Small Streets | 高墙小巷
Frostport | 霜港
Town of Ten Bridges | 十桥镇
Desert Bloom Planner | 沙漠绽放
Tram Line Thirty | 三十路电车
Harbour & Hearth | 港口与炉火
Cloud Terrace City | 云台之城
"""),
        pairs("""
Lay out streets and canals | 规划街道与运河
Grow a village into a city | 把村庄建成城市
Balance power, water and joy | 平衡电力、用水与欢乐
"""),
        pairs("""
and watch ten thousand people live in it | 看一万居民在其中生活
through floods, festivals and elections | 经历洪水、节庆与选举
with no two maps alike | 每张地图都独一无二
where the trams really run on time | 电车真的会准点
"""),
    ),
}
