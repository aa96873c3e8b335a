//! Parameters of requests, from the address and from forms, and the times and lengths in them.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use coracle_promql::{Matcher, number, parser, quote::quote};
use http::{HeaderMap, header};

use super::answer::ApiError;

/// Before and after everything.
pub(super) const MIN_MS: i64 = i64::MIN;
pub(super) const MAX_MS: i64 = i64::MAX;

/// What a request says: parameters of a form before those of the address.
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let address = decode(request.uri().query().unwrap_or("").as_bytes());
        let headers = request.headers().clone();
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let mut pairs = Vec::new();
        if content_type.starts_with("application/x-www-form-urlencoded") {
            let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
            pairs = decode(&body);
        }
        pairs.extend(address);
        Ok(Self { pairs, headers })
    }
}

impl Params {
    /// A parameter's first value; empty when it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A time; `otherwise` when it is not there.
    pub(super) fn time(&self, name: &str, otherwise: i64) -> Result<i64, ApiError> {
        match self.get(name) {
            "" => Ok(otherwise),
            text => time_ms(text)
                .map_err(|why| ApiError::parameter(name, format!("invalid time value for '{name}': {why}"))),
        }
    }

    /// A time that has to be there.
    pub(super) fn needed_time(&self, name: &str) -> Result<i64, ApiError> {
        time_ms(self.get(name)).map_err(|why| ApiError::parameter(name, why))
    }

    pub(super) fn duration(&self, name: &str) -> Result<i64, ApiError> {
        duration_ms(self.get(name)).map_err(|why| ApiError::parameter(name, why))
    }

    /// How many are wanted at most; 0 for all.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(0);
        }
        match text.parse::<i64>() {
            Ok(limit) if limit < 0 => Err(ApiError::parameter("limit", "limit must be non-negative")),
            Ok(limit) => Ok(limit as usize),
            Err(_) => {
                Err(ApiError::parameter("limit", format!("strconv.Atoi: parsing {}: invalid syntax", quote(text))))
            }
        }
    }

    /// The selectors of `match[]`, each with something that does not match emptiness.
    pub(super) fn matchers(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        let sets: Vec<Vec<Matcher>> = self
            .all("match[]")
            .map(|text| parser::parse_selector(text).map_err(|error| ApiError::BadData(error.to_string())))
            .collect::<Result<_, _>>()?;
        match sets.iter().any(|set| set.iter().all(Matcher::matches_empty)) {
            true => Err(ApiError::BadData("match[] must contain at least one non-empty matcher".to_owned())),
            false => Ok(sets),
        }
    }
}

/// Pairs of `a=b&c=d`, with `+` and `%xx` resolved.
fn decode(text: &[u8]) -> Vec<(String, String)> {
    let parts = text.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let at = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
            (unescape(&part[..at]), unescape(part.get(at + 1..).unwrap_or_default()))
        })
        .collect()
}

fn unescape(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escaped = || {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match escaped() {
                Some(byte) => {
                    bytes.push(byte);
                    rest = &after[2..];
                }
                None => bytes.push(b'%'),
            },
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Seconds since the epoch, or a date and time.
pub(super) fn time_ms(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        // The millisecond is rounded, not cut off.
        let ms = (seconds * 1000.0).round();
        return Ok(ms as i64);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_millisecond());
    }
    match text {
        "-292273086-05-16T16:47:06Z" => Ok(MIN_MS),
        "292277025-08-18T07:12:54.999999999Z" => Ok(MAX_MS),
        _ => Err(format!("cannot parse {} to a valid timestamp", quote(text))),
    }
}

/// Seconds, or a length like `1h30m`.
pub(super) fn duration_ms(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ns = seconds * 1e9;
        return match ns.is_finite() && ns.abs() <= i64::MAX as f64 {
            true => Ok((ns / 1e6) as i64),
            false => Err(format!("cannot parse {} to a valid duration. It overflows int64", quote(text))),
        };
    }
    number::parse_duration_ms(text).map_err(|_| format!("cannot parse {} to a valid duration", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let pairs = decode(b"query=a%7Bb%3D%22c%22%7D+%2B+1&match[]=x&match[]=y&empty=&alone&bad=%zz");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("query", "a{b=\"c\"} + 1"),
            ("match[]", "x"),
            ("match[]", "y"),
            ("empty", ""),
            ("alone", ""),
            ("bad", "%zz"),
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn times_and_lengths_are_read() {
        assert_eq!(time_ms("1435781451.7815"), Ok(1_435_781_451_782));
        assert_eq!(time_ms("2015-07-01T20:10:51.781Z"), Ok(1_435_781_451_781));
        assert_eq!(time_ms("soon"), Err("cannot parse \"soon\" to a valid timestamp".to_owned()));
        assert_eq!(duration_ms("1m30s"), Ok(90_000));
        assert_eq!(duration_ms("0.5"), Ok(500));
        assert_eq!(
            duration_ms("1e30"),
            Err("cannot parse \"1e30\" to a valid duration. It overflows int64".to_owned())
        );
    }
}
