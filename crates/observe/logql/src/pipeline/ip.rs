//! `ip("…")`: addresses in text, by address, prefix or range.

use std::net::IpAddr;

use ipnet::IpNet;

/// Looks for addresses.
#[derive(Debug)]
pub(super) enum IpFilter {
    One(IpAddr),
    Prefix(IpNet),
    Range(IpAddr, IpAddr),
}

impl IpFilter {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        if let Ok(address) = pattern.parse() {
            return Ok(Self::One(address));
        }
        if let Ok(prefix) = pattern.parse() {
            return Ok(Self::Prefix(prefix));
        }
        let range = pattern.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match range {
            Some((first, last)) if same_family(first, last) && first <= last => Ok(Self::Range(first, last)),
            _ => Err(format!("ip: invalid pattern: {}", crate::go::quote(pattern))),
        }
    }

    /// Whether any address in the text is one of those wanted.
    pub(super) fn matches(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let is_part: fn(&u8) -> bool = if may_be_v4(rest) {
                |b| b.is_ascii_digit() || *b == b'.'
            } else if may_be_v6(rest) {
                |b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':')
            } else {
                at += 1;
                continue;
            };
            let len = rest.iter().take_while(|b| is_part(b)).count();
            // Only ASCII was counted.
            if text[at..at + len].parse().is_ok_and(|address| self.contains(address)) {
                return true;
            }
            at += len + 1;
        }
        false
    }

    fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::One(one) => *one == address,
            Self::Prefix(prefix) => prefix.contains(&address),
            Self::Range(first, last) => same_family(*first, address) && (*first..=*last).contains(&address),
        }
    }
}

fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

fn may_be_v4(rest: &[u8]) -> bool {
    rest.len() > 3 && rest[0].is_ascii_digit() && rest[1..4].contains(&b'.')
}

fn may_be_v6(rest: &[u8]) -> bool {
    let hex = rest.iter().take(4).take_while(|b| b.is_ascii_hexdigit()).count();
    rest.len() > 4 && ((hex > 0 && rest[hex] == b':') || (rest.starts_with(b"::") && rest[2].is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_text() {
        let check = |pattern: &str, text: &str| IpFilter::new(pattern).unwrap().matches(text);
        assert!(check("192.168.0.1", "from 192.168.0.1:80"));
        assert!(!check("192.168.0.1", "from 192.168.0.11"));
        assert!(check("192.168.0.0/16", "x=192.168.4.5"));
        assert!(check("10.0.0.1-10.0.0.9", "10.0.0.5"));
        assert!(check("2001:db8::/32", "addr [2001:db8::1]"));
        assert_eq!(IpFilter::new("nonsense").unwrap_err(), r#"ip: invalid pattern: "nonsense""#);
    }
}
