//! Whatever the text: the parser answers, and what it prints it reads again.

use coracle_logql::syntax::{parse, pretty};
use proptest::prelude::*;

/// Pieces that queries are made of, so that nonsense comes close to sense.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "(",
        ")",
        "[5m]",
        "[",
        "]",
        ",",
        "=",
        "!=",
        "=~",
        "!~",
        "|=",
        "|~",
        "|>",
        "!>",
        "|",
        "app",
        "\"a\"",
        "`b`",
        "\"",
        "`",
        "json",
        "logfmt",
        "--strict",
        "unwrap",
        "sum",
        "rate",
        "by",
        "without",
        "count_over_time",
        "or",
        "and",
        "unless",
        "+",
        "-",
        "*",
        "/",
        "^",
        "%",
        "==",
        ">",
        "bool",
        "on",
        "group_left",
        "1",
        "0.5",
        "5m",
        "10KB",
        "offset",
        "ip",
        "label_format",
        "line_format",
        "\"{{.a}}\"",
        "topk",
        "5",
        "drop",
        "keep",
        "pattern",
        "\"<a> <b>\"",
        "regexp",
        "\"(?P<x>.)\"",
        "vector",
        "label_replace",
        "é",
        "#",
        "\n",
        "{app=\"a\"}",
        "quantile_over_time",
        "duration",
    ];
    prop_oneof![
        9 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_is_read_is_printed_and_read_again(pieces in proptest::collection::vec(piece(), 0..24), glue in "[ ]?") {
        let text = pieces.join(&glue);
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let again = parse(&printed);
            prop_assert!(again.is_ok(), "{} was printed as {} and is {:?}", text, printed, again);
            prop_assert_eq!(again.unwrap().to_string(), printed.clone());
            prop_assert!(parse(&pretty(&expr)).is_ok(), "{}", pretty(&expr));
        }
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        drop(parse(&text));
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = "(".repeat(10_000) + "1" + &")".repeat(10_000);
    assert!(parse(&deep).unwrap_err().to_string().contains("levels deep"));
    let long = format!("{{a=\"{}\"}}", "x".repeat(200_000));
    assert!(parse(&long).unwrap_err().to_string().starts_with("parse error : input size too long"));
}
