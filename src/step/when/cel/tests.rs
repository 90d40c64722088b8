//! What the language's specification says of expressions, and what came of them here.
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md>

/// Whether the expression is true, or the sentence.
fn holds(text: &str) -> Result<bool, String> {
    super::holds(text).map_err(|error| error.to_string())
}

/// Expressions that are true. `cel-go`, which Tekton has, says the same of each.
const TRUE: &[&str] = &[
    // Literals.
    "true",
    "-1 < 0",
    "0xFF == 255",
    "-9223372036854775808 < -9223372036854775807",
    "0xffu == 255u",
    "1e3 == 1000.0",
    ".5 == 0.5",
    r#""double" == 'double'"#,
    r"'\x41\u00e9\U0001F600\101' == 'Aé😀A'",
    r"r'\n' == '\\n'",
    "'''it's''' == \"it's\"",
    r"b'\xff\377' == b'\xff\xff'",
    "b'é' == b'\\xc3\\xa9'",
    "null == null",
    "[1, 'a', null].size() == 3",
    "{'a': 1, 2: 'b', true: null}.size() == 3",
    "{'a-b': 1}.`a-b` == 1",
    "true // a comment",
    // Equality.
    "1 == 1",
    "'a' != 'b'",
    "1.0 == 1.0",
    "0.0 == -0.0",
    "double('nan') != double('nan')",
    "[1, 2] == [1, 2]",
    "[1, 2] != [2, 1]",
    "[[1], [2, 3]] == [[1], [2, 3]]",
    "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}",
    "dyn(1) == 1.0",
    "dyn(1u) == 1",
    "dyn('1') != 1",
    "dyn(null) != 1",
    "[dyn(1), 1.0] == [1.0, 1]",
    "timestamp('2024-01-01T00:00:00Z') == timestamp('2024-01-01T01:00:00+01:00')",
    "duration('60s') == duration('1m')",
    "type(1) == int && type(1u) == uint && type(1.0) == double",
    "type('') == string && type(b'') == bytes && type(true) == bool",
    "type([]) == list && type({}) == map && type(null) == null_type && type(int) == type",
    "type(duration('1s')) == google.protobuf.Duration",
    "type(timestamp(0)) == google.protobuf.Timestamp",
    // Order.
    "1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3",
    "1u < 2u",
    "-0.5 < 0.5",
    "'a' < 'b' && 'B' < 'a' && '' < 'a'",
    "b'a' < b'b'",
    "false < true",
    "dyn(1) < 1.5",
    "dyn(1u) > 0",
    "timestamp(1) < timestamp(2)",
    "duration('1s') < duration('1m')",
    "double('-inf') < double('inf')",
    // Arithmetic.
    "1 + 2 * 3 == 7",
    "(1 + 2) * 3 == 9",
    "10 - 2 - 3 == 5",
    "7 / 2 == 3 && -7 / 2 == -3",
    "7 % 3 == 1 && -7 % 3 == -1",
    "-(-9223372036854775807) == 9223372036854775807",
    "18446744073709551615u - 1u == 18446744073709551614u",
    "0.1 + 0.2 > 0.3",
    "1.0 / 0.0 == double('inf')",
    "'a' + 'b' == 'ab'",
    "b'a' + b'b' == b'ab'",
    "[1] + [2] == [1, 2]",
    "timestamp(10) + duration('5s') == timestamp(15)",
    "duration('5s') + timestamp(10) == timestamp(15)",
    "timestamp(10) - timestamp(4) == duration('6s')",
    "timestamp(10) - duration('10s') == timestamp(0)",
    "duration('1h') - duration('30m') == duration('30m')",
    // Logic: whichever side decides, and an error only where neither does.
    "true || 1 / 0 == 1",
    "1 / 0 == 1 || true",
    "!(false && 1 / 0 == 1)",
    "!(1 / 0 == 1 && false)",
    "true ? true : 1 / 0 == 1",
    "!true || true",
    "false || true && true",
    "(1 > 2 ? 'a' : 'b') == 'b'",
    // Strings.
    "size('hé😀') == 3",
    "'hello'.contains('ell') && 'hello'.contains('')",
    "'hello'.startsWith('he') && !'hello'.startsWith('lo')",
    "'hello'.endsWith('lo') && !'hello'.endsWith('he')",
    "size(b'hé') == 3",
    // Patterns: RE2's.
    "'v1.2.3'.matches(r'^v\\d+\\.\\d+\\.\\d+$')",
    "matches('feature/x-1', '^feature/[a-z]+-[0-9]+$')",
    "'main'.matches('^(main|release-.*)$')",
    "'xabcx'.matches('abc')",
    "'ABC'.matches('(?i)abc')",
    r"!'٣'.matches(r'\d') && !'é'.matches(r'\w') && 'é'.matches(r'^\W$')",
    r"'é'.matches(r'^[^\w\s]$')",
    r"'aé'.matches(r'^a\b') && 'ab'.matches(r'^a\Bb$')",
    r"'a.b'.matches(r'^\Qa.b\E$') && !'axb'.matches(r'^\Qa.b\E$')",
    "'&'.matches('[a&&b]') && 'a'.matches('[a&&b]')",
    "'['.matches('[[]') && ']'.matches('[]]')",
    "'a{,2}'.matches('^a{,2}$') && 'aa'.matches('^a{2}$')",
    r"'<'.matches(r'\<')",
    r"'é'.matches(r'^\p{L}$') && 'α'.matches(r'\p{Greek}')",
    // Conversions.
    "int('-42') == -42 && int(42u) == 42 && int(-1.9) == -1",
    "int(timestamp('1970-01-01T00:01:00Z')) == 60",
    "uint('42') == 42u && uint(42) == 42u && uint(1.9) == 1u",
    "double('1.5') == 1.5 && double(1) == 1.0 && double(1u) == 1.0",
    "string(42) == '42' && string(42u) == '42' && string(true) == 'true'",
    "string(1.0) == '1' && string(1.5) == '1.5' && string(-0.25) == '-0.25'",
    "string(1e6) == '1e+06' && string(100000.0) == '100000' && string(1e-5) == '1e-05' && string(0.0001) == '0.0001'",
    "string(double('inf')) == '+Inf' && string(double('-inf')) == '-Inf' && string(double('nan')) == 'NaN'",
    "string(b'abc') == 'abc' && bytes('é') == b'é'",
    "string(timestamp('2024-02-29T23:59:58.5Z')) == '2024-02-29T23:59:58.5Z'",
    "string(duration('1h30m')) == '5400s' && string(duration('100ms')) == '0.1s'",
    "bool('true') && bool('t') && bool('1') && bool('True') && !bool('FALSE')",
    "duration('1h30m') == duration('90m') && duration('-1.5h') == duration('-90m') && duration('0') == duration('0s')",
    "duration('3.3s') == duration('3300ms') && duration('1us') == duration('1000ns') && duration('.5s') == duration('500ms')",
    "timestamp(0) == timestamp('1970-01-01T00:00:00Z') && string(timestamp(0)) == '1970-01-01T00:00:00Z'",
    // Times.
    "timestamp('2024-02-29T23:59:58.123Z').getFullYear() == 2024",
    "timestamp('2024-02-29T23:59:58.123Z').getMonth() == 1",
    "timestamp('2024-02-29T23:59:58.123Z').getDate() == 29",
    "timestamp('2024-02-29T23:59:58.123Z').getDayOfMonth() == 28",
    "timestamp('2024-02-29T23:59:58.123Z').getDayOfWeek() == 4",
    "timestamp('2024-02-29T23:59:58.123Z').getDayOfYear() == 59",
    "timestamp('2024-02-29T23:59:58.123Z').getHours() == 23",
    "timestamp('2024-02-29T23:59:58.123Z').getMinutes() == 59",
    "timestamp('2024-02-29T23:59:58.123Z').getSeconds() == 58",
    "timestamp('2024-02-29T23:59:58.123Z').getMilliseconds() == 123",
    "timestamp('2024-02-29T23:59:58Z').getHours('+02:30') == 2",
    "timestamp('2024-02-29T23:59:58Z').getMinutes('-02:30') == 29",
    "timestamp('2024-02-29T23:59:58Z').getDate('02:00') == 1",
    "timestamp('2024-02-29T23:59:58Z').getHours('UTC') == 23",
    "duration('1h30m').getHours() == 1 && duration('1h30m').getMinutes() == 90",
    "duration('90s').getSeconds() == 90 && duration('1.5s').getMilliseconds() == 1500",
    // Lists and maps.
    "[1, 2, 3][2] == 3",
    "[1, 2][dyn(1u)] == 2 && [1, 2][dyn(0.0)] == 1",
    "{'a': 1}['a'] == 1 && {'a': 1}.a == 1",
    "{1: 'a'}[dyn(1.0)] == 'a' && {1u: 'a'}[dyn(1)] == 'a'",
    "{'a': {'b': [1]}}.a.b[0] == 1",
    "2 in [1, 2] && !(3 in [1, 2]) && !(1 in [])",
    "'a' in {'a': 1} && !('b' in {'a': 1})",
    "dyn(1.0) in [1] && dyn(1u) in {1: 'a'}",
    "size([1, 2]) == 2 && size({'a': 1}) == 1",
    // Macros.
    "has({'a': 1}.a) && !has({'a': 1}.b) && has({'a': null}.a)",
    "[1, 2].all(x, x > 0) && ![1, 2].all(x, x > 1) && [].all(x, false)",
    "[1, 2].exists(x, x > 1) && ![1, 2].exists(x, x > 2) && ![].exists(x, true)",
    "[1, 2].exists_one(x, x > 1) && ![1, 1].exists_one(x, x == 1) && ![].exists_one(x, true)",
    "[1, 2].map(x, x * 2) == [2, 4]",
    "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
    "[1, 2, 3].filter(x, x > 1) == [2, 3]",
    "{'a': 1}.all(k, k == 'a') && {'a': 1}.map(k, k) == ['a'] && {'a': 1}.filter(k, false) == []",
    "[0, 1].exists(x, 1 / x > 0)",
    "![1, 0].all(x, 1 / x > 5)",
    "[1, 2].exists(x, [2, 3].exists(y, x == y))",
    "[1].exists(x, [2].exists(x, x == 2))",
    "['a', 'b'].exists(x, x in ['b', 'c'])",
    "[[1, 2], [3]].all(x, x.size() > 0)",
    // An oddity of cel-go.
    "[1.5, 2.0].all(x, x > 1) && [2u].exists(x, x >= 1) && [1].all(x, x < 1.5)",
];

/// Expressions without a value, and a part of the sentence. `cel-go` fails at each, too.
const FAILING: &[(&str, &str)] = &[
    // Syntax.
    ("1 +", "Syntax error: "),
    ("(true", "Syntax error: "),
    ("true true", "Syntax error: "),
    ("'open", "Syntax error: "),
    ("$(steps.a.results.b) == 'x'", "Syntax error: "),
    ("true and true", "Syntax error: "),
    (" ", "Syntax error: "),
    // Names.
    ("x", "undeclared reference to 'x' (in container ''): here are the functions"),
    ("x || true", "undeclared reference to 'x'"),
    ("main == 'main'", "undeclared reference to 'main'"),
    ("unknown(1)", "undeclared reference to 'unknown'"),
    ("'a'.lowerAscii() == 'a'", "undeclared reference to 'lowerAscii'"),
    ("math.greatest(1, 2) == 2", "undeclared reference to 'math"),
    ("cel.bind(x, 1, x == 1)", "undeclared reference to "),
    ("[1].exists(i, v, v == 1)", "exists() requires exactly 2 arguments"),
    ("[1].transformList(i, v, v) == [1]", "undeclared reference to "),
    ("optional.none().hasValue()", "undeclared reference to "),
    ("{'a': 1}[?'a'] == 1", "unsupported syntax '?'"),
    ("[1].exists(x, __result__)", "undeclared reference to '__result__'"),
    // Types: never compared across.
    ("1 == '1'", "found no matching overload for '_==_' applied to '(int, string)'"),
    ("'1' != 1", "found no matching overload for '_!=_' applied to '(string, int)'"),
    ("1 == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
    ("1 == 1u", "found no matching overload for '_==_' applied to '(int, uint)'"),
    ("[1.5].map(x, x > 1)[0] && 1.5 > 1", "found no matching overload for '_>_' applied to '(double, int)'"),
    ("1 < 1.5", "found no matching overload for '_<_' applied to '(int, double)'"),
    ("'a' == null", "found no matching overload for '_==_' applied to '(string, null)'"),
    ("[1] == ['a']", "found no matching overload for '_==_' applied to '(list(int), list(string))'"),
    ("{'a': 1} == {'a': 'b'}", "applied to '(map(string, int), map(string, string))'"),
    ("1 in ['a']", "found no matching overload for '@in' applied to '(int, list(string))'"),
    ("1 in {'a': 1}", "found no matching overload for '@in' applied to '(int, map(string, int))'"),
    ("'a' + 1 == 'a1'", "found no matching overload for '_+_' applied to '(string, int)'"),
    ("{'a': 1} + {'b': 2} == {}", "found no matching overload for '_+_'"),
    ("[1] + ['a'] == []", "found no matching overload for '_+_' applied to '(list(int), list(string))'"),
    ("(true ? 1 : 'a') == 1", "found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
    ("1 && true", "found no matching overload for '_&&_'"),
    ("true || 'a'", "found no matching overload for '_||_'"),
    ("!1", "found no matching overload for '!_' applied to '(int)'"),
    ("-1u == 1u", "found no matching overload for '-_' applied to '(uint)'"),
    ("1 ? true : false", "expected type 'bool' but found 'int'"),
    ("size(1) == 1", "found no matching overload for 'size' applied to '(int)'"),
    ("'a'.startsWith(1)", "found no matching overload for 'startsWith'"),
    ("'a'.b == 1", "does not support field selection"),
    ("{1.5: 1}[1.5] == 1", "valid map key"),
    // Values.
    ("1 / 0 == 1", "division by zero, in the CEL expression 1 / 0 == 1"),
    ("1 % 0 == 1", "modulus by zero"),
    ("9223372036854775807 + 1 > 0", "integer overflow"),
    ("-9223372036854775808 - 1 < 0", "integer overflow"),
    ("-(-9223372036854775808) > 0", "integer overflow"),
    ("9223372036854775807 * 2 > 0", "integer overflow"),
    ("-9223372036854775808 / -1 > 0", "integer overflow"),
    ("0u - 1u > 0u", "integer overflow"),
    ("duration('9223372036s') + duration('9223372036s') > duration('0s')", "integer overflow"),
    ("[1, 2][2] == 1", "index out of bounds: 2"),
    ("[1, 2][-1] == 2", "index out of bounds: -1"),
    ("[1][dyn(-1)] == 1", "index out of bounds: -1"),
    ("dyn('abc')[0] == 'a'", "no such overload"),
    ("{'a': 1}['b'] == 1", "no such key: "),
    ("{'a': 1}.b == 1", "no such key: b"),
    ("has({'a': 1 / 0}.a)", "division by zero"),
    ("has({}.a.b)", "no such key: a"),
    ("dyn({'a': 1}) + dyn({'b': 1}) == {}", "no such overload"),
    ("[0].all(x, 1 / x > 0)", "division by zero"),
    ("[0, 1].exists_one(x, 1 / x > 0)", "division by zero"),
    ("[0].map(x, 1 / x) == []", "division by zero"),
    ("dyn(1) && true", "no such overload"),
    ("dyn('a') < 1", "no such overload"),
    // Conversions.
    ("int('1.0') == 1", "cannot convert"),
    ("int('') == 0", "cannot convert"),
    ("int(9223372036854775808u) == 0", "overflow"),
    ("int(1e19) == 0", "overflow"),
    ("uint(-1) == 0u", "overflow"),
    ("double('1e400') > 1.0", "cannot convert"),
    ("bool('yes')", "cannot convert"),
    ("string(b'\\xff') == ''", "cannot convert"),
    ("duration('1d') == duration('24h')", "cannot convert"),
    ("duration('9223372037s') > duration('0s')", "cannot convert"),
    ("duration(dyn(1)) == duration('1s')", "no such overload"),
    ("timestamp('2024-02-30T00:00:00Z') > timestamp(0)", "cannot convert"),
    ("timestamp('2024-02-29 00:00:00Z') > timestamp(0)", "cannot convert"),
    ("timestamp('2024-02-29T23:59:60Z') > timestamp(0)", "cannot convert"),
    ("timestamp(253402300800) > timestamp(0)", "cannot convert"),
    ("timestamp('9999-12-31T23:59:59Z') + duration('1s') > timestamp(0)", "out of range"),
    ("timestamp(0).getHours('Nowhere') == 0", "unknown time zone Nowhere: it is looked for in"),
    ("timestamp(0).getHours('/etc/passwd') == 0", "time: invalid location name"),
    ("timestamp(0).getHours('../UTC') == 0", "time: invalid location name"),
    ("timestamp(0).getHours('+25:00') == 0", "timezone offset hours out of range [-23, 23]: +25:00"),
    ("timestamp(0).getHours('+02:60') == 0", "timezone offset minutes out of range [0, 59]: +02:60"),
    // Patterns.
    ("'a'.matches('(')", "error parsing regexp: "),
    ("'a'.matches('*')", "missing argument to repetition operator"),
    ("'a'.matches('a**')", "invalid nested repetition operator"),
    ("'a'.matches('a{1001}')", "invalid repeat count"),
    ("'a'.matches('(?x)a')", "invalid or unsupported Perl syntax"),
    ("'a'.matches('a(?=b)')", "invalid or unsupported Perl syntax"),
    (r"'aa'.matches(r'(a)\1')", "invalid escape sequence"),
    ("'a'.matches('[[:foo:]]')", "invalid character class range"),
    // No boolean.
    ("1", "the CEL expression 1 is not evaluated to a boolean"),
    ("'true'", "the CEL expression 'true' is not evaluated to a boolean"),
    ("[]", "the CEL expression [] is not evaluated to a boolean"),
    ("null", "the CEL expression null is not evaluated to a boolean"),
    ("int", "the CEL expression int is not evaluated to a boolean"),
];

/// What this version cannot evaluate although `cel-go` can, and a part of the sentence: the list of ADR 0026.
const LACKING: &[(&str, &str)] = &[
    ("google.protobuf.BoolValue{value: true}", "this version cannot make protobuf messages"),
    ("google.protobuf.Int32Value{value: 1} == 1", "this version cannot make protobuf messages"),
    ("[1].exists(int, int == 1)", "this version cannot use 'int', the name of a type, as a variable"),
    ("1.0 < double('nan')", "no such overload"),
    ("null in dyn({'a': 1})", "no such overload"),
    ("dyn([1]) in {'a': 1}", "no such overload"),
    ("{1.5: 1} == {1.5: 1}", "valid map key"),
    ("{'a': 1, 'a': 2} == {'a': 2}", "repeated key"),
    ("(true ? dyn(1) : 'a') == 1", "found no matching overload"),
    ("int(duration('1m')) == 60000000000", "found no matching overload for 'int' applied to '(duration)'"),
    ("double('0x1p4') == 16.0", "cannot convert"),
    ("double('1_000') == 1000.0", "cannot convert"),
    ("-0x8000000000000000 < 0", "Syntax error"),
    (".int == int", "unknown identifier"),
    (".size([1]) == 1", "undeclared reference to 'size'"),
    ("timestamp(0).getHours('Local') == 0", "unknown time zone Local"),
    // A timestamp has no offset in the specification; cel-go keeps the one that it was written with.
    ("string(timestamp('2024-02-29T23:59:58+05:30')) == ''", "a timestamp where one has an offset from UTC"),
    (r"'a'.matches(r'\141')", "one that this version does not know"),
    (r"'a'.matches(r'\p{^L}')", "error parsing regexp"),
    ("'a'.matches('(?P<1>a)')", "error parsing regexp"),
    ("'a'.matches('(?ii)A')", "error parsing regexp"),
    ("'a'.matches('[+--]')", "this version does not know -- in a class"),
];

/// What has a value here although `cel-go` refuses it: the second list of ADR 0026.
const LAX: &[(&str, bool)] = &[
    ("0XFF == 255", true),
    (r"rb'\n' == b'\\n'", true),
    ("uint('+1') == 1u", true),
    ("true ? true ? true : false : false", true),
    (r"'a'.matches(r'\p{Alphabetic}')", true),
];

/// Those of a table that do not fail with a sentence that has its part, or has it without the expression.
fn not_failing<'a>(table: &[(&'a str, &str)]) -> Vec<(&'a str, Result<bool, String>)> {
    let results = table.iter().map(|(text, part)| (*text, part, holds(text)));
    let wrong = results.filter(|(text, part, result)| {
        !result
            .as_ref()
            .is_err_and(|reason| reason.contains(*part) && reason.contains(&format!("the CEL expression {text}")))
    });
    wrong.map(|(text, _, result)| (text, result)).collect()
}

#[test]
fn expressions_have_the_values_of_the_specification() {
    for text in TRUE {
        assert_eq!(holds(text), Ok(true), "{text}");
        assert_eq!(holds(&format!("!({})", text.trim_end_matches(" // a comment"))), Ok(false), "{text}");
    }
}

#[test]
fn expressions_that_have_no_value_fail_with_a_sentence_in_tektons_words() {
    assert_eq!(not_failing(FAILING), []);
}

#[test]
fn what_this_version_lacks_fails_and_is_never_silently_wrong() {
    assert_eq!(not_failing(LACKING), []);
}

#[test]
fn what_is_taken_more_lightly_than_in_tekton_is_known() {
    for (text, value) in LAX {
        assert_eq!(holds(text), Ok(*value), "{text}");
    }
}

#[test]
fn a_long_expression_is_shown_as_one_short_line() {
    let long = format!("'{}'\n\t== 1", "é".repeat(1000));
    let reason = holds(&long).unwrap_err();
    assert!(reason.len() < 400 && reason.ends_with("..."), "{reason}");
    let reason = holds("1\n\t+ 'a'").unwrap_err();
    assert!(reason.ends_with(r"in the CEL expression 1\n\t+ 'a'"), "{reason}");
    let reason = holds("1 ==\n  )").unwrap_err();
    assert!(reason.contains(" at 2:3"), "{reason}");
    assert!(
        holds(&"1".repeat(200_000)).unwrap_err().starts_with("expression code point size exceeds limit: size: 200000")
    );
}

#[test]
fn what_the_library_repeats_of_an_expression_is_one_short_line_too() {
    for text in ["x \u{1b}[2K\r", "'a\u{7}b' == '\\q'", "'\u{1b}'[0]", "{'a\\u001bb': 1}['\\u001b'] == 1"] {
        let reason = holds(text).unwrap_err();
        assert!(!reason.contains(char::is_control), "{reason:?}");
    }
    let reason = holds(&"x".repeat(50_000)).unwrap_err();
    assert!(reason.len() < 1300 && reason.starts_with("undeclared reference to 'xxx"), "{}", reason.len());
}
