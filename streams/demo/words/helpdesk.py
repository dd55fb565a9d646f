# ruff: noqa: E501  (a paragraph stays on its line, so that the two languages lie under each other)
"""Help articles: the questions that customers of a shop ask, and the answers, in both languages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Article:
    """One question and its answer, each as (English, Chinese). `languages`: en, zh or both."""

    topic: str
    languages: str
    title: tuple[str, str]
    answer: tuple[str, str]


def _articles(block: str) -> list[Article]:
    entries = []
    for entry in block.strip().split("\n\n"):
        head, question, english, chinese = entry.splitlines()
        topic, languages = head.split(" / ")
        title = question.split(" | ")
        entries.append(Article(topic, languages, (title[0], title[1]), (english, chinese)))
    return entries


ARTICLES = _articles("""
returns / both
How do I return an item? | 如何退货？
Open My Orders, choose the item and press Return within 7 days of delivery. We send a courier to pick it up, free of charge, and refund you within 3 working days of its arrival.
签收后 7 天内，在“我的订单”中选择商品并点击“退货”。快递免费上门取件，仓库收到后 3 个工作日内退款。

returns / both
How do I exchange clothes for another size? | 衣服尺码不合适怎么换？
In My Orders choose Exchange, then the size you need. The new size is sent as soon as the courier has collected the old one; tags must still be attached.
在“我的订单”中选择“换货”并选好尺码，快递取走原件后立即寄出新尺码；吊牌需保留完好。

returns / en
Which items cannot be returned? | 哪些商品不支持退货？
Opened games, films and e-books, worn underwear and items engraved for you cannot be returned unless they are faulty.
已激活的游戏、影片和电子书、穿过的贴身衣物及定制刻字商品，除质量问题外不支持退货。

refunds / both
When will my refund arrive? | 退款多久到账？
Refunds go back the way you paid: wallets at once, debit cards in 1 to 3 working days, credit cards in up to 7.
退款按原支付方式退回：钱包即时到账，储蓄卡 1 至 3 个工作日，信用卡最长 7 个工作日。

refunds / zh
Why is my refund less than I paid? | 为什么退款金额比付款少？
A coupon that applied to the whole order is shared among its items; the part that belongs to the items you keep is not refunded.
整单优惠券会按商品分摊，您保留的商品所对应的优惠部分不予退回。

delivery / both
Where is my parcel? | 我的包裹到哪里了？
My Orders shows the courier, the tracking number and the last place the parcel was scanned. If nothing moves for 48 hours, press Chase and we ask the courier for you.
“我的订单”中可查看快递公司、运单号和最近扫描地点。若 48 小时无更新，点击“催件”，我们会替您联系快递。

delivery / both
How long does delivery take and what does it cost? | 配送需要多久？运费多少？
Most orders arrive in 2 to 4 days. Delivery is free above 99 yuan and costs 8 yuan below that.
多数订单 2 至 4 天送达。满 99 元包邮，不足收 8 元运费。

delivery / en
Can I change the delivery address? | 可以修改收货地址吗？
Yes, until the parcel has left the warehouse: open the order and press Change address. After that the courier can still redirect it within the same city.
出库前可在订单中点击“修改地址”；出库后快递仍可在同城内改派。

delivery / zh
Do you deliver abroad? | 支持海外配送吗？
Clothing, books and phones can be sent to 38 countries; duties are shown before you pay. Laptops with large batteries are not sent by air.
服装、图书和手机可寄往 38 个国家和地区，关税在付款前显示；大容量电池的笔记本不支持空运。

payment / both
Which ways of paying do you accept? | 支持哪些支付方式？
Wallets, debit and credit cards, and bank transfer for companies. Orders above 1,000 yuan can be paid in 3, 6 or 12 instalments.
支持电子钱包、储蓄卡、信用卡，企业可对公转账。满 1000 元可分 3、6、12 期付款。

payment / both
Why was my payment declined? | 为什么付款失败？
Most often the daily limit is reached or the bank asks for a confirmation in its own app. Try again after confirming, or choose another card.
多因超出单日限额，或银行需在其应用内确认。确认后重试，或更换银行卡。

payment / zh
How do I get an invoice? | 如何开具发票？
In the finished order press Invoice, enter the title and tax number, and the electronic invoice arrives by e-mail within an hour.
订单完成后点击“开发票”，填写抬头与税号，电子发票一小时内发送至邮箱。

coupons / both
Why does my coupon not work? | 优惠券为什么用不了？
Check its last day, its minimum amount and the departments it is for. Only one coupon counts per order.
请检查有效期、最低金额与适用品类；每笔订单只能使用一张优惠券。

coupons / en
Do you match a lower price? | 买贵了可以补差价吗？
If our own price falls within 7 days of delivery, press Price protection in the order and the difference is refunded.
签收后 7 天内本店降价，可在订单中点击“价保”申请退还差额。

account / both
How do I reset my password? | 忘记密码怎么办？
Press Forgot password on the sign-in page. We send a code to your phone or e-mail; it is valid for ten minutes.
在登录页点击“忘记密码”，验证码会发送到手机或邮箱，十分钟内有效。

account / both
How do I delete my account and my data? | 如何注销账户并删除数据？
Settings, Privacy, Delete account. Your profile and history are erased at once and you get a receipt; invoices are kept as long as the law asks.
在“设置—隐私—注销账户”中操作。画像与历史立即删除并出具回执；发票按法律要求保留。

account / zh
How do I change my phone number? | 如何更换绑定手机号？
Settings, Security, Phone. Confirm with a code to the old number, or with your identity if you no longer have it.
在“设置—安全—手机号”中操作，用旧号码验证码确认；旧号已停用可通过身份验证更换。

recommendations / both
Why do I see these recommendations? | 为什么给我推荐这些商品？
Each recommendation gives its reasons: what you looked at, bought or asked for. You can remove a reason or mute a subject in your profile.
每条推荐都会说明理由：您看过、买过或说过什么。您可以在个人画像中移除某条理由或屏蔽某个主题。

warranty / both
How long is the warranty on laptops and phones? | 笔记本和手机保修多久？
Two years on the device and one year on the battery, from the day of delivery. Damage by water or a fall is covered only by the protection plan.
自签收之日起整机保修两年，电池一年。进水、摔损仅在购买保障计划后承保。

warranty / en
My new laptop will not start | 新买的笔记本开不了机
Connect the charger for ten minutes, then hold the power key for fifteen seconds. If it stays dark, ask for a replacement within 15 days.
连接充电器十分钟后，长按电源键十五秒。若仍无反应，15 天内可申请换新。

warranty / zh
How do I move my data to a new phone? | 新手机怎么迁移旧手机数据？
Open Settings, Transfer on both phones, lay them side by side and scan the code. Pictures, messages and contacts move over the local network.
在新旧手机上打开“设置—数据迁移”，并排放置后扫码，照片、短信、通讯录即通过本地网络传输。

sizes / both
How do I find my size? | 怎么选尺码？
Every garment has a table in centimetres; measure one that fits you and compare. Between two sizes, take the larger one for coats and the smaller one for knitwear.
每件衣服都有厘米尺码表，量一件合身的衣服对照即可。介于两码之间时，大衣选大一码，针织选小一码。

sizes / zh
How do I wash silk and cashmere? | 真丝和羊绒怎么洗？
By hand in cool water with wool detergent, pressed and not wrung, dried flat in the shade.
冷水手洗，用羊毛洗涤剂，轻压勿拧，平铺阴干。

downloads / both
How do I download a game or film that I bought? | 买的游戏或电影怎么下载？
Open My Library on the device you want to use and press Download. You may keep a copy on five devices.
在要使用的设备上打开“我的资料库”并点击“下载”，最多可保存在五台设备上。

downloads / en
Can I give a game to a friend? | 可以把游戏送给朋友吗？
Choose Buy as a gift and enter your friend's e-mail. The code never expires until it is opened.
选择“作为礼物购买”并填写朋友邮箱，兑换码在打开前永不过期。

gifts / both
Can you wrap my order as a gift? | 可以提供礼品包装吗？
Yes, for 15 yuan an order: tick Gift wrapping before paying and write a card of up to 60 words. No price is put in the parcel.
可以，每单 15 元：付款前勾选“礼品包装”，可附 60 字贺卡，包裹内不放价格单。
""")
