use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::patterns;

/// A duration as Gateway API writes it (GEP-2257): one to four of `<1 to 5 digits><h|m|s|ms>`, e.g. `1h30m`.
///
/// Keeps the text it was written in, so that an object survives a round trip unchanged.
#[derive(Clone, PartialEq, Eq)]
pub struct GepDuration {
    text: String,
    value: Duration,
}

/// A text that is no [`GepDuration`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a duration such as `30s`, `5m`, `1h30m` or `250ms`")]
pub struct DurationError;

impl GepDuration {
    /// The length of time that it names. At most 399,996 hours.
    pub fn get(&self) -> Duration {
        self.value
    }

    /// The length of time, where `0s` means "no limit".
    pub fn limit(&self) -> Option<Duration> {
        (!self.value.is_zero()).then_some(self.value)
    }

    /// Parses the text of a GEP-2257 duration.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let mut rest = text;
        let mut value = Duration::ZERO;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let (unit, after) = split_unit(tail).ok_or(DurationError)?;
            if !(1..=5).contains(&digits) || parts == 4 {
                return Err(DurationError);
            }
            value += unit * number.parse::<u32>().map_err(|_| DurationError)?;
            parts += 1;
            rest = after;
        }
        if parts == 0 {
            return Err(DurationError);
        }
        Ok(Self {
            text: text.to_owned(),
            value,
        })
    }
}

fn split_unit(text: &str) -> Option<(Duration, &str)> {
    [
        ("ms", Duration::from_millis(1)),
        ("h", Duration::from_secs(3600)),
        ("m", Duration::from_secs(60)),
        ("s", Duration::from_secs(1)),
    ]
    .into_iter()
    .find_map(|(name, unit)| Some((unit, text.strip_prefix(name)?)))
}

/// A default of this crate's own tables, written as they write it.
pub(crate) fn seconds(seconds: u64) -> GepDuration {
    let text = match seconds {
        s if s > 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        s if s > 60 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    };
    GepDuration {
        text,
        value: Duration::from_secs(seconds),
    }
}

impl fmt::Debug for GepDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for GepDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for GepDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for GepDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Four parts of five digits and a unit of at most two letters.
        json_schema!({"type": "string", "maxLength": 28, "pattern": patterns::DURATION})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_forms() {
        for (text, millis) in [
            ("0s", 0),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1m1m", 120_000),
        ] {
            assert_eq!(
                GepDuration::parse(text).unwrap().get(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "123456s",
            "1s1s1s1s1s",
            "1 s",
            "1us",
        ] {
            assert_eq!(GepDuration::parse(bad), Err(DurationError), "{bad}");
        }
    }

    #[test]
    fn the_parser_and_the_schema_agree() {
        let pattern = regex::Regex::new(patterns::DURATION).unwrap();
        for text in [
            "0s",
            "99999h99999m99999s99999ms",
            "1h30m",
            "",
            "5",
            "1d",
            "1s1s1s1s1s",
            "123456s",
            "1ms1h",
        ] {
            assert_eq!(pattern.is_match(text), GepDuration::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn defaults_are_written_as_in_the_tables() {
        for (secs, text) in [(0, "0s"), (60, "60s"), (300, "5m"), (86_400, "24h")] {
            let default = seconds(secs);
            assert_eq!(format!("{default:?}"), text);
            assert_eq!(GepDuration::parse(text).unwrap(), default);
        }
    }
}
