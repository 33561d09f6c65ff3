"""Split a Chinese sentence of a summary into clauses, by a list of what people in a dialogue do and say."""

import re
from collections.abc import Iterator

# Verbs whose subject is a person or a firm. One character is not enough where it begins a noun (订单, 定金, 问题).
_PLAIN = (
    "表示 反映 反驳 反对 询问 追问 要求 说明 解释 告知 告诉 建议 答应 答复 承诺 同意 拒绝 确认 查明 查到 "
    "查出 核实 提出 提醒 提供 提交 提议 安排 通知 承认 质疑 投诉 申请 登记 打算 决定 接受 选择 选了 选定 "
    "希望 担心 怀疑 发现 道歉 推荐 介绍 强调 指出 澄清 更正 纠正 核对 联系 备注 坚持 放弃 主张 抱怨 请求 "
    "指导 转达 改口 留下 收下 补送 补发 改约 改签 改买 改下 约好 约定 报修 报名 预约 取消 不肯 肯 愿意 愿 "
    "认为 描述 透露 补充 回复 反馈 归还 垫付 支付 转账 转交 撤销 撤回 维持 减免 免去 批准 允许 保留 准备 "
    "计划 负责 提到 强烈要求 得知 嫌 称 想 答 拒 让 劝 记 把"
)
_GUARDED = (
    r"说(?!法) 问(?!题) 要(?![点有看等由]) 请(?!假) 查(?!询费) 订(?![单金]) 选(?!项) 教(?![师育练务]) 派(?!送|件) "
    r"收(?![据费]) 报(?![销告到价]) 留(?!言) 退(?=[\d回还了]) 付(?=[\d了]) 发(?=[\d来给]) 寄(?=[来给到]) "
    r"转(?=[\d了给到]) 换(?=[成了]) 开(?=[了出]) 改(?=[了成到为正回]) 加(?=了) 找(?=[到出]) 办(?=[了好]) "
    r"去(?=[叫问找])"
)
_VERB = rf"(?:{'|'.join(sorted((*_PLAIN.split(), *_GUARDED.split()), key=len, reverse=True))})(?![人员者方家]|.?的)"
_ADVERB = (
    "并且|并|而且|且|也|还|又|再|就|另外|另|均|都|已经|已|仍|先后|先|后来|之后|随后|最后|最终|然后|同时|主动|当场|没有|没|未|不|只|曾|"
    "因此|于是|但是|但|而|最初|起初|一开始|马上|多次|明确|也不|不会|不再|会|将"
)
_TIME = (
    r"(?:次日|当天|当晚|今天|今晚|明天|后天|本周|下周|下?周[一二三四五六日天末]|下?(?:礼拜|星期)[一二三四五六日天]|"
    r"[\d一二三四五六七八九十]+(?:月|号|日|点|年|个?小时|天|分钟|个工作日)[\d一二三四五六七八九十半号日点分前后内起以上下午早晚]*+)"
)
_LEADING = rf"(?:{_ADVERB}|{_TIME})*+"
_BEGINS_WITH_VERB = re.compile(rf"{_LEADING}{_VERB}")
_SUBJECT = re.compile(
    rf"(?P<subject>[^\s，；：、。“”\d]{{2,10}}?)(?:[替代因为向对][^，]{{1,10}}?)?{_LEADING}(?P<verb>{_VERB})(?=\w)"
)
_BOUNDARY = re.compile(r"[，；]|(?<=[^一合吞，；])(?=并且|并(?![非排列不无]))")
# What begins a clause that the next one depends on, or that depends on the one before.
_DEPENDENT = re.compile(
    r"(?:因为|因|由于|如果|如|若|要是|假如|只要|只有|除非|虽然|虽|尽管|即使|为了|无论|不管|一旦|既然|万一|等|待|"
    r"否则|不然|所以|但要|但须|但需|才|那么|则|其中|包括|以便|从而|以免|为此|要不|要么)"
)
_CONDITION = re.compile(r"如果|若是|要是|只要|除非|虽然|一旦|因为|由于")
_CONJUNCTION = re.compile(r"^(?:并且|并|而且|且|但是|但|而|于是|因此)")
_NO_SUBJECT = re.compile(
    r"^(?:去|到|来(?![电访])|因|如|若|等|从|按|经|对|在|当|被|给|由|和|与|为|比|以|其|不|没|未|是|有|能|可)|"
    r"[的了是和后时前里中都]$|[了把被]|不能|可以|说|问|要求"
)
_ADVERBIAL = ("上", "中", "里", "后", "时", "前", "内", "下")  # "会议上，龙校长说…" is one clause
_SHORTEST = 3  # characters of a clause


def split_clauses(sentence: str) -> Iterator[tuple[int, int, str]]:
    """Yield each clause of a sentence: its start and end in the sentence, and its text as a sentence of its own."""
    start, carried = 0, ""  # where the clause begins, and the subject that it gets in front
    subject = _subject(sentence, "")
    for boundary in _BOUNDARY.finditer(sentence):
        left, right = sentence[start : boundary.start()], sentence[boundary.end() :]
        clause = re.split("[，；。！？]", right, maxsplit=1)[0]
        own = _subject(_CONJUNCTION.sub("", clause), "要")
        if min(len(left), len(clause)) < _SHORTEST or not all(re.search(r"\w", side) for side in (left, clause)):
            continue
        if _DEPENDENT.match(clause) or _open(left):
            continue
        if _BEGINS_WITH_VERB.match(clause):
            front = subject
        else:
            front = "" if (own and not left.endswith(_ADVERBIAL)) or boundary.group() == "；" else None
        if front is None:
            continue
        yield start, boundary.start(), _as_sentence(carried, left)
        if own and own != subject:  # behind a comma it is not clear whose the next verbs are
            subject = own if boundary.group() == "；" else None
        elif not front:
            subject = own
        start, carried = boundary.end(), front
    yield start, len(sentence), _as_sentence(carried, sentence[start:])


def _open(left: str) -> bool:
    """Whether the last part of the left side depends on what follows: "因用户在外地，客服…"."""
    last = re.split("[，；]", left)[-1]
    return _DEPENDENT.match(last) is not None or _CONDITION.search(last) is not None


def _subject(clause: str, but: str) -> str | None:
    """The subject that a clause begins with, where a verb of the list follows it, another than the verb `but`.

    What must be done has 要 too: 干冰要提前申报.
    """
    if _BEGINS_WITH_VERB.match(clause):
        return None
    found = _SUBJECT.match(clause)
    return found["subject"] if found and found["verb"] != but and not _NO_SUBJECT.search(found["subject"]) else None


def _as_sentence(subject: str, clause: str) -> str:
    said = subject + _CONJUNCTION.sub("", clause) if subject else clause
    return said + ("" if re.search(r"[。！？…][”’」』）]*$", said) else "。")
