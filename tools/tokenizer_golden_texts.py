"""The texts that make_tokenizer_goldens.py puts through tokenizers. All drawn from fixed seeds."""

import itertools
import random

# Article 1 of the Universal Declaration of Human Rights (public domain), and sentences of our own.
SENTENCES = [
    "All human beings are born free and equal in dignity and rights. They are endowed with reason "
    "and conscience and should act towards one another in a spirit of brotherhood.",
    "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神互相對待。",
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ﾊﾝｶｸｶﾅ と ひらがな、ＡＢＣ１２３、①②③、ガギグゲゴ、㍿、がぎぐ",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 한글 가각힣",
    "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلًا وضميرًا ١٢٣٤٥٦٧٨٩٠",
    "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔ ۱۲۳۴۵۶",
    "כל בני אדם נולדו בני חורין ושווים בערכם ובזכויותיהם. שָׁלוֹם עֲלֵיכֶם",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ๑๒๓๔ กำลังทดสอบ น้ำ",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। १२३",
    "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে। কো",
    "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; கொ ௧௨௩",
    "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు.",
    "Все люди рождаются свободными и равными в своем достоинстве и правах. Ёлка, чай",
    "Всі люди народжуються вільними і рівними у своїй гідності та правах. Її їжак",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. ΐ",
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İstanbul'da ığdır'ın",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi. Nguyễn ở Huế",
    "Všichni lidé se rodí svobodní a sobě rovní co do důstojnosti a práv. Příliš žluťoučký kůň",
    "Wszyscy ludzie rodzą się wolni i równi. Zażółć gęślą jaźń! Łódź",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Größe, Straße, ẞ, ﬁ ﬂ ﬃ",
    "Tous les êtres humains naissent libres et égaux. L'été, j'ai mangé des œufs à l'aïoli.",
    "Todos los seres humanos nacen libres e iguales. ¿Qué? ¡Ñandú! 1.ª 2.º",
    "ყველა ადამიანი იბადება თავისუფალი და თანასწორი. ᲥᲐᲠᲗᲣᲚᲘ",
    "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ: և",
    "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው። ፩፪፫",
    "មនុស្សទាំងអស់កើតមកមានសេរីភាពនិងភាពស្មើៗគ្នា ១២៣",
    "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် မွေးဖွားလာသူများ ဖြစ်သည်။",
    "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། ཨཱོཾ",
    "ມະນຸດເກີດມາມີສິດເສລີພາບ ແລະສະເໝີໜ້າກັນ ໑໒໓",
    "Хүн бүр төрж мэндлэхдээ эрх чөлөөтэй. ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ᠌",
    "ᎠᏂᎦᏓᎯ ᎤᎾᏙᏢᏒᎢ ꮳꮃꭹ 𐐔𐐯𐑅𐐨𐑉𐐯𐐻 𐍈𐌰𐌹 𒀭𒂗𒆤 𓀀𓂀 ᚠᚢᚦ ⵜⵉⴼⵉⵏⴰⵖ",
    "ދިވެހި ބަސް ܫܠܡܐ ߒߞߏ ꦧꦱꦗꦮ ᬩᬲᬩᬮᬶ ᮞᮥᮔ᮪ᮓ සිංහල භාෂාව ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ ଓଡ଼ିଆ",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ∑ᵢ₌₁ⁿ i² = n(n+1)(2n+1)/6, ℵ₀ < 𝔠, E=mc², 10⁻⁹ µm ≠ Å",
    "I’m “quoting” – an em—dash… and it's John's; they'll've said we'd don't, y'all'd'nt've 'tis",
]

EMOJI = [
    "😀", "😂🤣", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇩🇪🇯🇵", "1️⃣2️⃣#️⃣", "🧑🏿‍🚀", "❤️‍🔥", "☺︎☺️", "🫨🫠🪿", "👩‍❤️‍💋‍👨", "🤷🏻‍♂️", "🐦‍⬛",
    "🇩 🇪", "\u200d", "\ufe0f", "🏻", "©®™", "♥♠♣",
]

CODE = [
    "def f(x):\n    if x > 0:\n\treturn x ** 2\n    return -x  # comment\n\n\nprint(f(3.14))\n",
    "#include <vector>\nint main() {\n  std::vector<int> v{1, 22, 333};\n  return v[0] != 1 ? 0x7fff : "
    "-1;\n}\n",
    "for (let i = 0; i < n; ++i) { console.log(`${i}: ${'a'.repeat(i)}`); }  // \\u00e9\r\n",
    "SELECT name, COUNT(*) FROM users WHERE id IN (1, 20, 300) GROUP BY name HAVING COUNT(*)>=2;",
    "{\"key\": [1, 2.5e-10, null, true], \"nested\": {\"a\\n\": \"\\\"b\\\"\"}}\n",
    "<html>\n  <body class=\"x\">\n    <p>Hello &amp; bye</p>\n  </body>\n</html>",
    "fn main() -> Result<(), Box<dyn Error>> {\n    let x: &'static str = \"a\";\n    Ok(())\n}",
    "\\begin{equation}\n  \\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}\n\\end{equation}",
    "$ curl -sSL 'https://example.com/a?b=c&d=%20e' | sh -s -- --flag=\"$HOME/x y\" >> /dev/null 2>&1",
    "| a | b |\n|---|:-:|\n| 1 | `x` |\n\n* item\n  * sub\n\n```py\nx = 1\n```\n",
    "+[-->-[>>+>-----<<]<--<---]>-.>>>+.>>..+++[.>]<<<<.+++.------.<<-.>>>>+.",
    "if a==b&&c||!d{e+=1;}else{f--;}//===== #region ---->>><<<!!!??? __init__ snake_case camelCase",
]

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>", "<think>",
    "</think>", "<tool_call>", "<|im_start", "im_end|>", "<repo_name>", "<reponame>", "<|", "|>",
    "<s>", "</s>", "<mask>", "<both>", "<unk>", "word", "wordy", "café", "cafe\u0301", "\u212b",
    "Å", "A\u030a", "na\u0308h", "näh", "中文", "\u0120", "\n x",
]

ATOMS = SPECIAL + EMOJI + [
    " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", "\v", "\f", "\u00a0", "\u2003", "\u3000",
    "\u2028", "\u0085", "\u200b", "\ufeff", "\u180e", "a", "B", "Hello", " world", "x1", "1", "23",
    "456", "7890", "½", "x²", "Ⅻ", "٣", "𝟙𝟚", "一", "'s", "'S", "'t", "'re", "'VE", "'m", "'Ll", "'d",
    "'ſ", "'", "\"", "don't", ".", ",", "!!", "...", "—", "_", "-", "=>", "\\", "/", "@", "é",
    "e\u0301", "o\u0302\u0301", "q\u0307\u0323", "ก็", "น้ำ", "สวัสดี", "한", "\u1112\u1161\u11ab", "日本",
    "ا", "لا", "שָׁ", "क्ष", "க்ஷ", "\u0301", "\u0323\u0301", "\u0344", "\u0958", "\u2126", "\ufb01",
    "\u1e9b\u0323", "\u0f73", "\u09c7\u09be", "\x00", "\x01", "\x1b[0m", "\x7f", "\x80", "\x9f",
    "\xad", "~", "\ufffd", "\ufffe", "\U0010ffff", "\ue000", "\u1df6", "\U0001e4ec\u0301",
    "\U000105d2\u0307", "\U00011de0", "\U0001d400", "\u0378", "\U000e0001",
]


def random_code_point(rng):
    while True:
        top = rng.choice([0x100, 0x800, 0x3000, 0x10000, 0x20000, 0x110000])
        c = rng.randrange(top)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def special_texts():
    for token in SPECIAL:
        yield from [token, token + token, f"a{token}b", f" {token} ", f"\n{token}\u3000\n",
                    f"the {token} is 3{token}4", token[:-1], token.upper()]


def runs():
    for space in [" ", "\n", "\t", "\r\n", "\u00a0", "\u3000", " \n", "\n "]:
        for count in [1, 2, 3, 4, 7, 8, 15, 16, 17, 64]:
            yield from [space * count, "a" + space * count + "b", space * count + "\n x",
                        "1" + space * count + "2"]
    for count in [1, 2, 3, 4, 5, 6, 7, 9, 10, 13, 31, 100]:
        yield from ["7" * count, " " + "1" * count, "a" + "9" * count + "b", "٣" * count,
                    "-" * count, "=" * count + "\n", "ab" * count, "'" * count, "é" * count,
                    "\u0301" * count, "😀" * count, "中" * count, "A" * count, ".\n" * count]


def contractions():
    for letters in ["s", "t", "re", "ve", "m", "ll", "d", "ſ", "x", "l", "r"]:
        for text in dict.fromkeys((letters, letters.upper(), letters.capitalize())):
            yield from [f"it'{text}", f"it'{text}y", f" '{text}", f"5'{text}", f"''{text}",
                        f"it\u2019{text}"]


def compositions(rng, count):
    for _ in range(count):
        yield "".join(rng.choice(ATOMS) for _ in range(rng.randrange(2, 12)))


def invalid_bytes(rng, count):
    yield from [b"\xff", b"a\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82\xe2\x82\xac", b"\xed\xa0\x80",
                b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xf0\x80\x80\x80", b"\x80\x80", b"\xf0\x9f\x98"]
    leads = [0x80, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE2, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF]
    for _ in range(count):
        yield bytes(rng.choice(leads) if rng.random() < 0.5 else
                    rng.choice([0x20, 0x41, 0x80, 0x90, 0x9F, 0xA0, 0xBF, rng.randrange(256)])
                    for _ in range(rng.randrange(1, 12)))


def all_texts(questions):
    rng = random.Random(20261122)
    texts = ["", " ", "Hello, world!"] + SENTENCES + EMOJI + CODE + ATOMS
    texts += [s[:i] for s in SENTENCES for i in (1, 2, 5, 17)]
    texts += list(special_texts()) + list(runs()) + list(contractions())
    texts += [chr(c) for c in range(0x300)] + [f"a{chr(c)}1" for c in range(0x21)]
    texts += questions[:100]
    texts += ["".join(p) for p in itertools.product([" ", "\n", "a", "1", "'"], repeat=4)]
    texts += list(compositions(rng, 1000))
    texts += ["".join(random_code_point(rng) for _ in range(rng.randrange(1, 10)))
              for _ in range(500)]
    texts += list(invalid_bytes(rng, 200))
    return list(dict.fromkeys(texts))


# Texts of about 1 MB by rule, which tokenizer_golden_test.cc follows too: `repeat` times `unit`,
# between `head` and `tail`; or `draw` code points base + (state >> 33) % span of a linear
# congruential generator that begins at 1.
LONG_TEXTS = [
    {"unit": "a", "repeat": 1000000},
    {"unit": " ", "repeat": 1000000, "tail": "x"},
    {"unit": "\n", "repeat": 1000000, "head": "x"},
    {"unit": " \n", "repeat": 500000},
    {"unit": "😀", "repeat": 250000},
    {"unit": "👨‍👩‍👧", "repeat": 55000},
    {"unit": "7", "repeat": 1000000},
    {"unit": "<", "repeat": 1000000},
    {"unit": "'", "repeat": 1000000},
    {"unit": "ab", "repeat": 500000, "head": " ", "tail": "!"},
    {"unit": "<|im_start|>", "repeat": 83000},
    {"unit": "\u0323\u0301\u0316", "repeat": 160000, "head": "a"},
    {"unit": "e\u0301", "repeat": 330000},
    {"unit": "\u0000", "repeat": 1000000},
    {"unit": "The quick brown fox can't jump over 12 lazy dogs.\n", "repeat": 20000},
    {"draw": 1000000, "base": 97, "span": 26},
    {"draw": 333000, "base": 0x4E00, "span": 0x51A6},
    {"draw": 500000, "base": 0x20, "span": 0x5E0},
]


def long_text(rule):
    if "unit" in rule:
        return rule.get("head", "") + rule["unit"] * rule["repeat"] + rule.get("tail", "")
    state, chars = 1, []
    for _ in range(rule["draw"]):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        chars.append(chr(rule["base"] + (state >> 33) % rule["span"]))
    return "".join(chars)
