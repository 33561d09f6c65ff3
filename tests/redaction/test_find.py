"""What is found by its form, and by the words before it or the question that it answers; and what is left alone."""

import re

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.redaction import redact

PLACEHOLDER = re.compile(r"\[([A-Z]+)_\d+\]")

FOUND = {
    "ACCOUNT": [
        *(
            "My account is 12345678",
            "customer number: 12345678",
            "Kundennummer 12345678",
            "账号12345678",
            "户号 200417",
        ),
        *("Meine Kundennummer lautet 12 34 56 78", "numéro de client 12345678", "número de cuenta 12345678"),
        *("klantnummer 12345678", "policy number AB-1234567", "Vertragskonto 12345678", "会员卡号 88001234"),
        *("sort code 20-00-00", "IMEI 490154203237518", "my membership number is 12345678"),
    ],
    "ORDER": [
        *("order 12345678", "订单号 12345678", "order id: 114-1234567-1234567", "booking ref ABC123", "ticket #123456"),
        *("Rechnung Nr. 12345678", "快递单号：SF1381234567890", "call about order 4155551234", "电话订单1234567890"),
    ],
    "CARD": [
        *("4111.1111.1111.1111", "4111/1111/1111/1111", "4111 - 1111 - 1111 - 1111", "4111_1111_1111_1111"),
        *("3782.822463.10005", "my card number is 4111 1111 1111 1112", "it's 4111, 1111, 1111, 1111"),
    ],
    "ID": [
        *("CH93 0076 2011 6238 5295 7", "GB29-NWBK-6016-1331-9268-19", "nl91abna0417164300", "756.9217.0769.85"),
        *("RSSMRA85T10A562S", "DNI 12345678Z", "NI number QQ123456C", "Steuer-ID 12 345 678 903", "护照 E12345678"),
        *("退到GB88 MBQC 0307 8634 9138 20就好", "退到DE89370400440532013000吧", "IBAN: GB77DZSW0723608191620"),
        *("passport C01X00T47", "tax id 12-3456789", "VAT DE136695976", "driver's license D1234567"),
    ],
    "EMAIL": [
        *("ü@bücher.example", "我的邮箱是用户@例子.公司谢谢", "user@xn--bcher-kva.example", "anna at mail dot com"),
        *("anna [at] mail [dot] com", "почта@пример.рф", "anna.b(at)web.de", "info＠example。com"),
    ],
    "SECRET": [
        *("CVV is 123", "security code 321", "安全码是123", "Prüfziffer 456", "PIN is 4821", "my pin code: 0042"),
        *("my password is hunter2", "password: sunshine", "Passwort ist Geheim!23", "密码是abc12345", "pin 4 8 2 1"),
        *("Your verification code is G-482913", "验证码是 482913", "the three digits on the back are 123"),
    ],
    "BIRTH": [
        *("I was born on 12 March 1985", "DOB 03/12/1985", "geboren am 12.03.1985", "Geburtsdatum: 12. März 1985"),
        *("我生日是1985年3月12日", "出生日期1985-03-12", "My birthday is March 12"),
    ],
    "ADDRESS": [
        *("I live at 221B Baker Street, London NW1 6XE", "my address is 12 main street", "PO Box 1234"),
        *("Ich wohne Hauptstraße 12, 10115 Berlin", "Am Markt 5, 04109 Leipzig", "上海市浦东新区世纪大道100号"),
        *("My address is 586 Kevin Radial", "Bring it to Flat 46 Oliver Village", "we live at 92 Arnold Ports"),
        *("my address is 12 kevin radial, thanks", "送到刘街T座吧", "地址：幸福里3栋502", "5646 Johnson Loop Apt. 307"),
        *("长江路八号", "地址是呼和浩特街q座"),
        *("地址：北京市朝阳区建国路88号院3号楼1204室", "12 rue de Rivoli, 75001 Paris", "Via Roma 12, 00184 Roma"),
    ],
    "PHONE": [
        *("+41 44 668 18 00", "044 668 18 00", "079 123 45 67", "0664 1234567", "+43 1 58858 0", "347 123 4567"),
        *("My phone number is (710)827-3464x686", "+1-294-641-1771x5162", "ring 883-237-8876 x 232"),
        *("+39 06 6982 1234", "0043 664 1234567", "8 (912) 345-67-89", "(11) 91234-5678", "98765 43210"),
        *("0412 345 678", "090-1234-5678", "070-123 45 67", "call me on 22 33 44 55", "2125550123 is my cell"),
        *("call two one two five five five oh one two three", "电话幺三八一二三四五六七八", "+1 212 555 0123 ext. 45"),
    ],
    "PLATE": [
        *("My license plate is 180-HDR", "plate number: AS54 BVA", "Kennzeichen B-MW 1234", "the reg is SV83 XEJ"),
        *("就是那辆琼N-46960", "车牌号是京A·D12345", "车牌 粤B12345", "plate's K L R 308"),
    ],
    "IP": ["00:1B:44:11:3A:B7"],
}
ANSWERS = [
    ("Can I have your account number?", "sure, 12345678", "ACCOUNT"),
    ("请问您的订单号是多少？", "12345678", "ORDER"),
    ("Wie ist Ihre Telefonnummer?", "62345678", "PHONE"),
    ("What's your date of birth?", "12 March 1985", "BIRTH"),
    ("What is your PIN?", "4821", "SECRET"),
    ("Where should we deliver it?", "586 Kevin Waters, Apt. 3", "ADDRESS"),
    ("What's your address?", "12 kevin radial", "ADDRESS"),
    ("送到哪里？", "琴台里七号", "ADDRESS"),
    ("What is the plate of the car?", "5584", "PLATE"),
    ("退款打到哪个账户？", "GB77DZSW0723608191620", "ID"),
    ("And the password?", "it's hunter2", "SECRET"),
]
LEFT = [
    *("It cost 12345678 dollars", "in 2019 and 2020", "at 10:30 on 12/03/2021", "Model 12345678", "item 100012345678"),
    *(
        "product number 12345678",
        "I ordered 150 units",
        "order 2 pizzas",
        "text me at 1800",
        "Flight BA2490",
        "SKU 99887766",
    ),
    *(
        "the meeting is on 12 March 2021",
        "born to run",
        "password is wrong",
        "my password is not working",
        "5 minutes drive",
    ),
    *(
        "My IP address is wrong",
        "come to 3 Monday classes",
        "I moved to 2 GB of memory",
        "the plate was 12 euros",
        "最新A12345款",
    ),
    *("送到三号楼", "我家15楼", "Send it to 20 Customers", "delivered at 10 Monday", "my address is not the problem"),
    *("12 people on the road", "2 blocks down the street", "订单一共12345元", "2021年3月5日", "商品编号：100012345678"),
    *("Artikelnummer 12345678", "kostet 12345678 Euro", "um 10:30 Uhr am 12.03.2021", "the number of users is 1234567"),
    *("error code 500123", "ticket costs 120000 yen", "order by 20210312", "1 2 3 4 5 6 7 8 9 10", "一二三四五六七"),
    *(
        "claim 10, four sessions",
        "https://item.jd.com/12345678.html 订单",
        "serial number 20digits",
        "due until 300 AM CT",
    ),
]


NO_ANSWER = [
    ("Where should we deliver it?", "10 minutes from here, at 5 PM on 3 May"),
    ("What's your address?", "It is wrong on 3 forms"),
    ("送到哪里？", "送到12楼前台吧"),
    ("地址发我", "那批是6月3号发的"),
    ("How many plates do you need?", "24 big ones"),
]


def turns(*texts):
    seen = redact(Dialogue("1", tuple(Turn(("Agent", "Customer")[n % 2], text) for n, text in enumerate(texts))))
    return [turn.text for turn in seen.dialogue.turns]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_a_value_is_found_whole_by_its_form_or_the_words_before_it(kind, text):
    (masked,) = turns(text)
    assert PLACEHOLDER.findall(masked) == [kind]
    assert not re.search(r"\d", PLACEHOLDER.sub("", masked)), masked


@pytest.mark.parametrize(("question", "answer", "kind"), ANSWERS)
def test_a_value_is_found_where_it_answers_a_question(question, answer, kind):
    assert PLACEHOLDER.findall(turns(question, answer)[1]) == [kind]
    assert turns("Hello!", answer)[1] == answer


@pytest.mark.parametrize(("question", "answer"), NO_ANSWER)
def test_an_answer_that_is_no_address_or_plate_is_left_alone(question, answer):
    assert turns(question, answer) == [question, answer]


@pytest.mark.parametrize("text", LEFT)
def test_prices_times_dates_products_and_years_are_left_alone(text):
    assert turns(text) == [text]
