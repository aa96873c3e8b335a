//! The syntax of names, labels, keys and ports, with upstream's messages: each check returns what is wrong, empty when nothing is.

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_WORDS: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_WORDS: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035_WORDS: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const WILDCARD: &str = "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const WILDCARD_WORDS: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const KEY_WORDS: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const VALUE_WORDS: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const CONFIG_KEY: &str = "[-._a-zA-Z0-9]+";
const CONFIG_KEY_WORDS: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
const HEADER: &str = "[-A-Za-z0-9]+";
const HEADER_WORDS: &str = "a valid HTTP header must consist of alphanumeric characters or '-'";

fn says(words: &str, examples: &[&str], regex: &str) -> String {
    // Upstream's list of examples has two spaces before each "or".
    let examples = examples.iter().map(|example| format!("'{example}', ")).collect::<Vec<_>>().join(" or ");
    format!("{words} (e.g. {examples}regex used for validation is '{regex}')")
}

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Letters, digits and what `inner` allows, beginning and ending with a letter or digit.
fn is_word(text: &str, outer: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    outer(*first) && outer(*last) && bytes.iter().all(|byte| outer(*byte) || inner.contains(byte))
}

fn is_label(text: &str) -> bool {
    is_word(text, is_lower_alphanumeric, b"-")
}

/// A name as it is in many programming languages.
pub(super) fn c_identifier(text: &str) -> Vec<String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = text.bytes().next().is_some_and(|byte| is_part(byte) && !byte.is_ascii_digit());
    if begins && text.bytes().all(is_part) {
        return Vec::new();
    }
    let words = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
    vec![says(words, &["my_name", "MY_NAME", "MyName"], "[A-Za-z_][A-Za-z0-9_]*")]
}

pub fn dns_1123_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push(too_long(63));
    }
    if !is_label(text) {
        wrong.push(match dns_1123_subdomain(text)[..] {
            [] => "must not contain dots".to_owned(),
            _ => says(LABEL_WORDS, &["my-name", "123-abc"], LABEL),
        });
    }
    wrong
}

pub fn dns_1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push(too_long(253));
    }
    if !text.split('.').all(is_label) {
        wrong.push(says(SUBDOMAIN_WORDS, &["example.com"], SUBDOMAIN));
    }
    wrong
}

pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push(too_long(63));
    }
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        wrong.push(says(LABEL_1035_WORDS, &["my-name", "abc-123"], LABEL_1035));
    }
    wrong
}

pub(super) fn wildcard_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push(too_long(253));
    }
    if !text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label)) {
        wrong.push(says(WILDCARD_WORDS, &["*.example.com"], WILDCARD));
    }
    wrong
}

/// Label and annotation keys, finalizers.
pub fn qualified_name(text: &str) -> Vec<String> {
    let key_says = || says(KEY_WORDS, &["MyName", "my.name", "123-abc"], KEY);
    let (prefix, name) = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => {
            let tail = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {} {tail}", key_says())];
        }
    };
    let mut wrong = Vec::new();
    match prefix {
        Some("") => wrong.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            wrong.extend(dns_1123_subdomain(prefix).into_iter().map(|words| format!("prefix part {words}")))
        }
        None => {}
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push(format!("name part {}", too_long(63)));
    }
    if !is_word(name, |byte| byte.is_ascii_alphanumeric(), b"-_.") {
        wrong.push(format!("name part {}", key_says()));
    }
    wrong
}

pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push(too_long(63));
    }
    if !text.is_empty() && !is_word(text, |byte| byte.is_ascii_alphanumeric(), b"-_.") {
        wrong.push(says(VALUE_WORDS, &["MyValue", "my_value", "12345"], VALUE));
    }
    wrong
}

/// Keys of config maps and secrets, which become file names.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push(too_long(253));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        wrong.push(says(CONFIG_KEY_WORDS, &["key.name", "KEY_NAME", "key-name"], CONFIG_KEY));
    }
    match text {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        text if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut says = |holds: bool, words: &str| {
        if !holds {
            wrong.push(words.to_owned());
        }
    };
    says(text.len() <= 15, "must be no more than 15 bytes");
    let charset = !text.is_empty() && text.bytes().all(|byte| is_lower_alphanumeric(byte) || byte == b'-');
    says(charset, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    says(text.bytes().any(|byte| byte.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    says(!text.contains("--"), "must not contain consecutive hyphens");
    says(!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen");
    wrong
}

pub(super) fn port_number(number: i64) -> Vec<String> {
    in_range(number, 1, 65535)
}

pub(super) fn in_range(number: i64, least: i64, most: i64) -> Vec<String> {
    let inside = (least..=most).contains(&number);
    if inside { Vec::new() } else { vec![format!("must be between {least} and {most}, inclusive")] }
}

/// Anything printable but `=`.
/// Words in lower case, joined by dots or slashes.
pub(super) fn sysctl(text: &str) -> Vec<String> {
    const PATTERN: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_word = |word: &str| {
        word.starts_with(is_edge)
            && word.ends_with(is_edge)
            && word.chars().all(|c| is_edge(c) || matches!(c, '-' | '_'))
    };
    if text.len() <= 253 && text.split(['.', '/']).all(is_word) {
        return Vec::new();
    }
    vec![format!("must have at most 253 characters and match regex {PATTERN}")]
}

pub(super) fn environment_name(text: &str) -> Vec<String> {
    let printable = text.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && c != '=');
    if printable {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

pub(super) fn header_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    vec![says(HEADER_WORDS, &["X-Header-Name"], HEADER)]
}

/// A name that is a segment of a path: roles, bindings, definitions of networks.
pub(super) fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => return vec![format!("may not be '{text}'")],
        _ => {}
    }
    ['/', '%'].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn messages() {
        expect![[r#"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]]
            .assert_eq(&dns_1123_subdomain("My_App").join("\n"));
        expect!["must not contain dots"].assert_eq(&dns_1123_label("a.b").join("\n"));
        expect!["name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]
            .assert_eq(&qualified_name("-a").join("\n"));
        assert!(qualified_name("example.com/A.b-c_1").is_empty());
        assert!(label_value("").is_empty());
        expect![[r#"
            must be no more than 15 bytes
            must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            must not contain consecutive hyphens
            must not begin or end with a hyphen"#]]
        .assert_eq(&port_name("Too--long-a-port-name-").join("\n"));
        expect![[r#"
            a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            must not start with '..'"#]].assert_eq(&config_key("..a/b").join("\n"));
    }
}
