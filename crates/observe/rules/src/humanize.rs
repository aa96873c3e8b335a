//! Numbers as people like to read them in alerts.

use coracle_promql::number::{plain_float, short_float};

/// Go's `%.4g`.
pub(crate) fn four_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return plain_float(value);
    }
    let scientific = format!("{value:.3e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("the e format has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..4).contains(&exponent) {
        let rounded: f64 = scientific.parse().expect("a float was just written");
        return short_float(rounded);
    }
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_1024: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

fn shrink(mut value: f64, base: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = next;
        value /= base;
    }
    (value, prefix)
}

fn grow(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

pub(crate) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four_digits(value);
    }
    let (value, prefix) = if value.abs() >= 1.0 { shrink(value, 1000.0, &LARGE) } else { grow(value) };
    format!("{}{prefix}", four_digits(value))
}

pub(crate) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return four_digits(value);
    }
    let (value, prefix) = shrink(value, 1024.0, &LARGE_1024);
    format!("{}{prefix}", four_digits(value))
}

pub(crate) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return four_digits(value);
    }
    if value == 0.0 {
        return format!("{}s", four_digits(value));
    }
    if value.abs() < 1.0 {
        let (value, prefix) = grow(value);
        return format!("{}{prefix}s", four_digits(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four_digits(value.abs())),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

pub(crate) fn humanize_timestamp(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Ok(four_digits(value));
    }
    let ns = value * 1e9;
    let overflow = || {
        let value = short_float(value);
        format!("{value} cannot be represented as a nanoseconds timestamp since it overflows int64")
    };
    if ns > i64::MAX as f64 || ns < i64::MIN as f64 {
        return Err(overflow());
    }
    // Whole milliseconds, as Prometheus keeps times.
    let ms = (ns as i64).div_euclid(1_000_000);
    let time = jiff::Timestamp::from_millisecond(ms).map_err(|_| overflow())?.to_zoned(jiff::tz::TimeZone::UTC);
    let fraction = ms.rem_euclid(1000);
    let seconds = time.strftime("%Y-%m-%d %H:%M:%S");
    let fraction =
        if fraction == 0 { String::new() } else { format!(".{fraction:03}").trim_end_matches('0').to_owned() };
    Ok(format!("{seconds}{fraction} +0000 UTC"))
}
