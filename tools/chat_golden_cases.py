"""The chats and the small templates of which make_chat_goldens.py asks transformers."""

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "What the weather is like, in °C",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "A city's name"},
        "days": {"type": "integer", "default": 1, "minimum": 1, "maximum": 9007199254740993},
        "unit": {"type": "string", "enum": ["C", "F"], "default": "C"}}}}}
SEARCH = {"type": "function", "function": {
    "name": "search", "description": "finds \"things\" & <others>",
    "parameters": {"type": "object", "properties": {
        "queries": {"type": "array", "items": {"type": "string"}, "description": " What to look for "},
        "filter": {"type": "object", "additionalProperties": {"type": "number"}},
        "near": {"type": "object", "properties": {
            "lat": {"type": "number"}, "lon": {"type": ["number", "null"]}}, "required": ["lat"]},
        "kind": {"oneOf": [{"type": "string", "default": "web"}, {"type": "integer"}]},
        "limit": {"type": ["integer", "string"], "exclusiveMaximum": 1e-7, "nullable": True}}}}}
EMPTY = {"type": "function", "function": {
    "name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments, call_id=None):
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": call_id, **made} if call_id else made


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def tool(content, call_id="abcdef123"):
    return {"role": "tool", "content": content, "tool_call_id": call_id, "name": "get_weather"}


ASK = [user("Hello, who are you?")]
TALK = [system("You are brief."), user("Hi!"), assistant("Hello."), user(" And now?\n")]
CALLED = [user("Weather in Zürich?"),
          assistant("", tool_calls=[call("get_weather", {"city": "Zürich", "days": 2}, "abcdef123")]),
          tool('{"temp": 3.5, "sky": "☁"}'), assistant("3.5 °C and cloudy."), user("Thanks")]
TWO_CALLS = [system("Use tools."), user("Zürich and Łódź?"),
             assistant("Let me look.", tool_calls=[
                 call("get_weather", {"city": "Zürich"}, "abcdef123"),
                 call("search", {"queries": ["Łódź", "a \"b\""], "near": {"lat": 1.0, "lon": None}},
                      "abcdef124")]),
             tool("one"), tool("two", "abcdef124")]
THOUGHT = [user("2+2?"), assistant("<think>\nEasy: 4.\n</think>\n\n4"), user("3+3?"),
           assistant("6", reasoning_content="Also easy."), user("4+4?")]

# (name, messages, tools, what else apply_chat_template gets)
CHATS = [
    ("one message", ASK, None, {}),
    ("without the generation prompt", ASK, None, {"add_generation_prompt": False}),
    ("system and turns", TALK, None, {}),
    ("turns that end with an answer", TALK[:3], None, {"add_generation_prompt": False}),
    ("a tool", ASK, [WEATHER], {}),
    ("three tools and a system message", TALK, [WEATHER, SEARCH, EMPTY], {}),
    ("no tools, as an empty list", ASK, [], {}),
    ("a call and its result", CALLED, [WEATHER], {}),
    ("a call whose arguments are text", [
        user("x"), assistant("", tool_calls=[call("get_weather", '{"city": "a"}', "abcdef123")]),
        tool("1")], [WEATHER], {}),
    ("a call waiting for its result", CALLED[:2], [WEATHER], {"add_generation_prompt": False}),
    ("two calls and their results", TWO_CALLS, [WEATHER, SEARCH], {}),
    ("content that is null beside calls", [
        user("x"), {"role": "assistant", "content": None, "tool_calls": [
            call("get_weather", {"city": "y"}, "abcdef123")]}, tool("z")], [WEATHER], {}),
    ("thinking on", ASK, None, {"enable_thinking": True, "thinking": True}),
    ("thinking off", ASK, None, {"enable_thinking": False, "thinking": False}),
    ("old thoughts", THOUGHT, None, {}),
    ("a thought and a call", [
        user("x"), assistant("", thinking="Hm.", tool_calls=[call("now", {})])], [EMPTY], {}),
    ("a system message in the middle", [user("a"), assistant("b"), system("c"), user("d")], None, {}),
    ("two system messages", [system("a"), system("b"), user("c")], None, {}),
    ("only a system message", [system("a")], None, {}),
    ("an unknown role", [user("a"), {"role": "Narrator", "content": "b"}], None, {}),
    ("two users in a row", [user("a"), user("b")], None, {}),
    ("the assistant begins", [assistant("a"), user("b")], None, {}),
    ("a developer message", [{"role": "developer", "content": "a"}, user("b")], None, {}),
    ("a result without a call", [user("a"), tool("b")], None, {}),
    ("empty content", [user("")], None, {}),
    ("empty content everywhere", [system(""), user(""), assistant(""), user("x")], None, {}),
    ("no content", [{"role": "user"}], None, {}),
    ("no role", [{"content": "a"}], None, {}),
    ("content of parts", [user([{"type": "text", "text": " a "}, {"type": "image"},
                                {"type": "text", "text": "b"}])], None, {}),
    ("content that is a dict", [user("a"), assistant("b"), user({"x": [1, 2.5, None, True]})], None, {}),
    ("content that is a number", [user(7)], None, {}),
    ("unicode", [user("Grüße, \u4f60\u597d \U0001f600 e\u0301 \u00a0\u2028 \ufeff")], None, {}),
    ("spaces around", [system(" \n a\t"), user("\u3000 b \n\n")], None, {}),
    ("markup in content", [user("{{ 7*7 }} {% if %} <|im_end|> <b>&amp;</b> \\n \"'")], None, {}),
    ("newlines of Windows", [system("a\r\nb"), user("c\r\nd")], None, {}),
    ("documents", ASK, None, {"documents": [{"title": "A", "text": "b \"c\" ü"}, {"text": "d"}]}),
    ("a date and an identity", ASK, None, {
        "date_string": "1 Jan 2000", "model_identity": "I.", "reasoning_effort": "high"}),
    ("built-in tools", CALLED, None, {"builtin_tools": ["get_weather", "code_interpreter"]}),
    ("tools outside of the user's message", TALK, [WEATHER], {"tools_in_user_message": False}),
    ("a message that no template knows the role of", [{"role": "ignored", "content": "x"}], None, {}),
    ("many turns", [m for i in range(20) for m in (user(f"q{i}"), assistant(f"a{i} " * i))][:-1],
     None, {}),
]

VARIABLES = {
    "s": "Hello, World", "u": "Zürich é \u01c6 \U0001f600", "words": " a  b\tc\n d ", "empty": "",
    "n": 7, "neg": -7, "f": 2.5, "t": True, "no": False, "nil": None,
    "xs": [3, 1, 2], "mixed": [1, "a", None, 2.0, True], "names": ["bob", "Al", "al", "Cy"],
    "d": {"b": 1, "a": {"x": [1, 2]}, "items": "hidden", "C": None},
    "people": [{"name": "Zed", "age": 3, "tags": ["x"]}, {"name": "amy", "age": 30},
               {"name": "Bob", "age": 3, "boss": {"name": "Zed"}}],
    "html": "<a href=\"x\">'&'</a>", "lines": "one\ntwo\r\n\nthree\n", "quote": "it's \"q\" \\ \n\t\x00é",
    "floats": [0.1, 1e16, 1e-5, 123456789012345680.0, -0.0, 1.0, 3e300, 100000.0, 1e22, 5e-324],
}

# Small templates over VARIABLES; each is one test. Those that fail there have to fail here.
CONSTRUCTS = """
{{ s }}|{{ nil }}|{{ t }}|{{ f }}|{{ missing }}|{{ xs }}|{{ d }}|{{ mixed }}
{{ quote }} {{ [quote] }} {{ {'k': u} }} {{ ['\\u200b\\u00ad\\x7f', "'", '"'] }} {{ (1,) }} {{ () }} {{ (1, 'a') }}
{{ floats }} {{ floats | join(' ') }} {{ floats | tojson }}
{{ s.upper() }}{{ s.lower() }}{{ s.title() }}{{ u.upper() }}{{ u.lower() }}{{ 'aB cD'.capitalize() }}{{ "they're x2y".title() }}
{{ s | upper }}{{ s | lower }}{{ "they're x-ray (ab) [cd" | title }}{{ 'aB cD' | capitalize }}{{ 12 | upper }}
{{ '[' ~ words.strip() ~ '|' ~ words.lstrip() ~ '|' ~ words.rstrip() ~ ']' }}{{ '--a-b--'.strip('-') }}{{ 'xyxaxy'.lstrip('xy') }}{{ 'abc'.rstrip('cb') }}
{{ words.split() }}{{ 'a,b,,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ ' a b c '.split(none, 1) }}{{ ' a b c '.rsplit(None, 1) }}{{ ''.split() }}{{ ''.split(',') }}{{ 'a--b'.split('--')[-1] }}{{ 'aaa'.rsplit('aa') }}
{{ lines.splitlines() }}{{ 'a\\x0bb\\x85c\\u2028d'.splitlines() }}
{{ s.startswith('Hell') }}{{ s.endswith(('x', 'World')) }}{{ s.startswith('') }}{{ s.find('o') }}{{ s.rfind('o') }}{{ s.find('zz') }}{{ u.find('\\U0001f600') }}{{ s.count('o') }}{{ 'aaa'.count('aa') }}{{ 'ab'.count('') }}
{{ 'banana'.replace('an', 'AN') }}{{ 'banana'.replace('a', '', 2) }}{{ 'ab'.replace('', '-') }}{{ 'ab'.replace('', '-', 2) }}{{ 'banana' | replace('an', 'x', 1) }}{{ 121 | replace(1, 0) }}{{ ''.replace('', 'x') }}
{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}{{ 'abc'.removesuffix('b') }}{{ ''.removesuffix('') }}{{ '-'.join(['a', 'b']) }}{{ '12'.isdigit() }}{{ 'Ab'.isupper() }}{{ 'AB1'.isupper() }}{{ ' '.isspace() }}{{ 'a1'.islower() }}
{{ s[0] }}{{ s[-1] }}{{ s[1:4] }}{{ s[::-1] }}{{ s[::2] }}{{ s[-3:] }}{{ s[:-3] }}{{ s[100] }}{{ s[5:100] }}{{ u[-1] }}{{ u[1:3] }}{{ u[::-1] }}
{{ xs[0] }}{{ xs[-1] }}{{ xs[1:] }}{{ xs[::-1] }}{{ xs[5] }}{{ xs[-4] }}{{ xs[:-1] }}{{ xs[3:0:-2] }}{{ xs[-100:100:5] }}{{ xs[::-5] }}{{ xs[1:none] }}
{{ xs[::0] }}
{{ d.b }}{{ d['b'] }}{{ d.a.x[1] }}{{ d['items'] }}{{ d.get('b') }}{{ d.get('z') }}{{ d.get('z', 5) }}{{ d.zz }}{{ d['zz'] }}{{ xs.zz }}{{ s.zz }}{{ n.zz }}{{ nil.zz }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{{ d.keys() | list }}{{ d.values() | list }}{{ d | list }}{{ d.items is defined }}{{ d.update is defined }}{{ d['keys'] is callable }}
{{ missing.x }}
{{ d.zz.x }}
{{ xs[7].x }}
{{ missing['x'] }}
{{ missing() }}
{{ d.items.x }}
{{ 7 + 2 }} {{ 7 - 2 }} {{ 7 * 2 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ 7 % 2 }} {{ 7 ** 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 // -2 }} {{ 2 ** -1 }} {{ 6 / 3 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}
{{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + 2.5 }} {{ true + 1 }} {{ 2 * f }} {{ 7.0 }} {{ 1e3 }} {{ 1_000 }} {{ +n }} {{ -neg }} {{ -f }} {{ -0.0 }} {{ 10 ** 18 }} {{ 0.1 + 0.2 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 'a' + 1 }}
{{ 'a' + nil }}
{{ 'a' + missing }}
{{ missing + 'a' }}
{{ s + ' ' + u }}{{ 'ab' * 3 }}{{ 2 * 'x' }}{{ 'x' * -1 }}{{ [1] * 2 }}{{ [1] + [2] }}{{ (1,) + (2, 3) }}
{{ 1 ~ 'a' ~ none ~ 2.0 ~ true ~ missing ~ [1] }}{{ 1 * 1 ~ 1 }}{{ 'a' 'b' "c" }}
{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 1 == 1.0 }}{{ 1 == true }}{{ '1' == 1 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ (1,) == [1] }}{{ xs == [3, 1, 2] }}{{ d == d }}{{ nil == none }}{{ missing == missing2 }}{{ missing != 1 }}{{ 1 >= 1 }}{{ 2 <= 1 }}{{ 2 != 3 }}{{ 2 > 1 }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ missing < 1 }}
{{ 'o' in s }}{{ 'zz' not in s }}{{ 1 in xs }}{{ 9 not in xs }}{{ 'b' in d }}{{ 'b' in d.keys() }}{{ 1 in missing }}{{ 1.0 in xs }}{{ '' in '' }}{{ none in mixed }}
{{ 1 in 'abc' }}
{{ 1 in 5 }}
{{ not t }}{{ t and n }}{{ no or 'x' }}{{ no and missing.x }}{{ t or missing.x }}{{ not not n }}{{ not missing }}{{ empty or nil or 0 }}{{ (1 if no) is undefined }}
{{ 'a' if t else 'b' }}{{ 'a' if no else 'b' if nil else 'c' }}{{ 'a' if no }}{{ ('x' if no) ~ 'y' }}{{ 1 if xs else 2 }}
{% if no %}a{% elif nil %}b{% elif xs %}c{% else %}d{% endif %}{% if missing %}a{% endif %}{% if not d %}{% else %}e{% endif %}
{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop['index'] }};{% endfor %}
{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{{ loop.nextitem.x if loop.nextitem is mapping }}{% endfor %}
{% for x in [] %}a{% else %}empty{% endfor %}{% for x in missing %}a{% else %}none{% endfor %}{% for x in xs if x > 5 %}a{% else %}filtered{% endfor %}
{% for x in xs if x != 1 %}{{ loop.index }}/{{ loop.length }}={{ x }} {% endfor %}{% for a, b in [[1, 2], (3, 4), 'xy'] %}{{ a }}{{ b }}{% endfor %}{% for (k, v) in d | items %}{{ k }}{% endfor %}
{% for x in 'añ😀' %}[{{ x }}]{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}{{ range(4) | list }}{{ range(4)[1] }}{{ range(10) | length }}
{% for x in xs %}{% for y in xs %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% for x in nil %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}e{% endfor %}
{% for x in xs %}{% break %}{% else %}first{% endfor %}{% for x in xs %}{% continue %}{% else %}all{% endfor %}{% for x in xs %}{% if loop.last %}{% break %}{% endif %}{% else %}never{% endfor %}
{% for x in xs %}{% set y = x %}{% endfor %}{{ y }}{% set z = 0 %}{% for x in xs %}{% set z = z + x %}{{ z }}{% endfor %}{{ z }}{% if t %}{% set w = 1 %}{% endif %}{{ w }}{{ x }}
{% set ns = namespace(a=1, b='x') %}{% for x in xs %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.zz }}{{ ns['a'] }}{% set ns.c = [ns.a] %}{{ ns.c }}{% set n2 = namespace({'q': 1}, r=2) %}{{ n2.q }}{{ n2.r }}{{ ns is defined }}{{ ns.a is defined }}{{ ns.zz is defined }}
{% set x.y = 1 %}
{% set s.y = 1 %}
{% set a, b = 1, 'z' %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set e %}x{{ n }}y{% endset %}{{ e }}{{ e | length }}{% set g | upper | trim %} hi {{ s }} {% endset %}[{{ g }}]
{% set a %}{% set inner = 1 %}{{ inner }}{% endset %}{{ a }}{{ inner }}
{% macro m(a, b='B', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(1, c=3) }}{{ m() }}{{ m(b=4, a=5) }}{{ m(1) | length }}
{% macro fact(n) %}{{ n * fact(n - 1) | int if n > 1 else 1 }}{% endmacro %}{{ fact(10) }}{% macro later() %}{{ g }}{% endmacro %}{% set g = 'G' %}{{ later() }}{% for g in xs %}{{ later() }}{% endfor %}
{% macro m(a) %}{% set q = a %}{{ q }}{% endmacro %}{{ m(3) }}{{ q }}{{ m is defined }}{{ m is callable }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(z=2) }}
{% macro m(a, b=a ~ '!') %}{{ b }}{% endmacro %}{{ m('x') }}{{ m('x', 'y') }}
{{ words | trim }}{{ '--a--' | trim('-') }}{{ 5 | trim }}{{ missing | trim }}{{ nil | trim }}
{{ d | tojson }} {{ mixed | tojson }} {{ u | tojson }} {{ html | tojson }} {{ quote | tojson }} {{ (1, 2) | tojson }} {{ s | tojson }} {{ nil | tojson }} {{ t | tojson }}
{{ d | tojson(indent=2) }} {{ [] | tojson(indent=2) }} {{ {} | tojson(indent=4) }} {{ xs | tojson(indent=0) }} {{ xs | tojson(indent='\\t') }} {{ [[], [1, {}]] | tojson(indent=1) }}
{{ d | tojson(separators=(',', ':')) }}{{ d | tojson(sort_keys=true) }}{{ (u ~ quote ~ '\\x7f') | tojson(ensure_ascii=true) }}{{ d | tojson(true, 2) }}
{{ missing | tojson }}
{{ {'a': missing} | tojson }}
{{ d.items() | tojson }}
{{ range(3) | tojson }}
{{ s | length }}{{ u | length }}{{ xs | length }}{{ d | length }}{{ missing | length }}{{ d.items() | length }}{{ xs | count }}
{{ 5 | length }}
{{ nil | length }}
{{ (xs | map('string')) | length }}
{{ xs | join }}{{ xs | join(', ') }}{{ people | join('-', attribute='name') }}{{ mixed | join('|') }}{{ s | join('.') }}{{ d | join(',') }}{{ missing | join(',') }}
{{ missing | default('x') }}{{ nil | default('x') }}{{ nil | default('x', true) }}{{ empty | d('e', boolean=true) }}{{ missing | default }}{{ d.zz | default(d.b) }}{{ no | default(1) }}
{{ xs | first }}{{ xs | last }}{{ s | first }}{{ s | last }}{{ [] | first }}{{ [] | last }}{{ d | first }}{{ d | last }}
{{ xs | list }}{{ s | list }}{{ d | items | list }}{{ d | dictsort }}{{ {'b': 2, 'A': 3, 'c': 1} | dictsort }}{{ {'b': 2, 'A': 3, 'c': 1} | dictsort(true) }}{{ {'b': 2, 'A': 3, 'c': 1} | dictsort(by='value', reverse=true) }}
{{ 5 | items | list }}
{{ missing | items | list }}
{{ xs | map('string') | list }}{{ people | map(attribute='name') | list }}{{ people | map(attribute='boss') | list | length }}
{{ people | map(attribute='boss.name') | list }}
{{ people | map(attribute='tags.0', default='-') | list }}{{ people | map(attribute='boss', default='-') | list }}{{ names | map('upper') | join(' ') }}{{ xs | map('default', 5) | list }}{{ ['a b'] | map('replace', ' ', '_') | list }}
{{ mixed | select | list }}{{ xs | select('odd') | list }}{{ xs | select('>', 1) | list }}{{ xs | reject('equalto', 1) | list }}{{ mixed | reject | list }}{{ mixed | select('string') | list }}{{ xs | select('in', [1, 2]) | list }}{{ xs | select('divisibleby', 3) | list }}
{{ people | selectattr('boss') | map(attribute='name') | list }}{{ people | selectattr('age', 'equalto', 3) | map(attribute='name') | list }}{{ people | rejectattr('age', '==', 3) | map(attribute='name') | list }}{{ people | selectattr('tags', 'defined') | list | length }}{{ people | selectattr('boss', 'undefined') | list | length }}
{{ people | selectattr('boss.name', 'undefined') | list | length }}
{{ [1] in d }}
{{ {} in d }}
{{ 1 in d }}
{{ s is string if t else d is string }}{{ [n is odd, n is even] }}{{ {'a': s is defined} }}
{{ people | selectattr('boss.name', 'eq', 'Zed') | list | length }}
{% if people | selectattr('age', 'equalto', 99) %}always{% endif %}{{ (people | selectattr('age', 'equalto', 99) | list) or 'none' }}
{{ xs | sort }}{{ names | sort }}{{ names | sort(case_sensitive=true) }}{{ xs | sort(reverse=true) }}{{ people | sort(attribute='age') | map(attribute='name') | list }}{{ people | sort(attribute='age', reverse=true) | map(attribute='name') | list }}
{{ mixed | sort }}
{{ names | unique | list }}{{ names | unique(true) | list }}{{ people | unique(attribute='age') | map(attribute='name') | list }}{{ [1, 1.0, true, 2] | unique | list }}
{{ xs | min }}{{ xs | max }}{{ names | min }}{{ names | max }}{{ [] | min }}{{ people | max(attribute='age') }}{{ xs | sum }}{{ people | sum(attribute='age') }}{{ people | sum(attribute='age', start=10) }}{{ [] | sum }}{{ [0.5, 1] | sum }}
{{ xs | reverse | list }}{{ s | reverse }}{{ u | reverse }}{{ d | reverse | list }}
{{ '3' | int }}{{ ' -4 ' | int }}{{ '3.7' | int }}{{ 3.7 | int }}{{ -3.7 | int }}{{ 'x' | int }}{{ 'x' | int(9) }}{{ nil | int }}{{ true | int }}{{ '1e3' | int }}{{ [] | int }}{{ '+5' | int }}{{ '' | int }}
{{ '3' | float }}{{ '1.5' | float }}{{ 2 | float }}{{ 'x' | float }}{{ 'x' | float(1.5) }}{{ nil | float }}{{ ' 1e2 ' | float }}
{{ missing | int }}
{{ 2.5 | round }}{{ 3.5 | round }}{{ 2.675 | round(2) }}{{ 1.25 | round(1) }}{{ 7 | round }}{{ 2.1 | round(method='ceil') }}{{ 2.19 | round(1, 'floor') }}{{ -2.5 | round }}{{ 1234.5678 | round(3) }}{{ 5 | round(1, 'ceil') }}
{{ -5 | abs }}{{ 5.5 | abs }}{{ (-5.5) | abs }}{{ n | string ~ 1 }}{{ nil | string }}{{ html | safe }}{{ xs | string }}
{{ lines | indent }}|{{ lines | indent(2, true) }}|{{ lines | indent('> ', first=true, blank=true) }}|{{ '' | indent }}|{{ 'a\\n\\nb' | indent(width=1) }}
{{ missing is defined }}{{ s is defined }}{{ missing is undefined }}{{ nil is none }}{{ nil is not none }}{{ s is string }}{{ n is string }}{{ d is mapping }}{{ xs is mapping }}{{ xs is sequence }}{{ s is sequence }}{{ d is sequence }}{{ n is sequence }}{{ missing is sequence }}
{{ xs is iterable }}{{ s is iterable }}{{ n is iterable }}{{ missing is iterable }}{{ d is iterable }}{{ n is number }}{{ t is number }}{{ f is number }}{{ s is number }}{{ n is integer }}{{ t is integer }}{{ f is integer }}{{ f is float }}{{ t is boolean }}{{ n is boolean }}{{ t is true }}{{ n is true }}{{ no is false }}{{ 0 is false }}
{{ n is odd }}{{ n is even }}{{ n is divisibleby 7 }}{{ n is divisibleby(2) }}{{ n is eq 7 }}{{ n is equalto(7) }}{{ n is ne 7 }}{{ n is gt 5 }}{{ n is lt 5 }}{{ n is ge 7 }}{{ n is le 6 }}{{ n is in [7] }}{{ 'a' is lower }}{{ 'A' is upper }}{{ not n is odd }}{{ n is not odd }}{{ xs is iterable and n is odd }}
{{ d is mapping and d.b is defined and d.b is not none }}{{ (d.a.x | length) > 1 and d.a.x[0] is number }}{{ s is string and s | length > 3 }}
{{ {'a': 1, 'b': [1, 2], 'a': 3} }}{{ {} }}{{ [] }}{{ [1, 2,] }}{{ {'a': 1,}['a'] }}{{ {'x': 1}.x }}{{ {'x': {'y': 2}}['x'].y }}{{ [1, [2, 3]][1][0] }}{{ (1, 2)[1] }}{{ d['a']['x'] }}
{{ [1, 2].index(2) }}{{ [1, 1].count(1) }}{{ (1, 2).count(3) }}
{{ [1].index(5) }}
{{ raise_exception('Oops: ' ~ n) }}
{{ raise_exception(missing) }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j') }}{{ strftime_now('%-d %b %y') }}{{ strftime_now('') }}
{% generation %}a{% set q = 1 %}{% endgeneration %}b{{ q }}
{# comment #}a{#- b -#} c {#+ d #} e
{{ '{{ not }} {% this %} {# either #}' }}{{ "a\\"b" }}{{ 'a\\'b' }}{{ 'tab\\tnl\\nq\\q' }}
{%- if t -%} x {%- endif -%} y {{- 'z' -}} w
{{ xs.append(4) }}
{{ d.pop('b') }}
{{ 'a' | foo }}
{{ 'a' is foo }}
{{ foo(1) }}
{% foo %}
{{ }}
{{ 1 + }}
{% if t %}
{% endfor %}
{% for x in %}{% endfor %}
{{ a b }}
{{ (1 }}
{{ [1 }}
{{ 'a }}
{{ 1 if }}
{{ [x for x in xs] }}
{{ lambda: 1 }}
{{ 1 is defined is defined }}
{{ s.foo() }}
{{ d.foo() }}
{{ n.upper() }}
{{ 'x' | default(1, 2, 3) }}
{{ 'x' | replace('a') }}
{{ 'x' | upper(1) }}
{{ range() }}
{{ range(1000000) | length }}
{{ s.split('') }}
{{ namespace(_x=1) }}
""".strip("\n")

# Templates of several lines, apart by a line "----".
LAYOUTS = """
{{ s
}}{{
n }}{% if
t %}k{% endif %}
----
a
  {% if t %}
  b
  {% endif %}
c
----
  {% for x in xs %}
    {{ x }}
  {% endfor %}
end

----
{% if t -%}
   x
{%- endif %}

 y
----
a {%+ if t %} b {% endif +%}
c
----
{%- for x in xs %}
    {{- x }}
    {%- if not loop.last %}, {% endif %}
{%- endfor %}

----
{# one #}
  {# two #}
x {# three #}
y {#- four -#}
z
----
{% set a = 1 %}
{% set b %}
 in {{ a }}
{% endset %}
[{{ b }}]
----
{% macro m(x) %}
  <{{ x }}>
{% endmacro %}
{{ m(1) }}{{ m(2) | trim }}
----
	{% if t %}	tab{% endif %}
 \u00a0{% if t %}nbsp{% endif %}
----

{{ s }}

""".strip("\n")


def construct_templates():
    """CONSTRUCTS and LAYOUTS as a list of templates."""
    lines = []
    for line in CONSTRUCTS.split("\n"):  # "\\n" stands for an escape in a template's string
        lines.append(line)
    layouts = [text + "\n" for text in LAYOUTS.replace("\n----\n", "\0").split("\0")]
    return lines + layouts
