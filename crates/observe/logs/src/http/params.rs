//! What a request asks: parameters of the address and of a form.

use std::collections::HashMap;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::header,
};
use coracle_logql::{
    Direction,
    go::{parse_float, parse_prometheus_duration},
};

use super::error::Failure;

const DEFAULT_LIMIT: usize = 100;
const HOUR_NS: i64 = 3_600_000_000_000;
const MAX_POINTS: i64 = 11_000;

/// Parameters by name; a name may come several times.
#[derive(Debug, Default)]
pub(super) struct Params(HashMap<String, Vec<String>>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let mut params = Self::default();
        params.extend(request.uri().query().unwrap_or_default());
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            let body = Bytes::from_request(request, state).await.map_err(Failure::bad_request)?;
            params.extend(&String::from_utf8_lossy(&body));
        }
        Ok(params)
    }
}

impl Params {
    /// Of an address alone.
    pub(super) fn of_query(query: &str) -> Self {
        let mut params = Self::default();
        params.extend(query);
        params
    }

    fn extend(&mut self, form: &str) {
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.0.entry(decode(name)).or_default().push(decode(value));
        }
    }

    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// `None` where it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn query(&self) -> &str {
        self.get("query").unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str, default: usize) -> Result<usize, Failure> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number: i64 = text.parse().map_err(|_| {
            Failure::bad_request(format!("strconv.Atoi: parsing {}: invalid syntax", coracle_logql::go::quote(text)))
        })?;
        usize::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| Failure::bad_request("limit must be a positive value"))
    }

    pub(super) fn limit(&self) -> Result<usize, Failure> {
        self.number("limit", DEFAULT_LIMIT)
    }

    pub(super) fn direction(&self) -> Result<Direction, Failure> {
        match self.get("direction").map(str::to_ascii_uppercase).as_deref() {
            None | Some("BACKWARD") => Ok(Direction::Backward),
            Some("FORWARD") => Ok(Direction::Forward),
            Some(_) => {
                let written = self.get("direction").unwrap_or_default();
                Err(Failure::bad_request(format!("invalid direction '{written}'")))
            }
        }
    }

    /// The time of a question at one moment.
    pub(super) fn time(&self, now: i64) -> Result<i64, Failure> {
        self.timestamp("time", now)
    }

    fn timestamp(&self, name: &str, default: i64) -> Result<i64, Failure> {
        let Some(text) = self.get(name) else { return Ok(default) };
        parse_timestamp(text).ok_or_else(|| {
            Failure::bad_request(format!(
                "could not parse '{name}' parameter: strconv.ParseInt: parsing {}: invalid syntax",
                coracle_logql::go::quote(text)
            ))
        })
    }

    /// Start and end; the last hour, or what `since` says, where they are missing.
    pub(super) fn bounds(&self, now: i64) -> Result<(i64, i64), Failure> {
        let since = match self.get("since") {
            None => HOUR_NS,
            Some(text) => parse_prometheus_duration(text)
                .map_err(|error| Failure::bad_request(format!("could not parse 'since' parameter: {error}")))?,
        };
        let end = self.timestamp("end", now)?;
        let start = self.timestamp("start", end.min(now).saturating_sub(since))?;
        Ok((start, end))
    }

    /// As [`Params::bounds`], where the end must be after the start.
    pub(super) fn proper_bounds(&self, now: i64) -> Result<(i64, i64), Failure> {
        let (start, end) = self.bounds(now)?;
        if end <= start {
            return Err(Failure::bad_request("end timestamp must not be before or equal to start time"));
        }
        Ok((start, end))
    }

    pub(super) fn step(&self, (start, end): (i64, i64)) -> Result<i64, Failure> {
        let step = match self.get("step") {
            None => ((end - start) / 1_000_000_000 / 250).max(1) * 1_000_000_000,
            Some(text) => parse_seconds_or_duration(text)?,
        };
        if step <= 0 {
            return Err(Failure::bad_request(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        if (end - start) / step > MAX_POINTS {
            return Err(Failure::bad_request(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step \
                 parameter",
            ));
        }
        Ok(step)
    }

    pub(super) fn interval(&self) -> Result<i64, Failure> {
        let interval = self.get("interval").map_or(Ok(0), parse_seconds_or_duration)?;
        if interval < 0 { Err(Failure::bad_request("interval must be >= 0")) } else { Ok(interval) }
    }
}

fn parse_seconds_or_duration(text: &str) -> Result<i64, Failure> {
    if let Ok(seconds) = parse_float(text) {
        let nanoseconds = seconds * 1e9;
        if nanoseconds.abs() < i64::MAX as f64 {
            return Ok(nanoseconds as i64);
        }
    }
    let quoted = coracle_logql::go::quote(text);
    parse_prometheus_duration(text)
        .map_err(|_| Failure::bad_request(format!("cannot parse {quoted} to a valid duration")))
}

/// Seconds with a fraction, seconds, nanoseconds, or RFC 3339.
fn parse_timestamp(text: &str) -> Option<i64> {
    if text.contains('.')
        && let Ok(seconds) = parse_float(text)
    {
        let (whole, fraction) = (seconds.trunc(), seconds.fract());
        return Some(whole as i64 * 1_000_000_000 + ((fraction * 1000.0).round() / 1000.0 * 1e9) as i64);
    }
    match text.parse::<i64>() {
        Ok(number) if text.len() <= 10 => number.checked_mul(1_000_000_000),
        Ok(number) => Some(number),
        Err(_) => i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok(),
    }
}

/// Undoes percent encoding, with `+` for a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = || after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, hex()) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        assert_eq!(parse_timestamp("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(parse_timestamp("1700000000.5"), Some(1_700_000_000_500_000_000));
        assert_eq!(parse_timestamp("1700000000000000001"), Some(1_700_000_000_000_000_001));
        assert_eq!(parse_timestamp("2023-11-14T22:13:20Z"), Some(1_700_000_000_000_000_000));
        assert_eq!(parse_timestamp("yesterday"), None);
    }

    #[test]
    fn forms() {
        let mut params = Params::default();
        params.extend("query=%7Ba%3D%22b+c%22%7D&match[]=x&match[]=y&empty=");
        assert_eq!(params.query(), r#"{a="b c"}"#);
        assert_eq!(params.all("match[]"), ["x", "y"]);
        assert_eq!(params.get("empty"), None);
    }
}
