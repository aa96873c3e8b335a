//! Integers under each verb.

use super::Printer;
use crate::{
    quote::{is_print, quote_char},
    value::Value,
};

impl Printer {
    pub(super) fn integer(&mut self, negative: bool, magnitude: u64, verb: char, value: &Value) {
        let wrapped = if negative { magnitude.wrapping_neg() } else { magnitude };
        match verb {
            'v' | 'd' => self.digits(negative, magnitude.to_string(), ""),
            'b' => self.digits(negative, format!("{magnitude:b}"), "0b"),
            'o' => {
                let digits = format!("{magnitude:o}");
                let prefix = if digits.starts_with('0') { "" } else { "0" };
                self.digits(negative, digits, prefix);
            }
            'O' => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                self.digits(negative, format!("{magnitude:o}"), if sharp && magnitude != 0 { "0o0" } else { "0o" });
                self.flags.sharp = sharp;
            }
            'x' => self.digits(negative, format!("{magnitude:x}"), "0x"),
            'X' => self.digits(negative, format!("{magnitude:X}"), "0X"),
            'c' => {
                let character = character(wrapped);
                self.pad(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'q' => {
                let quoted = quote_char(character(wrapped), self.flags.plus);
                self.pad(quoted.as_bytes());
            }
            'U' => self.unicode(wrapped),
            _ => self.bad_verb(verb, value),
        }
    }

    fn digits(&mut self, negative: bool, digits: String, prefix: &str) {
        let flags = self.flags;
        if flags.precision == Some(0) && digits == "0" {
            self.flags.zero = false;
            self.padding(flags.width.unwrap_or(0));
            self.flags.zero = flags.zero;
            return;
        }
        let sign = match negative {
            true => "-",
            false if flags.plus => "+",
            false if flags.space => " ",
            false => "",
        };
        let least = match (flags.precision, flags.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(sign.len()),
            _ => 0,
        };
        let prefix = if flags.sharp { prefix } else { "" };
        let text = format!("{sign}{prefix}{digits:0>least$}");
        self.pad_with_spaces(text.as_bytes());
    }

    fn unicode(&mut self, code: u64) {
        let least = self.flags.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{code:0>least$X}");
        let shown = u32::try_from(code).ok().and_then(char::from_u32).filter(|character| is_print(*character));
        if let (true, Some(character)) = (self.flags.sharp, shown) {
            text.push_str(&format!(" '{character}'"));
        }
        self.pad_with_spaces(text.as_bytes());
    }
}

fn character(code: u64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}
