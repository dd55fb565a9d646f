"""What shoppers say, and the conditions that a person would take from it."""

import pytest

from recsys.dialogue.understand import understand

# text => conditions, parted by "; " ("-" for none)
ENGLISH = """
a red dress under 500 yuan => colour=red; category=Dresses; price<=500 CNY
I'm looking for a red dress under 500 yuan => colour=red; category=Dresses; price<=500 CNY
red dress under500yuan => colour=red; category=Dresses; price<=500 CNY
Red Dress Under 500 RMB => colour=red; category=Dresses; price<=500 CNY
not over 500 yuan please => price<=500 CNY
between 100 and 200 dollars => price>=100 USD; price<=200 USD
from 100 to 200 dollars => price>=100 USD; price<=200 USD
$100-$200 => price>=100 USD; price<=200 USD
laptops $800 - 1,200 => category=Laptops; price>=800 USD; price<=1200 USD
$50 or less => price<=50 USD
something for 50 bucks or less => price<=50 USD
at least 300 元 => price>=300 CNY
around 500 => price>=400; price<=600
sneakers around $80 => category=Sneakers; price>=64 USD; price<=96 USD
shoes cheaper than 400 => category=Shoes; price<=400
a laptop for no more than 1.5k => category=Laptops; price<=1500
a laptop, max 3,000 euros => category=Laptops; price<=3000 EUR
phones up to £250 => category=Phones; price<=250 GBP
my budget is 200 dollars => price<=200 USD
budget: 500 => price<=500
I have 300 yuan to spend on shoes => price<=300 CNY; category=Shoes
I can't spend more than 60 dollars => price<=60 USD
I don't want to spend over $50 => price<=50 USD
nothing over $50 please => price<=50 USD
don't show me anything above 900 yuan => price<=900 CNY
price not exceeding 1000 CNY => price<=1000 CNY
over 100 dollars but under 300 dollars => price>=100 USD; price<=300 USD
five hundred yuan or less => price<=500 CNY
a bag for less than a hundred dollars => category=Bags; price<=100 USD
twenty-five to fifty dollars => price>=25 USD; price<=50 USD
under 2k => price<=2000
$1.2k max => price<=1200 USD
500 yuan => price<=500 CNY
a $40 t-shirt => price<=40 USD; category=T-Shirts
no less than 20 pounds => price>=20 GBP
a laptop => category=Laptops
a blue jacket => colour=blue; category=Jackets
I'd like a black or white dress => colour=black|white; category=Dresses
a dress or a jacket => category=Dresses|Jackets
Nike shoes => brand=Nike; category=Shoes
nike or adidas sneakers => brand=Nike|Adidas; category=Sneakers
headphones by sony => category=Headphones; brand=Sony
show me something from Zara => brand=Zara
under armour t-shirts under 40 dollars => brand=Under Armour; category=T-Shirts; price<=40 USD
a horror game => category=Horror; category=Games
horror or comedy films => category=Horror|Comedy; category=Films
recommend me a sci-fi movie => category=Science Fiction; category=Films
shoes for women => category=Shoes; category=Women
women's shoes => category=Shoes; category=Women
a leather jacket => material=leather; category=Jackets
a silk gown in red => material=silk; category=Dresses; colour=red
t shirts in size M => category=T-Shirts; size=M
a laptop with at least 16 GB of memory => category=Laptops; memory>=16
a smartphone in space grey => category=Phones; colour=space grey
a laptop in gray => category=Laptops; colour=grey
not red => colour!=red
a dress, but not red => category=Dresses; colour!=red
a dress that isn't red or blue => category=Dresses; colour!=red|blue
no leather => material!=leather; word!=leather
shoes without leather => category=Shoes; material!=leather; word!=leather
anything but Nike => brand!=Nike
everything except Nike and Adidas => brand!=Nike|Adidas
shoes other than nike => category=Shoes; brand!=Nike
snacks without sugar => word!=sugar
I don't like horror films => category!=Horror
I hate horror => category!=Horror
please don't recommend games => category!=Games
no more games please => category!=Games
no red dresses => colour!=red
I don't want anything red => colour!=red
I do not want Adidas => brand!=Adidas
dont want a red one => colour!=red
I don't want a dress that is red => colour!=red
neither Nike nor Adidas => brand!=Nike|Adidas
no red, blue or black => colour!=red|blue|black
avoid polyester => word!=polyester
not red, blue please => colour!=red; colour=blue
I like red => -
I love Nike shoes => -
I prefer red => -
I like red, show me a dress => category=Dresses
I'd love a red dress => colour=red; category=Dresses
size 42 => -
a game for 2 people => category=Games
a laptop with 16 GB => category=Laptops
iPhone 15 => -
a book like 1984 => category=Books
a game for kids under 5 => category=Games
windows 11 laptop => category=Laptops
$50 off a dress => category=Dresses
I bought a red dress for 500 yuan last week => -
how do I return a dress => -
thanks a lot => -
hello => -
not only red => -
not only Nike but also Adidas => brand=Nike|Adidas
not without leather => -
not too expensive => -
I'm not sure => -
no problem => -
Red Dead Redemption => -
a dark blue jacket => colour=navy; category=Jackets
black comedy => category=Comedy
make it blue instead of red => colour=blue
a dress for my wife, she loves red => category=Dresses
a phone, price doesn't matter => category=Phones
any colour except black => colour!=black
a ４００ yuan bag => category=Bags; price<=400 CNY
red 连衣裙 under 500元 => colour=red; category=Dresses; price<=500 CNY
"""

CHINESE = """
我想买一件红色的连衣裙，价格不超过500元 => colour=red; category=Dresses; price<=500 CNY
我想买一件红色的连衣裙,价格不超过５００元 => colour=red; category=Dresses; price<=500 CNY
红色连衣裙 500以内 => colour=red; category=Dresses; price<=500
红 色 连衣裙 500 块以内 => colour=red; category=Dresses; price<=500 CNY
我想買一件紅色的連衣裙，價格不超過500元 => colour=red; category=Dresses; price<=500 CNY
500块以内 => price<=500 CNY
价格不超过500元 => price<=500 CNY
300到500元之间 => price>=300 CNY; price<=500 CNY
价格在300到500之间的鞋 => price>=300; price<=500; category=Shoes
300-500元的鞋子 => price>=300 CNY; price<=500 CNY; category=Shoes
低于200元的T恤 => price<=200 CNY; category=T-Shirts
高于1000元的手机 => price>=1000 CNY; category=Phones
至少300元 => price>=300 CNY
最多五百块 => price<=500 CNY
大约500元 => price>=400 CNY; price<=600 CNY
五百块左右的外套 => price>=400 CNY; price<=600 CNY; category=Jackets
一千二以内的手机 => price<=1200; category=Phones
两百块以下 => price<=200 CNY
一千五百元以上的笔记本电脑 => price>=1500 CNY; category=Laptops
三四百块的鞋 => price>=300 CNY; price<=400 CNY; category=Shoes
预算3000，想买个手机 => price<=3000; category=Phones
预算五千左右的笔记本 => price>=4000; price<=6000; category=Laptops
1万2以内的电脑 => price<=12000; category=computer
3,000元以下的笔记本电脑 => price<=3000 CNY; category=Laptops
３，０００元以下的手机 => price<=3000 CNY; category=Phones
￥500以下 => price<=500 CNY
50美元以内的耳机 => price<=50 USD; category=Headphones
不要超过800块 => price<=800 CNY
不想花超过一千块 => price<=1000 CNY
别超过500 => price<=500
价格控制在两千以内 => price<=2000
比500块便宜的鞋 => price<=500 CNY; category=Shoes
想买一双鞋 => category=Shoes
想找一台联想笔记本电脑 => brand=Lenovo; category=Laptops
推荐一部科幻电影 => category=Science Fiction; category=Films
推荐几本小说 => category=Novels
有没有黑色的耳机 => colour=black; category=Headphones
有没有好玩的游戏 => category=Games
来一双耐克的运动鞋 => brand=Nike; category=Sneakers
耐克或者阿迪达斯的鞋 => brand=Nike|Adidas; category=Shoes
华为手机 => brand=Huawei; category=Phones
三星手机，三千块以内 => brand=三星; category=Phones; price<=3000 CNY
蓝色或者黑色的夹克 => colour=blue|black; category=Jackets
裙子或者外套 => category=Dresses|Jackets
红裙子 => colour=red; category=Dresses
白鞋 => colour=white; category=Shoes
真皮外套 => material=leather; category=Jackets
纯棉T恤 => material=cotton; category=T-Shirts
深蓝色的外套 => colour=navy; category=Jackets
尺码L的T恤 => size=L; category=T-Shirts
内存至少16G的笔记本 => memory>=16; category=Laptops
女鞋 => category=Shoes
恐怖游戏 => category=Horror; category=Games
苹果的手机，不要黑色 => brand=Apple; category=Phones; colour!=black
不要红色 => colour!=red
不要红色的裙子 => colour!=red
红色不要 => colour!=red
不要红色，要蓝色 => colour!=red; colour=blue
除了耐克 => brand!=Nike
除了耐克都可以 => brand!=Nike
除了耐克以外的鞋 => brand!=Nike; category=Shoes
耐克以外的鞋子 => brand!=Nike; category=Shoes
别推荐游戏 => category!=Games
不要再推荐游戏了 => category!=Games
不喜欢恐怖片 => category!=Horror
我讨厌恐怖电影 => category!=Horror
不要耐克和阿迪达斯 => brand!=Nike|Adidas
不含糖的零食 => word!=糖
不要蕾丝的裙子 => word!=蕾丝
不要皮革 => material!=leather; word!=皮革
不是红色的连衣裙 => colour!=red
我喜欢红色 => -
我喜欢红色，想买条裙子 => category=Dresses
我很喜欢耐克 => -
想要红色的 => colour=red
颜色无所谓，要一条裙子 => category=Dresses
价格不限，要一台苹果笔记本 => brand=Apple; category=Laptops
不要太贵的手机 => category=Phones
42码的鞋 => category=Shoes
适合两个人玩的游戏 => category=Games
16寸的笔记本电脑 => category=Laptops
iPhone15手机壳 => -
我昨天买了一条红色连衣裙 => -
怎么退货 => -
谢谢 => -
你好 => -
蓝牙耳机 => category=Headphones
红楼梦 => -
有没有便宜点的鞋 => category=Shoes
给我妈妈买个手机，两千块左右 => category=Phones; price>=1600 CNY; price<=2400 CNY
不只是红色 => -
不是不要红色 => -
满300减50 => -
五折的裙子 => category=Dresses
要不要考虑蓝色的 => colour=blue
一块手表 => category=Watches
想买Nike的sneakers，500以下 => brand=Nike; category=Sneakers; price<=500
我要black的dress，不超过300元 => colour=black; category=Dresses; price<=300 CNY
预算大概在１５００元上下，买台手机 => price>=1200 CNY; price<=1800 CNY; category=Phones
"""

# Written once the above passed, before anything was changed for them: 32 of these 40 were right at once.
FURTHER = """
can you find me some black sneakers for under $90? => colour=black; category=Sneakers; price<=90 USD
looking to spend somewhere between 300 and 400 bucks on a phone => price>=300 USD; price<=400 USD; category=Phones
any decent laptop below 7000 yuan that's not a Lenovo? => category=Laptops; price<=7000 CNY; brand!=Lenovo
I'm after a cotton t-shirt in white, size L => material=cotton; category=T-Shirts; colour=white; size=L
need wireless headphones asap, max 100 euro => category=Headphones; price<=100 EUR
gimme a funny movie, nothing scary => category=Films; word!=scary
what have you got in blue? => colour=blue
I'd rather not have leather shoes => material!=leather; word!=leather
do you sell Apple watches? => brand=Apple; category=Watches
a present for my dad, he is into history books => -
strategy or puzzle games but no horror => category=Strategy|Puzzle; category=Games; category!=Horror
something warmer than a t-shirt => -
not more than 250 quid for a bag => price<=250 GBP; category=Bags
it should cost at least $20 and at most $60 => price>=20 USD; price<=60 USD
I already have a Nike jacket, show me Adidas ones => brand=Adidas
please exclude Samsung and Huawei => brand!=三星|Huawei
dresses, preferably red, less than 80 dollars => category=Dresses; price<=80 USD
my daughter hates pink => colour!=pink
a novel, 15 pounds tops => category=Novels; price<=15 GBP
is there a cheaper one => -
有1000块左右的蓝牙耳机吗 => price>=800 CNY; price<=1200 CNY; category=Headphones
帮我找条黑色裙子，别太贵 => colour=black; category=Dresses
手机预算四千，不考虑苹果 => category=Phones; price<=4000; brand!=Apple
想看个喜剧，恐怖的不要 => category=Comedy; category!=Horror
送女朋友的包，一千到两千之间 => category=Bags; price>=1000; price<=2000
有适合跑步的鞋吗，五百以内 => category=Shoes; price<=500
我不想要皮的外套 => word!=皮
给我推荐几款不超过六千元的华为手机 => price<=6000 CNY; brand=Huawei; category=Phones
夏天穿的T恤，纯棉，白色或者灰色 => category=T-Shirts; material=cotton; colour=white|grey
便宜点的笔记本电脑，两千五以下 => category=Laptops; price<=2500
有没有索尼的耳机，价格在一千以上 => brand=Sony; category=Headphones; price>=1000
只要耐克的 => brand=Nike
最好是黑色的鞋 => category=Shoes
不看恐怖片，推荐个科幻的 => category!=Horror; category=Science Fiction
40块钱以内的书 => price<=40 CNY; category=Books
优衣库的外套多少钱 => brand=Uniqlo; category=Jackets
我对花生过敏 => word!=花生
这件衣服有蓝色的吗 => category=Clothing; colour=blue
买双运动鞋，除了黑色别的颜色都行 => category=Sneakers; colour!=black
上次买的裙子很好看 => -
"""


def rows(table: str) -> list[tuple[str, list[str]]]:
    parsed = []
    for line in table.strip().splitlines():
        text, expected = line.rsplit(" => ", 1)
        parsed.append((text, [] if expected == "-" else sorted(expected.split("; "))))
    return parsed


def test_the_tables_are_as_large_as_promised():
    assert len(rows(ENGLISH)) + len(rows(CHINESE)) >= 150
    assert min(len(rows(ENGLISH)), len(rows(CHINESE))) >= 70


@pytest.mark.parametrize(("text", "expected"), rows(ENGLISH) + rows(CHINESE) + rows(FURTHER))
def test_a_shoppers_words_become_conditions(text, expected, vocabulary, lines):
    understood = understand(text, vocabulary, event_id="e1", expires=None)
    assert lines(understood.constraints) == expected
