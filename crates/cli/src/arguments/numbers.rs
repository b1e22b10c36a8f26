//! Numbers with bounds. What the parser's own ranges say of a bad one is written for those who know Rust.

use std::{
    fmt::{Display, Formatter, Result as Written},
    ops::RangeInclusive,
    str::FromStr,
};

use bytesize::ByteSize;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Parses `what`, such as `a number of connections`, within `bounds`.
pub(super) fn number<N>(
    what: &'static str,
    bounds: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone
where
    N: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| format!("expected {what} from {} to {}", bounds.start(), bounds.end()))
    }
}

pub(super) fn ratio(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or("expected a number from 0 to 1, such as 0.01")
}

pub(super) fn header_bytes(text: &str) -> Result<u64, String> {
    bytes_within(text, 4 * KIB..=MIB)
}

pub(super) fn body_bytes(text: &str) -> Result<u64, String> {
    bytes_within(text, 1..=u64::MAX)
}

pub(super) fn token_request_bytes(text: &str) -> Result<u64, String> {
    bytes_within(text, KIB..=MIB)
}

pub(super) fn near_cache_bytes(text: &str) -> Result<u64, String> {
    bytes_within(text, MIB..=1024 * 1024 * MIB)
}

fn bytes(text: &str) -> Result<u64, String> {
    let parsed: Result<ByteSize, _> = text.parse();
    parsed
        .map(|size| size.as_u64())
        .map_err(|_| "expected bytes, such as 65536, 64KiB or 1MiB".to_owned())
}

fn bytes_within(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let parsed = bytes(text)?;
    if range.contains(&parsed) {
        return Ok(parsed);
    }
    let least = Size(*range.start());
    Err(match *range.end() {
        u64::MAX => format!("expected {least} or more"),
        most => format!("expected {least} to {}", Size(most)),
    })
}

/// Bytes as people write them for an option: `64KiB`.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, to: &mut Formatter<'_>) -> Written {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let (mut number, mut unit) = (self.0, 0);
        while number >= KIB && number.is_multiple_of(KIB) && unit + 1 < UNITS.len() {
            (number, unit) = (number / KIB, unit + 1);
        }
        write!(to, "{number}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bounded_and_say_by_what() {
        let threads = number("a number of threads", 1..=1024_u16);
        assert_eq!((threads("1"), threads("1024")), (Ok(1), Ok(1024)));
        for text in ["0", "1025", "65536", "-1", "1.5", "two", ""] {
            assert_eq!(
                threads(text),
                Err("expected a number of threads from 1 to 1024".to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn ratios_are_bounded() {
        for (text, number) in [("0", 0.0), ("1", 1.0), ("0.01", 0.01)] {
            assert!((ratio(text).unwrap() - number).abs() < f64::EPSILON, "{text}");
        }
        for text in ["-0.1", "1.01", "NaN", "inf", "1%", ""] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_bounded_and_say_by_what() {
        assert_eq!(
            (header_bytes("64KiB"), body_bytes("1000")),
            (Ok(65_536), Ok(1000))
        );
        for (parsed, says) in [
            (header_bytes("1KiB"), "expected 4KiB to 1MiB"),
            (token_request_bytes("2MiB"), "expected 1KiB to 1MiB"),
            (near_cache_bytes("1KiB"), "expected 1MiB to 1TiB"),
            (body_bytes("0"), "expected 1B or more"),
            (body_bytes("much"), "expected bytes, such as 65536, 64KiB or 1MiB"),
        ] {
            assert_eq!(parsed, Err(says.to_owned()));
        }
    }
}
