"""The set phrases of the dialogue: what in a message is grammar rather than a name.

Data, turned at import into the same kind of tree as a vocabulary's: `GRAMMAR`, nested dicts by lower-case word or
Chinese character; under None lies the (kind, value) of the phrase that ends there. `Kind` says what each does.
"""

from __future__ import annotations

import re
from enum import IntEnum, auto
from itertools import product
from typing import Any

from recsys.dialogue.tokens import tokenise


class Kind(IntEnum):
    """What a piece of a message is. The upper ones are phrases of the tables below."""

    NO = auto()  # forbids what follows, known word or not: "without", 不要; value: "dislike"
    NOT = auto()  # forbids what follows if it is a known name: "not"
    NEVER_OVER = auto()  # turns a following comparison round: "can't spend"; value "refuse": also as NOT_VERB
    NOT_VERB = auto()  # forbids the first known name after its verb: "don't wear"
    OUTSIDE = auto()  # forbids what came before it: 以外; value "previous": the clause before, "either": or after
    NOT_ONLY = auto()
    BEFORE_AMOUNT = auto()  # a comparison before its amount; value: operator
    AFTER_AMOUNT = auto()  # and after it
    EITHER_SIDE = auto()
    BETWEEN = auto()
    TO = auto()
    MONEY = auto()  # a currency; value: its code
    ASPECT = auto()  # "colour", "price"; value: the facet
    INDIFFERENT = auto()
    ANY = auto()
    LIMIT = auto()  # with a negation indifferent: "no ... limit"
    FORGET = auto()
    RESET = auto()  # value "keep": what this message says besides still holds
    ALSO = auto()  # adds to what is in force
    ALLOWED = auto()  # "is fine too"
    INSTEAD = auto()
    INSTEAD_OF = auto()
    TASTE = auto()
    WISH = auto()
    PAST = auto()
    QUESTION = auto()  # asks how or why, not for things
    AND = auto()
    BREAK = auto()
    ABOUT = auto()  # begins what a thing is for, about, or has
    DEGREE = auto()  # "too", "very": what follows is no thing
    FILLER = auto()
    PLAIN = auto()  # a word that contains others and means none of them
    # made by the reader
    NUMBER = auto()
    NAME = auto()
    WORD = auto()
    PRICE = auto()
    MEASURE = auto()


# kind [value] | phrases. "n't" stands for its three spellings, (a/b) for either word, (a/) for a word or none.
_TABLE = """
NO dislike | hates, she hates, he hates, don't like, doesn't like, didn't like, dislike, hate
NO dislike | i hate, can't stand, not into, i'm not into, not a fan of, not interested in, sick of
NO dislike | tired of, fed up with, 不喜欢, 不太喜欢, 不怎么喜欢, 很不喜欢, 不爱, 不爱看, 不爱玩, 讨厌, 最讨厌
NO dislike | not keen on
NO dislike | not fond of, bored of, bored with, don't enjoy, doesn't enjoy, don't love
NO dislike | don't care for, can't bear, 受够了, 厌倦了, 厌倦, 嫌, 反感, 不爱读, 不爱穿, 不是很喜欢
NO dislike | 不是特别喜欢, 不大喜欢, 没那么喜欢
NO | doesn't do, 最好不要, 最好别, 不想要有, 少来, 少推荐, nothing, no, without, excluding, exclude, except
NO | except for, anything but, everything but, all but, other than, apart from, avoid, nothing with
NO | nothing from, nothing in, no more, not any, don't want, don't want any, doesn't want
NO | didn't want, don't need, don't want to see, don't want to buy, don't want to wear
NO | don't want to watch, don't want to read, don't want to play, don't want to get, don't show
NO | don't show me, don't recommend, don't suggest, don't offer, don't give me, stop showing
NO | stop showing me, stop recommending, not looking for, won't wear, won't buy, never buy, skip the
NO | but no, but not, allergic to, steer clear of, leave out, minus, rather not, free from, free of
NO | 不要, 不想要, 不想买, 不想看, 不要有, 不要带, 不要给我, 别, 别给我, 别推荐, 不要推荐, 不用推荐
NO | 别给我推荐, 不要再推荐, 别再推荐, 不要给我推荐, 除了, 除
NO | 除开, 排除, 避免, 拒绝, 不含, 不带, 不买, 不看, 不玩, 不穿, 不需要, 不用, 不考虑, 不能有, 不能含, 不能是
NO | 不想再看, 不想再看到, 不希望, 不能吃, 别要
NO | 不要了, 我不要, 不吃, had enough of, i've had enough of, enough of, done with, no longer interested in
NO | can do without, keep away from, stay away from, 别推, 少推, 不再推荐, 不要再推, 别再推, 不想玩, 不想穿
NO | 不想读, 不想听
NO | 不想再玩, 不想再买, 屏蔽, 没有含, don't want to look at, don't want to hear about, don't push, please no
NO | not another, 别来
NO dislike | not a (big/huge/great) fan of, gone off, i've gone off
NO | (please/can you/could you) leave
NO | hide, hide all, skip, remove, remove all, 别再, 别再给我, 别再给我看, 别给我看, 不要再, 不要再给我
NO | 不要再给我看, 不用再推荐
NO | 没必要推荐, 没必要给我推荐, 没必要再推荐
NOT | not, isn't, aren't, non, nor, neither, never, not really, not a, not an, not the, shouldn't be
NOT | mustn't be, can't be, don't make it, 不是, 非, 并非, 不算, 不得是
NEVER_OVER | can't, can't spend, can't afford, can't pay, can't go, won't spend, won't pay, won't go
NEVER_OVER refuse | don't want to, don't wish to, not willing to
NEVER_OVER | don't want to spend, don't want to pay, don't want to go
NEVER_OVER | nothing that costs, not going, without going, couldn't, 不舍得
NEVER_OVER | 没必要
NOT_VERB | don't, doesn't, won't, wouldn't, shouldn't, mustn't, 不想, 不能, 不会, 不该
OUTSIDE | (are/is/) not (for me/my thing/my cup of tea/my style/what i want)
OUTSIDE | (aren't/isn't) (for me/my thing/my cup of tea/my style/what i want)
OUTSIDE previous | no thanks, no thank you, no thank
OUTSIDE either | 不感兴趣, 没兴趣, 没有兴趣, 没什么兴趣, 看腻了, 玩腻了, 腻了
OUTSIDE | 就算了, 免了, 就免了, 就不用了, 就不要了, 不适合我
OUTSIDE | 过敏, 以外的, 之外的, 以外, 之外
NOT_ONLY | not only, not just, not merely, 不只, 不只要, 不仅, 不仅要, 不仅仅, 不光, 不光要, 不单
NOT_ONLY | 不只是, 不仅是
BEFORE_AMOUNT <= | under, below, less than, lower than, cheaper than, no more than, not more than
BEFORE_AMOUNT <= | not over, not above, not exceeding, not to exceed, doesn't exceed, don't exceed
BEFORE_AMOUNT <= | up to, within, no higher than, not higher than, no greater than, no over, not beyond
BEFORE_AMOUNT <= | limit of, limit is, capped at, cap of, ceiling of, beneath, underneath, not go over
BEFORE_AMOUNT <= | not going over, no pricier than, spend up to, pay up to, less then
BEFORE_AMOUNT <= | not costing more than, not cost more than, stay under, staying under, keep it under
BEFORE_AMOUNT <= | <, < =, ≤, maximum of, max of, a maximum of, shouldn't exceed, can't exceed
BEFORE_AMOUNT <= | mustn't exceed, won't exceed, to spend, can spend, i have, i've got, i only have
BEFORE_AMOUNT <= | 不超过, 不超, 不高于, 不大于, 不多于, 不到, 低于, 小于, 少于, 最多, 最高, 至多, 顶多
BEFORE_AMOUNT <= | 别超过, 不要超过, 不能超过, 不得超过, 不要高于, 别高于, 不想超过, 不超出, 不可超过
BEFORE_AMOUNT <= | 上限, 最贵, 撑死, 不贵于, 不要贵于, 不能高于, 便宜于
BEFORE_AMOUNT >= | over, above, more than, no less than, not less than, not under, not below
BEFORE_AMOUNT >= | higher than, greater than, starting from, starting at, no lower than, not lower than
BEFORE_AMOUNT >= | >, > =, ≥, minimum of, min of, a minimum of, more expensive than, upwards of
BEFORE_AMOUNT >= | exceeding, beyond, not cheaper than, no cheaper than, pricier than, 高于, 大于, 超过
BEFORE_AMOUNT >= | 多于, 不低于, 不少于, 至少, 最少, 最低, 起码, 不小于, 贵于, 不要低于, 别低于
BEFORE_AMOUNT >= | 不能低于
BEFORE_AMOUNT ~ | around, about, approximately, approx, roughly, circa, close to, near, nearly
BEFORE_AMOUNT ~ | somewhere around, something like, ~, ≈, 大约, 大概, 约, 差不多, 接近, 大致, 约莫
EITHER_SIDE <= | at most, max, maximum, at the most, at maximum, tops
EITHER_SIDE >= | at least, minimum, min, at minimum, at the least
AFTER_AMOUNT <= | or less, or under, or below, or cheaper, or lower, and under, and below, and less
AFTER_AMOUNT <= | and cheaper, or fewer, 以下, 以内, 之内, 之下, 内, 封顶, 为限, 以里, 往下, 便宜
AFTER_AMOUNT <= | 是上限, 打住
AFTER_AMOUNT >= | or more, or above, or over, or higher, or up, and up, and above, and over, and more
AFTER_AMOUNT >= | plus, +, 以上, 之上, 起, 往上, 打底, 开外, 起步
AFTER_AMOUNT ~ | or so, ish, - ish, or thereabouts, 左右, 上下, 出头, 多, 前后, 左右吧
BETWEEN | between, from, in between, anywhere between, anywhere from, range, 在, 介于, 从
TO | to, -, –, —, ~, till, until, 到, 至, --, ～
MONEY CNY | yuan, rmb, cny, kuai, renminbi, ¥, 元, 块, 块钱, 元钱, 圆, 人民币, 元人民币, 块人民币
MONEY CNY | yuan rmb, rmb yuan, 大洋, r m b
MONEY USD | $, usd, us $, us dollar, us dollars, dollar, dollars, buck, bucks, american dollars, 美元
MONEY USD | 美金, 刀, 美刀, u s d
MONEY EUR | €, eur, euro, euros, 欧元, 欧
MONEY GBP | £, gbp, pound, pounds, quid, pounds sterling, 英镑
MONEY JPY | yen, jpy, japanese yen, 日元, 日圆, 円, jp ¥
MONEY HKD | hkd, hk $, hong kong dollars, 港币, 港元
MONEY KRW | krw, won, ₩, 韩元
MONEY INR | inr, rupee, rupees, ₹, rs, 卢比
MONEY TWD | twd, nt $, 台币, 新台币
MONEY AUD | aud, australian dollars, 澳元
MONEY CAD | cad, canadian dollars, 加元
ASPECT price | price, prices, cost, costs, costing, priced, pricing, budget, money, spending, pay, spend
ASPECT price | price range, price tag, how much, 价格, 价钱, 价位, 预算, 价, 售价, 单价, 多少钱
ASPECT price | 花多少钱, 花费, 价格区间, 控制在, 贵一点, 贵点, 贵一些, 什么价格, 什么价位, 花, 钱
ASPECT colour | colour, color, colours, colors, 颜色, 色彩, 配色, 颜色上, 色
ASPECT brand | brand, brands, make, maker, label, manufacturer, 品牌, 牌子, 厂家, 厂商
ASPECT category | category, categories, kind of thing, type of thing, 类别, 分类, 品类, 种类, 类型
INDIFFERENT | doesn't matter, don't matter, not matter, don't care, don't care about, not important
INDIFFERENT | isn't important, no matter, is fine, are fine, is ok, are ok, is okay, will do, whatever
INDIFFERENT | whichever, regardless of, irrelevant, no object, is no object, no preference, unlimited
INDIFFERENT | not an issue, no issue, isn't an issue, not a problem, isn't a problem, up to you
INDIFFERENT | open to any, doesn't have to match, is good, no limit on, no limit, no restriction on
INDIFFERENT | flexible, 无所谓, 随便, 都行, 都可以, 均可, 不限, 不限制, 不重要, 无要求, 没要求, 没有要求
INDIFFERENT | 不要求, 没限制, 没有限制, 不在乎, 不关心, 不看重, 没关系, 不是问题, 不成问题, 不管, 不论
INDIFFERENT | 无论, 不挑, 都成, 都好, 任意, 不作要求, 不做要求, 不设限, 无限制, 都能接受, 我都行
INDIFFERENT | 都没问题
INDIFFERENT mind | don't mind, wouldn't mind, 不介意
ANY | any, any other, 任何, 什么, 哪种, 哪个, 啥, 任意, 什么样的
LIMIT | limit, limits, restriction, restrictions, preference, preferences, requirement, requirements
LIMIT | 限制, 要求, 偏好, 讲究
FORGET | forget, forget about, forget it, never mind, nevermind, never mind about, drop the, drop that
FORGET | ignore the, remove the, scrap the, don't worry about, doesn't have to be, doesn't need to be
FORGET | don't have to be, don't need to be, needn't be, not necessarily, no need for, no longer
FORGET | no longer need, no longer want, cancel the, undo the, lift the, i changed my mind about, 忘了
FORGET | 忘掉, 忘记, 别管, 不用管, 取消, 去掉, 算了, 撤销, 当我没说, 不一定要, 不一定是, 不必是
FORGET | 不必要是, 不用是, 不非要, 不再要, 不再需要, 去除, 删掉, 拿掉, 不用考虑, 不必考虑, 先不管
RESET | start over, start again, start afresh, start from scratch, reset, clear all, clear everything
RESET | forget everything, forget all that, new search, begin again, from the beginning
RESET | let's start over, scrap everything, scrap that, forget all of that, forget what i said
RESET | clear the filters, clear filters, reset filters, 重新来, 重来, 从头来, 从头开始, 重新开始, 清空
RESET | 重置, 重新搜, 重新找, 全部取消, 都忘了, 之前的都不算, 之前说的都不算, 前面的都不算, 清除条件
RESET | 清空条件, 重新选
RESET keep | (forget/drop/remove/ignore) (the/all/all the/my/those/these) (conditions/constraints)
RESET keep | (forget/drop/remove/ignore) (the/all/all the/my/those/these) (filters/requirements/criteria)
RESET keep | (cancel/scrap) (the/all/all the/my/those/these) (conditions/constraints)
RESET keep | (lift/never mind/forget about) (the/all/all the/my/those/these) (conditions/constraints)
RESET keep | (cancel/scrap) (the/all/all the/my/those/these) (filters/requirements/criteria)
RESET keep | (lift/never mind/forget about) (the/all/all the/my/those/these) (filters/requirements/criteria)
RESET keep | (drop/remove/ignore/cancel/scrap/lift) (all/all the/all my) (restrictions/limits)
RESET keep | (no/no more/without any) (conditions/constraints/criteria)
RESET keep | (drop/remove/clear/cancel) (conditions/constraints/filters)
RESET keep | clear (the/all/all the/my) (conditions/constraints/requirements)
RESET keep | (不限/不限制/取消/去掉/清空/清除/撤销/别管)(/任何/什么/所有/全部/一切)条件
RESET keep | (不限/不限制/取消/去掉/清空/清除/撤销/别管)(所有的/全部的/之前的/前面的/这些/那些)条件
RESET keep | (不管/不看/不用管/忘了/忘掉/删掉/抛开/没有/没)(/任何/什么/所有/全部/一切)条件
RESET keep | (不管/不看/不用管/忘了/忘掉/删掉/抛开/没有/没)(所有的/全部的/之前的/前面的/这些/那些)条件
RESET keep | (取消/去掉/清空/清除/撤销/别管/忘了/忘掉/删掉)(所有/全部/一切/所有的)(限制/要求/筛选)
RESET keep | (取消/去掉/清空/清除/撤销/别管/忘了/忘掉/删掉)(全部的/之前的/前面的/这些/那些)(限制/要求/筛选)
RESET keep | 条件(/都/全/全都/全部)(不限/不限了/取消/取消吧/不要了/算了/作废/去掉/无所谓)
ALSO | also, as well, 也, 还要, 还想要, 还有, 再加上, 另外
ALLOWED | is fine too, is ok too, is okay too, are fine too, works too, would work too
ALLOWED | would be fine too, also fine, is also fine, also ok, is also ok, also okay, is also okay
ALLOWED | also works, is good too, 也可以, 也行, 也好, 也ok, 也没问题, 也能接受, 也成
INSTEAD | instead, actually, make it, make that, change it to, change to, change that to, switch to
INSTEAD | switch it to, rather, on second thought, i meant, i mean, 换成, 改成, 改为, 换, 改, 改要, 还是
INSTEAD | 还是要, 其实, 改主意了, 换个, 换一个
INSTEAD_OF | instead of, rather than, in place of, 而不是, 代替
TASTE | i like, i love, i really like, i really love, i adore, i enjoy
TASTE | my favourite, my favorite, favourite, favorite, who likes, who loves, we like, we love
TASTE | she likes, he likes, she loves, he loves, they like, they love, likes, loves, fond of, fan of
TASTE | i'm a fan of, keen on, i'm into, into, 我喜欢, 喜欢, 我爱, 最爱, 最喜欢, 偏爱, 很喜欢, 特别喜欢
TASTE | 爱看, 爱玩, 我是粉丝, 喜爱, 钟爱, 超爱, 好喜欢
TASTE | (i/we) (mostly/mainly/usually/often/especially/just/generally/always) (like/love/enjoy/adore)
TASTE | (i/we) (also/still/particularly/kind of/sort of/absolutely/do/truly) (like/love/enjoy/adore)
TASTE | (enjoy/enjoys/enjoying/enjoyed/adore/adores/obsessed with/crazy about/mad about)
TASTE | (hooked on/addicted to/partial to/a sucker for/can't get enough of)
TASTE | (fell in love with/falling for/in love with/love for/passion for)
TASTE | 在追, 最近在追
TASTE | 迷上, 迷上了, 爱上, 爱上了, 喜欢上, 喜欢上了, 沉迷, 沉迷于, 痴迷, 痴迷于, 着迷于, 入迷, 热衷, 热衷于, 迷恋
TASTE | 我也喜欢, 我也爱, 我一直喜欢, 我平时喜欢, 都喜欢, 一直喜欢, 平时喜欢, 比较喜欢, 非常喜欢, 超喜欢, 更爱
TASTE soft | i prefer, prefer, preferably, ideally, 最好是, 更喜欢, 倾向于
WISH | i want, i'd like, i would like, would like, i'd love, i would love, want, wants, need, needs
WISH | i need, looking for, i'm looking for, look for, searching for, search for, shopping for, show me
WISH | show, find me, find, get me, give me, recommend, recommend me, recommendation for
WISH | recommendations for, suggest, suggestions for, any suggestions for, ideas for, do you have
WISH | do you have any, don't you have, have you got, got any, is there, are there, isn't there
WISH | aren't there, can i get, can i have, could i get, in the market for, how about, what about
WISH | why not, why don't you show, interested in, i'm interested in, nothing but, only, just, please
WISH | buy, purchase, buying, hunting for, after a, any deals on, deals on, let's see, let me see
WISH | i'll take, want to buy, want to get, want to see, want to watch, want to play, want to read
WISH | wanna buy, wanna, gimme, go for, must be, should be, has to be, have to be, 我想要, 我要, 想要
WISH | 想入, 想找部, 想找本, 想找台, 想找套, 想找件, 想看部, 来部, 来本, 来台, 来套, 找部, 找本, 找台, 找套
WISH | 要, 想买, 我想买, 想, 我想, 想看, 想玩, 想找, 找, 求, 求推荐, 推荐, 推荐一下, 给我推荐, 帮我推荐
WISH | 帮我找, 来, 来个, 来一个, 来一件, 来点, 来双, 来条, 买, 购买, 需要, 有没有, 有什么, 要不要, 给我
WISH | 给我看, 看看, 我需要, 想入手, 入手, 搜, 搜一下, 搜索, 要买, 打算买, 准备买, 有吗, 求购, 就要
WISH | 只要, 只想要, 只看, 必须是, 必须, 一定要, 是不是有, 想选, 想挑, 挑, 选, 展示, 显示
PAST | bought, i bought, ordered, i paid, paid, i spent, i got, i already have, already have
PAST | already own, i own, i returned, returned, received, arrived, cost me, used to, purchased, i had
PAST | last time i, last week i, 买了, 买过, 买到了, 已经买, 已经有, 花了, 付了, 收到, 收到了, 下单了
PAST | 退了, 上次, 之前买的, 昨天买的, 我有一, 我已经有, 看过, 玩过, 读过, 用过, 刚买
QUESTION | how do i, how can i, how do you, how does, how to, how long, how long does, why is, why does
QUESTION | why did, why was, when will, when does, where is, where is my, what is the difference
QUESTION | what's the difference, what is a, can i return, can i exchange, do you ship, do you deliver
QUESTION | what is your, what's your, who made, which size should, 怎么退, 怎么换, 怎么用, 怎么办
QUESTION | 怎么取消, 如何, 为什么, 什么时候, 多久, 能退吗, 怎么修改, 怎么, 哪里可以退
AND | and, or, nor, &, /, 、, 和, 或, 或者, 与, 以及, 跟, 还是说, 及, either, both, and / or, plus also
AND | 或是, 要么
BREAK | "," "." ";" "!" "?" 。 ； ！ ？ … ( ) （ ） but, however, though, although, then, so, because
BREAK | since, if, as long as, while, just that, 但, 但是, 不过, 然后, 可是, 而且, 因为, 所以, 如果
BREAK | 只要是, 另外还
ABOUT | about, for, with, like, similar to, featuring, compatible with, works with, that fits, on
ABOUT | by the author, than, better than, against, 关于, 适合, 搭配, 适用于, 配, 比, 像, 类似, 讲, 用来
ABOUT | 送给, 给
DEGREE | too, very, so, quite, overly, really, particularly, especially, extremely, sure, certain
DEGREE | 太, 很, 那么, 这么, 非常, 特别, 过于, 最, 更, 比较, 有点, 超
FILLER | looking to, looking, somewhere, hoping, trying, today, tonight, soon, asap, right now, cool, nice, great
FILLER | :, that, which, who, a, an, the, this, these, those, some, any of, one, ones, me, my, i, you
FILLER | your, we, us, our, it, its, it's, is, are, be, been, was, were, am, i'm, of, in, from, by, at
FILLER | as, to be, do, does, did, can, could, would, will, have, has, had, something, anything
FILLER | everything, thing, things, stuff, product, products, item, option, options, choice, hi, hello
FILLER | hey, thanks, thank you, ok, okay, yes, yeah, yep, sure thing, well, um, hmm, kind of, sort of
FILLER | pair of, a pair of, a pair, a bit of, bit, sets of, there, here, what, maybe, perhaps, possibly
FILLER | now, again, everyone, someone, who is, my wife, my husband, coloured, colored, made of
FILLER | made from, made by, must, should, again please, them, they, her, his, him, she, he, other
FILLER | another, else, more, such, all, those are, its own, out, up, want it, get, see, if possible
FILLER | possible, help, kindly, too much, let, 的, 了, 吗, 呢, 吧, 啊, 呀, 嘛, 哦, 哈, 我, 你, 您, 他
FILLER | 她, 它, 们, 是, 有, 那, 这, 一个, 一件, 一双, 一条, 一部, 一本, 一台, 一款, 一些, 一下, 一只
FILLER | 最近, 近来, 近期, 这阵子, 这段时间, 这段日子, 这几天, 这两天, 这些天, 几台, 几条, 几双, 几套, 几张, 几部
FILLER | these days, lately, recently, nowadays, at the moment
FILLER | 一顶, 一张, 一套, 一块, 一把, 一瓶, 一支, 一份, 一对, 一辆, 一种, 一点, 一顿, 两个, 两件, 两双
FILLER | 两本, 几个, 几件, 几本, 几部, 几款, 件, 个, 双, 条, 款, 这个, 那个, 这些, 那些, 这件, 那件
FILLER | 这款, 那款, 可以, 能不能, 可不可以, 能, 请, 请问, 麻烦, 谢谢, 你好, 您好, 好的, 嗯, 东西, 商品
FILLER | 产品, 就, 都, 还, 吧啊, 被, 把, 做的, 牌的, 款的, 家的, 系的, 里面, 是不是, 好不好, 行不行
FILLER | 有哪些, 哪些, 怎么样, 没有, 里的, 类的, 别的, 其他, 其它, 其他的, 别的颜色, 的话
FILLER | don't know, don't have, don't forget, don't worry, don't remember, no problem
FILLER | no idea, no rush, no worries, no way, no doubt, no one, no need, not sure
FILLER | not yet, not bad
PLAIN | black friday
PLAIN | black metal, red wine, white wine, green tea, black tea, white noise, red carpet, blue ray
PLAIN | blu ray, bluetooth, blue tooth, green card, white paper, red dead redemption, black mirror
PLAIN | pink floyd, blackberry, orange juice, white board, whiteboard, blackboard, black forest
PLAIN | red bull, under armour, over ear, on ear, in ear, around the world
PLAIN | 
PLAIN | free shipping, hard drive
PLAIN | action figure, action figures, home office, 蓝牙, 红酒, 白酒, 黄酒, 绿茶, 红茶, 黑茶, 白茶, 红薯
PLAIN | 红枣, 红豆, 绿豆, 黄豆, 黑豆, 白菜, 紫菜, 红楼梦, 小红书, 黑莓, 蓝莓, 白纸, 黄金, 黄油, 黄瓜
PLAIN | 黑科技, 红外, 蓝光, 黑胶, 绿植, 灰尘, 粉底, 粉丝, 粉末, 橙汁, 橙子, 黑巧克力, 白巧克力, 黑色幽默
PLAIN | 青年, 白天, 黑夜, 红木, 红包套, 紫外线, 紫砂, 银行, 白领, 黑白, 红红火火, 白砂糖, 红糖, 奶粉
PLAIN | 面粉, 粉刺, 蓝图, 红旗, 白金, 包邮, 包括, 包含, 面包, 书房, 书法, 证书, 秘书, 图书馆, 说明书
PLAIN | 特别, 区别, 分别, 级别, 性别, 类别, 别人, 别墅, 非常, 非洲, 不错, 不好意思, 不知道, 不同, 不客气
PLAIN | 不锈钢, 不粘锅, 不如, 不然, 不太, 不是很, 不用谢, 没问题, 除湿机, 除湿, 除尘, 除螨, 除草, 除味
PLAIN | 扫除, 删除, 火锅, 茶几, 面条, 条件, 条纹, 套装, 外套装, 点心, 早点, 晚点, 一起, 一样, 一般, 一直
PLAIN | 一定, 一次性, 第一, 唯一, 统一, 万一, 十分, 千万, 两用, 双肩, 双层, 双人, 单人, 多功能, 多人
PLAIN | 内存条, 内存, 内裤, 内衣, 室内, 国内, 起来, 一起玩, 要是, 重要, 主要, 需求, 求婚, 想象, 梦想
PLAIN | 理想, 思想, 来自, 未来, 原来, 本来, 以来, 寻找, 选择, 精选, 换季, 更换, 改装, 改变, 买家, 配件
PLAIN | 匹配, 像素, 人像, 偶像, 给力, 送给, 比较, 比赛, 比基尼, 元素, 单元, 公元, 元旦, 元宵, 块状, 模块
PLAIN | 刀具, 菜刀, 刀片, 剃须刀, 价值, 性价比, 评价, 花朵, 花园, 花边, 鲜花, 碎花, 花生, 花纹, 印花
PLAIN | 雪花, 棉花, 花瓶, 花洒, 绣花, 色拉, 特色, 角色, 角色扮演, 出色, 钱包, 零钱, 游戏币, 充值, 续航
PLAIN | 跟鞋, 高跟鞋, 平底鞋, 无人机, 无线, 无线耳机, 无袖, 无糖, 无钢圈, 无印良品, 无人, 过敏原, 为主
PLAIN | 太空, 太阳, 太极, 太太, 老太太, 超市, 超人, 最终, 更新, 很久
PLAIN | 家具, 家电, 家居, 家庭, 家用, 国家, 作家, 用品, 用户, 使用, 实用, 日用, 商用, 适用, 上衣, 上网
PLAIN | 马上, 晚上, 早上, 下午, 里程, 带子, 皮带, 磁带, 绑带, 安卓, 好看, 好玩, 好用, 好听, 好吃, 好评
PLAIN | 爱好, 最好, 友好, 有趣, 拥有, 还有吗, 都市, 首都, 再见, 做饭, 做工, 把手, 被子, 被套, 棉被, 能量
PLAIN | 功能, 智能, 性能, 节能, 能源, 可爱, 行李, 行李箱, 流行, 旅行, 骑行, 行车, 自行车, 银行卡, 进行
PLAIN | 点读, 重点, 地点, 是否, 就是, 那么
"""

# After a number: what makes it no price.
_UNITS = """
gb, tb, mb, kb, ghz, mhz, hz, mah, wh, w, kw, watt, watts, volt, v, mm, cm, m, km, inch, inches, ft
feet, foot, yard, kg, g, gram, grams, lb, lbs, oz, ounce, ounces, ml, l, litre, liter, liters
litres, year, years, yr, yrs, year old, years old, month, months, week, weeks, day, days, hour
hours, hrs, minute, minutes, min read, mins, second, seconds, sec, page, pages, star, stars, people
person, persons, players, player, kid, kids, children, adults, guests, seats, piece, pieces, pcs
pack, packs, item, items, pair, pairs, times, percent, %, mp, megapixel, megapixels, fps, core
cores, level, levels, step, steps, star rating, rating, review, reviews, calorie, calories, kcal
degree, degrees, nm, dpi, rpm, th, st, nd, rd, p, x, people's, size, am, pm, mile, miles, vote
votes, words, chapters, 寸, 英寸, 厘米, 毫米, 米, 公分, 克, 千克, 公斤, 斤, 升, 毫升, 人, 个人, 岁
周岁, 年, 个月, 月, 天, 日, 小时, 分钟, 秒, 页, 集, 季, 星, 星级, 颗星, 码, 号, 个, 件, 双, 条, 台
部, 本, 只, 张, 套, 款, 盒, 包装, 瓶, 支, 位, 名, 口人, 万像素, 像素, 毫安, 瓦, 度, 分, 倍, 次, 级
关, 章, 卷, 册, 字, 平, 平米, 核, 兆
"""
# After an amount of money: what makes it no price either.
_REBATES = """
off, discount, coupon, coupons, voucher, vouchers, cashback, cash back, gift card, gift cards
refund, rebate, credit, 优惠, 优惠券, 折扣, 代金券, 红包, 返现, 的券, 券, 折, 礼品卡, 购物卡
"""


_CHOICE = re.compile(r"\(([^()]*/[^()]*)\)")


def _spellings(phrase: str) -> list[str]:
    """A phrase with "n't", and how else it is typed: "don't", "dont", "do not"."""
    if "n't" not in phrase:
        return [phrase]
    full = phrase.replace("can't", "can not").replace("won't", "will not").replace("n't", " not")
    return [phrase, phrase.replace("n't", "nt"), full, full.replace("can not", "cannot")]


def _phrases(part: str) -> list[str]:
    found: list[str] = []
    for phrase in part.split(", "):
        if phrase.startswith('"'):
            # The signs of the BREAK line stand quoted or bare, parted by spaces.
            *signs, word = phrase.split(" ")
            found += [sign.strip('"') for sign in signs] + [word]
        else:
            # Every second part of the split is what stood in brackets.
            choices = [part.split("/") if at % 2 else [part] for at, part in enumerate(_CHOICE.split(phrase.strip()))]
            found += ["".join(chosen) for chosen in product(*choices)]
    return found


def _tree(table: str) -> dict[str | None, Any]:
    tree: dict[str | None, Any] = {}
    for line in table.strip().splitlines():
        head, _, part = line.partition(" | ")
        name, _, value = head.partition(" ")
        for phrase in _phrases(part):
            for spelling in _spellings(phrase):
                node = tree
                for token in tokenise(spelling).words:
                    node = node.setdefault(token, {})
                # The first line that holds a phrase decides what it is.
                node.setdefault(None, (Kind[name], value))
    return tree


def _set(table: str) -> dict[str | None, Any]:
    return _tree("PLAIN | " + table.strip().replace("\n", ", "))


GRAMMAR = _tree(_TABLE)
UNITS = _set(_UNITS)
REBATES = _set(_REBATES)
