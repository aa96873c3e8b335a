//! Dates of the proleptic Gregorian calendar in UTC, from seconds since the epoch. Wide integers, because a float may
//! name a second that 64 bits do not hold.

const SECONDS_PER_DAY: i128 = 24 * 3600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub year: i128,
    /// From 1.
    pub month: i128,
    /// From 1.
    pub day: i128,
    /// From 1.
    pub day_of_year: i128,
    /// 0 is Sunday.
    pub weekday: i128,
    pub hour: i128,
    pub minute: i128,
    pub second: i128,
}

pub(super) fn is_leap(year: i128) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

pub(super) fn days_in_month(year: i128, month: i128) -> i128 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(super) fn date(seconds: i128) -> Date {
    let days = seconds.div_euclid(SECONDS_PER_DAY);
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    // Years are counted from March on, so that leap days come last; eras are 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_from_march + 2) / 153;
    let day = day_from_march - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i128::from(month <= 2);
    let before: i128 = (1..month).map(|month| days_in_month(year, month)).sum();
    Date {
        year,
        month,
        day,
        day_of_year: before + day,
        weekday: (days + 4).rem_euclid(7),
        hour: second_of_day / 3600,
        minute: second_of_day / 60 % 60,
        second: second_of_day % 60,
    }
}

/// The second that a float names, cut to a whole one. What is no number, or too large, is what Go makes of it: 2^63.
pub(super) fn second(value: f64) -> i128 {
    let bound = 9_223_372_036_854_775_808.0;
    if (-bound..bound).contains(&value) && value != -bound { value as i128 } else { 1 << 63 }
}

pub(super) fn rfc3339(seconds: i128) -> String {
    let Date { year, month, day, hour, minute, second, .. } = date(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
