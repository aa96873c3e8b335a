//! `$(NAME)` in commands, arguments and values of environment variables. Pure.

/// `text` with every `$(NAME)` that `lookup` knows replaced; `$$` stands for a dollar, and what is unknown stays as it is.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn variables_are_replaced_once_and_dollars_doubled() {
        let expanded = |text: &str| expand(text, |name| (name == "A").then(|| "$(B) 1".to_owned()));
        for (text, wanted) in [
            ("$(A)", "$(B) 1"),
            ("x$(A)y$(A)", "x$(B) 1y$(B) 1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$$(B) 1"),
            ("$(B)", "$(B)"),
            ("$(A", "$(A"),
            ("$A ${A} $", "$A ${A} $"),
            ("", ""),
        ] {
            assert_eq!(expanded(text), wanted, "{text}");
        }
    }
}
