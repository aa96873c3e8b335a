//! How long ago, the short way: precise while young, coarse when old.

use serde_json::Value;

/// The time since a timestamp; `<unknown>` without one.
pub fn since(timestamp: &Value, now_seconds: i64) -> String {
    match timestamp.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()) {
        Some(then) => duration(now_seconds - then.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// A duration in at most two units. A little in the future counts as now: clocks differ.
pub fn duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let pair = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => pair(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => pair(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => pair(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => pair(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    #[test]
    fn from_seconds_to_years() {
        let minutes = |m: i64| m * 60;
        let all = [
            -5,
            -1,
            0,
            119,
            120,
            135,
            599,
            600,
            minutes(179),
            minutes(180),
            minutes(7 * 60 + 5),
            minutes(8 * 60),
            minutes(47 * 60),
            minutes(49 * 60),
            minutes(8 * 24 * 60),
            minutes(800 * 24 * 60),
            minutes(4000 * 24 * 60),
        ];
        expect!["<invalid> 0s 0s 119s 2m 2m15s 9m59s 10m 179m 3h 7h5m 8h 47h 2d1h 8d 2y70d 10y"]
            .assert_eq(&all.map(super::duration).join(" "));
    }
}
