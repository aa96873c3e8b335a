//! Natural order of keys.

use std::cmp::Ordering;

/// Letters after everything else, runs of digits by their value. `in_numbers` says that a letter behind a digit goes
/// before what is no letter, as Go's newer library has it.
pub(super) fn order(left: &str, right: &str, in_numbers: bool) -> Ordering {
    let mut common = left.bytes().zip(right.bytes()).take_while(|(left, right)| left == right).count();
    while !left.is_char_boundary(common) || !right.is_char_boundary(common) {
        common -= 1;
    }
    let (Some(l), Some(r)) = (left[common..].chars().next(), right[common..].chars().next()) else {
        return left.len().cmp(&right.len());
    };
    match (l.is_alphabetic(), r.is_alphabetic()) {
        (true, true) => l.cmp(&r),
        (false, false) => by_digits(left, right, common, l, r),
        (l_is_letter, _) => {
            let behind_digit = left[..common].chars().next_back().is_some_and(char::is_numeric);
            if l_is_letter == (in_numbers && behind_digit) { Ordering::Less } else { Ordering::Greater }
        }
    }
}

fn by_digits(left: &str, right: &str, from: usize, l: char, r: char) -> Ordering {
    let leading = (l == '0' || r == '0')
        && left[..from].bytes().rev().take_while(u8::is_ascii_digit).any(|digit| digit != b'0');
    let run = |text: &str| {
        let digits = text[from..].bytes().take_while(u8::is_ascii_digit);
        digits.fold((i64::from(leading), 0), |(value, length), digit| {
            (value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')), length + 1)
        })
    };
    run(left).cmp(&run(right)).then(l.cmp(&r))
}
