//! JSON to YAML text, as Go's YAML library writes it for Kubernetes tools.

use serde_json::Value;

use crate::writer::{Entries, Kind, Layout, Source, write};

/// One document.
pub fn emit(value: &Value) -> String {
    write(&Json, value, Layout::Compact)
}

/// Several documents with `---` between them.
pub fn emit_documents<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let mut text = String::new();
    for value in values {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(&emit(value));
    }
    text
}

struct Json;

impl Source for Json {
    type Node = Value;

    fn kind<'a>(&self, node: &'a Value) -> Kind<'a> {
        match node {
            Value::Null => Kind::Null,
            Value::Bool(value) => Kind::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Kind::Int(value),
                (None, Some(value)) => Kind::UInt(value),
                (None, None) => number.as_f64().map_or(Kind::Null, Kind::Float),
            },
            Value::String(text) => Kind::Text(text.into()),
            Value::Array(items) if items.is_empty() => Kind::EmptyList,
            Value::Array(_) => Kind::List,
            Value::Object(fields) if fields.is_empty() => Kind::EmptyMap,
            Value::Object(_) => Kind::Map,
        }
    }

    fn items(&self, node: &Value, see: &mut dyn FnMut(&[Value])) {
        see(node.as_array().map_or(&[], Vec::as_slice));
    }

    fn entries(&self, node: &Value, see: &mut dyn FnMut(Entries<'_, Value>)) {
        let fields = node.as_object().into_iter().flatten();
        see(fields.map(|(key, value)| (key.as_str(), value)).collect());
    }
}

/// A float in Go's shortest notation: `%g` writes an exponent below 10⁻⁴ and from 10⁶ on. Whole numbers up to 2⁶⁴ never
/// come here, they are integers.
pub fn go_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().expect("Rust writes an integer there");
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::emit;

    fn check(value: &serde_json::Value, expected: Expect) {
        expected.assert_eq(&emit(value));
    }

    #[test]
    fn strings_get_the_plainest_style_that_reads_back() {
        let strings = json!([
            "plain",
            "yes",
            "1:30",
            "~",
            "",
            "a: b",
            "a #b",
            "it's",
            "'q'",
            " lead",
            "tab\tx",
            "\u{1}",
            "é☃",
            "😀",
            "- a",
            "x:",
            "line\nnext\n",
            "line\nnext",
            "  two\n",
            "\nlead",
            "end \n",
            "keep\n\n"
        ]);
        check(
            &strings,
            expect![[r#"
            - plain
            - "yes"
            - "1:30"
            - "~"
            - ""
            - 'a: b'
            - 'a #b'
            - it's
            - '''q'''
            - ' lead'
            - "tab\tx"
            - "\x01"
            - é☃
            - "\U0001F600"
            - '- a'
            - 'x:'
            - |
              line
              next
            - |-
              line
              next
            - |2
                two
            - |2-

              lead
            - "end \n"
            - |+
              keep

        "#]],
        );
    }

    #[test]
    fn keys_stand_in_natural_order() {
        check(
            &json!({"a10": 1, "a9": 1, "b": [], "9": {}, "10": [[1, 2], {"x": null}], "A9": true}),
            expect![[r#"
            "9": {}
            "10":
            - - 1
              - 2
            - x: null
            A9: true
            a9: 1
            a10: 1
            b: []
        "#]],
        );
    }

    #[test]
    fn long_text_folds_at_a_space() {
        let words = "the quick brown fox jumps over the lazy dog ".repeat(3);
        check(
            &json!({"long": words.trim_end(), "quoted": format!("{words}: x")}),
            expect![[r#"
            long: the quick brown fox jumps over the lazy dog the quick brown fox jumps over the
              lazy dog the quick brown fox jumps over the lazy dog
            quoted: 'the quick brown fox jumps over the lazy dog the quick brown fox jumps over
              the lazy dog the quick brown fox jumps over the lazy dog : x'
        "#]],
        );
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        check(
            &json!([1, -7, 1.5, 1e-7, 1e21, 18446744073709551615u64, 1234567.5]),
            expect![[r#"
            - 1
            - -7
            - 1.5
            - 1e-07
            - 1e+21
            - 18446744073709551615
            - 1.2345675e+06
        "#]],
        );
    }
}
