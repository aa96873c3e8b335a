//! Go's `time.Duration`: nanoseconds, written `1h2m3.5s`.

use std::{any::Any, fmt};

use coracle_gotemplate::{Function, Kind, Member, Object, Type, Value};

use crate::{
    args::{Result, fail, text},
    cast,
};

const ANY: &[Type] = &[Type::Any];

pub(crate) const TABLE: &[Function] = &[
    Function::new("mustToDuration", ANY, |_, a| Ok(read(&a[0])?.into())),
    Function::new("durationNanoseconds", ANY, |_, a| Ok(Value::Int64(or_zero(&a[0]).0))),
    Function::new("durationMicroseconds", ANY, |_, a| Ok(Value::Int64(or_zero(&a[0]).0 / 1_000))),
    Function::new("durationMilliseconds", ANY, |_, a| Ok(Value::Int64(or_zero(&a[0]).0 / 1_000_000))),
    Function::new("durationSeconds", ANY, |_, a| Ok(Value::Float(or_zero(&a[0]).in_units(SECOND)))),
    Function::new("durationMinutes", ANY, |_, a| Ok(Value::Float(or_zero(&a[0]).in_units(MINUTE)))),
    Function::new("durationHours", ANY, |_, a| Ok(Value::Float(or_zero(&a[0]).in_units(HOUR)))),
    Function::new("durationDays", ANY, |_, a| Ok(Value::Float(or_zero(&a[0]).in_units(HOUR) / 24.0))),
    Function::new("durationWeeks", ANY, |_, a| Ok(Value::Float(or_zero(&a[0]).in_units(HOUR) / 24.0 / 7.0))),
    Function::new("durationRoundTo", &[Type::Any, Type::Any], |_, a| Ok(adjusted(a, Duration::round).into())),
    Function::new("durationTruncateTo", &[Type::Any, Type::Any], |_, a| Ok(adjusted(a, Duration::truncate).into())),
];

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// A span of time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub i64);

impl Duration {
    fn in_units(self, unit: i64) -> f64 {
        (self.0 / unit) as f64 + (self.0 % unit) as f64 / unit as f64
    }

    /// The nearest multiple of `unit`, halves away from zero.
    pub(crate) fn round(self, unit: Duration) -> Duration {
        if unit.0 <= 0 {
            return self;
        }
        let rest = self.0 % unit.0;
        let down = self.0 - rest;
        let is_nearer_down = rest.unsigned_abs() < unit.0.unsigned_abs() - rest.unsigned_abs();
        if is_nearer_down {
            return Duration(down);
        }
        Duration(if self.0 < 0 { down.saturating_sub(unit.0) } else { down.saturating_add(unit.0) })
    }

    fn truncate(self, unit: Duration) -> Duration {
        if unit.0 <= 0 { self } else { Duration(self.0 - self.0 % unit.0) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let second = SECOND.unsigned_abs();
        match nanos {
            0..1_000 => return write!(f, "{nanos}ns"),
            1_000..1_000_000 => return write!(f, "{}µs", fraction(nanos, 1_000)),
            1_000_000..1_000_000_000 => return write!(f, "{}ms", fraction(nanos, 1_000_000)),
            _ => {}
        }
        let whole = nanos / second;
        if whole >= 3600 {
            write!(f, "{}h", whole / 3600)?;
        }
        if whole >= 60 {
            write!(f, "{}m", whole / 60 % 60)?;
        }
        write!(f, "{}s", fraction(nanos % (60 * second), second))
    }
}

/// `nanos` in `unit`s with as many decimals as it takes.
fn fraction(nanos: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let digits = format!("{:0width$}", nanos % unit);
    let digits = digits.trim_end_matches('0');
    let dot = if digits.is_empty() { "" } else { "." };
    format!("{}{dot}{digits}", nanos / unit)
}

impl Object for Duration {
    fn type_name(&self) -> &str {
        "time.Duration"
    }

    fn kind(&self) -> Kind {
        Kind::Int64
    }

    fn member(&self, name: &str) -> Member {
        Member::Field(match name {
            "String" => self.to_string().into(),
            "Nanoseconds" => Value::Int64(self.0),
            "Microseconds" => Value::Int64(self.0 / 1_000),
            "Milliseconds" => Value::Int64(self.0 / 1_000_000),
            "Seconds" => Value::Float(self.in_units(SECOND)),
            "Minutes" => Value::Float(self.in_units(MINUTE)),
            "Hours" => Value::Float(self.in_units(HOUR)),
            "Abs" => Duration(self.0.saturating_abs()).into(),
            _ => return Member::Absent,
        })
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn json(&self) -> Option<Value> {
        Some(Value::Int64(self.0))
    }

    fn is_true(&self) -> bool {
        self.0 != 0
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Value {
        Value::Object(std::rc::Rc::new(duration))
    }
}

/// `time.ParseDuration`.
pub(crate) fn parse(text: &str) -> Result<Duration> {
    let invalid = || format!("time: invalid duration {}", coracle_gotemplate::quote(text.as_bytes()));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration(0));
    }
    if rest.is_empty() {
        return fail(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (amount, after) = amount(rest).ok_or_else(invalid)?;
        let unit_end = after.find(|char: char| char == '.' || char.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return fail(format!("time: missing unit in duration {}", coracle_gotemplate::quote(text.as_bytes())));
        }
        let Some(unit_nanos) = unit_nanos(unit) else {
            return fail(format!(
                "time: unknown unit {} in duration {}",
                coracle_gotemplate::quote(unit.as_bytes()),
                coracle_gotemplate::quote(text.as_bytes())
            ));
        };
        total = amount.nanos(unit_nanos).and_then(|nanos| total.checked_add(nanos)).ok_or_else(invalid)?;
        rest = after;
    }
    let limit = if negative { 1 << 63 } else { (1 << 63) - 1 };
    if total > limit {
        return fail(invalid());
    }
    let signed = total.cast_signed();
    Ok(Duration(if negative { signed.wrapping_neg() } else { signed }))
}

struct Amount {
    whole: u64,
    fraction: u64,
    scale: f64,
}

impl Amount {
    fn nanos(&self, unit: u64) -> Option<u64> {
        let part = (self.fraction as f64 * (unit as f64 / self.scale)) as u64;
        self.whole.checked_mul(unit)?.checked_add(part).filter(|nanos| *nanos <= 1 << 63)
    }
}

/// The digits in front of `text`, with the rest of it.
fn amount(text: &str) -> Option<(Amount, &str)> {
    let digits_end = |text: &str| text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits_end(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits_end(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // More digits than fit say nothing about nanoseconds.
    let fraction = &fraction[..fraction.len().min(18)];
    let whole = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scale = 10f64.powi(i32::try_from(fraction.len()).ok()?);
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some((Amount { whole, fraction, scale }, rest))
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn or_zero(value: &Value) -> Duration {
    read(value).unwrap_or(Duration(0))
}

fn adjusted(arguments: &[Value], adjust: impl Fn(Duration, Duration) -> Duration) -> Duration {
    let duration = match read(&arguments[0]) {
        Ok(duration) => duration,
        Err(_) => return Duration(0),
    };
    read(&arguments[1]).map_or(duration, |unit| adjust(duration, unit))
}

/// A duration from a duration, its text, or a number of seconds.
fn read(value: &Value) -> Result<Duration> {
    if let Some(duration) = value.as_object::<Duration>() {
        return Ok(*duration);
    }
    match value {
        Value::Nil => fail("invalid duration"),
        Value::String(_) | Value::Binary(_) => from_text(&text(value)),
        Value::Int(seconds) | Value::Int64(seconds) => from_seconds(i128::from(*seconds)),
        Value::Uint8(seconds) => from_seconds(i128::from(*seconds)),
        Value::Uint64(seconds) => from_seconds(i128::from(*seconds)),
        Value::Float(seconds) => from_fraction(*seconds),
        other => fail(format!("unsupported duration type {}", other.type_name())),
    }
}

fn from_text(given: &str) -> Result<Duration> {
    let trimmed = given.trim();
    if trimmed.is_empty() {
        return fail("empty duration");
    }
    if let Ok(duration) = parse(trimmed) {
        return Ok(duration);
    }
    match cast::parse_float(trimmed) {
        Some(seconds) => from_fraction(seconds),
        None => fail(format!("could not parse duration {}", coracle_gotemplate::quote(given.as_bytes()))),
    }
}

fn from_seconds(seconds: i128) -> Result<Duration> {
    let limit = i128::from(i64::MAX / SECOND);
    if seconds > limit || seconds < -limit {
        return fail(format!("duration seconds overflow: {seconds}"));
    }
    Ok(Duration(i64::try_from(seconds).unwrap_or_default() * SECOND))
}

fn from_fraction(seconds: f64) -> Result<Duration> {
    let shown = || coracle_gotemplate::number::format_float(seconds);
    if !seconds.is_finite() {
        return fail(format!("invalid duration seconds: {}", shown()));
    }
    let limit = i64::MAX as f64 / SECOND as f64;
    if seconds > limit || seconds < -limit {
        return fail(format!("duration seconds overflow: {}", shown()));
    }
    Ok(Duration((seconds * SECOND as f64) as i64))
}
