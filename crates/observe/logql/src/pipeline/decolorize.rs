//! Terminal colours and their like, taken out.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;

/// Control sequences: an introducer, then either a string that ends with BEL or parameters and a final letter.
static SEQUENCE: LazyLock<Regex> = LazyLock::new(|| {
    let introducer = r"[\x1B\x{9B}][\[\]()#;?]*";
    let string = r"(?:(?:[a-zA-Z0-9]*(?:;[a-zA-Z0-9]*)*)?\x07)";
    let sequence = r"(?:(?:[0-9]{1,4}(?:;[0-9]{0,4})*)?[0-9A-PRZcf-ntqry=><~])";
    Regex::new(&format!("{introducer}(?:{string}|{sequence})")).expect("the expression is right")
});

pub(super) fn decolorize(line: &str) -> Cow<'_, str> {
    // Most lines have no introducer, and that is quickly seen.
    if memchr::memchr2(0x1b, 0xc2, line.as_bytes()).is_none() {
        return Cow::Borrowed(line);
    }
    SEQUENCE.replace_all(line, "")
}

#[cfg(test)]
mod tests {
    #[test]
    fn colours_go() {
        assert_eq!(super::decolorize("\u{1b}[1;31mred\u{1b}[0m plain"), "red plain");
    }
}
