use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

/// The claims of a verified token, with those that the gateway itself decides by taken out and checked for type.
#[derive(Clone, PartialEq)]
pub struct Claims {
    all: Map<String, Value>,
    expires_at: Option<u64>,
    not_before: Option<u64>,
}

/// Why claims cannot be decided by.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum ClaimsError {
    /// `exp`, `nbf` or `iat` is no number of seconds: a string is refused, not ignored (RFC 7519 §2, `NumericDate`).
    #[error("the claim {0} is not a number of seconds since the epoch")]
    NotADate(&'static str),
    /// `exp` is not after `nbf` or `iat`.
    #[error("the claim exp is not after nbf or iat")]
    DatesOutOfOrder,
}

impl ClaimsError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotADate(_) => "claims_not_a_date",
            Self::DatesOutOfOrder => "claims_dates_out_of_order",
        }
    }
}

impl Claims {
    /// Checks the types and the order of the dates.
    pub fn new(all: Map<String, Value>) -> Result<Self, ClaimsError> {
        let expires_at = date(&all, "exp")?;
        let not_before = date(&all, "nbf")?;
        let issued_at = date(&all, "iat")?;
        if let Some(exp) = expires_at
            && (not_before.is_some_and(|nbf| exp <= nbf) || issued_at.is_some_and(|iat| exp < iat))
        {
            return Err(ClaimsError::DatesOutOfOrder);
        }
        Ok(Self {
            all,
            expires_at,
            not_before,
        })
    }

    /// `exp`, whole seconds since the epoch, rounded down.
    pub fn expires_at(&self) -> Option<u64> {
        self.expires_at
    }

    /// `nbf`, whole seconds since the epoch, rounded down.
    pub fn not_before(&self) -> Option<u64> {
        self.not_before
    }

    /// The claim of this name, as it is.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.all.get(name)
    }

    /// The claim at `path`: the whole name if there is such a claim, else dots descend into objects.
    pub fn at(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.all.get(path) {
            return Some(value);
        }
        let mut names = path.split('.');
        let first = self.all.get(names.next()?)?;
        names.try_fold(first, |value, name| value.as_object()?.get(name))
    }

    /// The claim of this name if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Value::as_str)
    }

    /// The values of `aud`, which is a string or a list of strings (RFC 7519 §4.1.3).
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        strings(self.all.get("aud"))
    }

    /// The granted scopes: `scope` as space-separated text (RFC 8693 §4.2), or as a list, or `scp` in either
    /// form (Entra and Okta).
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let claim = self.all.get("scope").or_else(|| self.all.get("scp"));
        strings(claim)
            .flat_map(|text| text.split(' '))
            .filter(|scope| !scope.is_empty())
    }

    /// The client the token was issued to: `client_id` (RFC 9068 §2.2), else `azp`, else `cid` (Okta), else
    /// `appid` (Entra v1).
    pub fn client_id(&self) -> Option<&str> {
        ["client_id", "azp", "cid", "appid"]
            .into_iter()
            .find_map(|name| self.text(name))
    }

    /// Whether the provider bound the token to a key (RFC 7800).
    pub fn is_bound(&self) -> bool {
        self.all.contains_key("cnf")
    }

    /// A rough size in memory, for caches that are bounded by weight.
    pub fn weight(&self) -> usize {
        fn of(value: &Value) -> usize {
            32 + match value {
                Value::String(text) => text.len(),
                Value::Array(list) => list.iter().map(of).sum(),
                Value::Object(map) => map.iter().map(|(name, value)| 32 + name.len() + of(value)).sum(),
                _ => 0,
            }
        }
        self.all
            .iter()
            .map(|(name, value)| 32 + name.len() + of(value))
            .sum()
    }
}

/// Names only: values are what splitting hides.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claims")
            .field(&self.all.keys().collect::<Vec<_>>())
            .finish()
    }
}

fn strings(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let (one, many) = match claim {
        Some(Value::String(text)) => (Some(text.as_str()), &[][..]),
        Some(Value::Array(list)) => (None, list.as_slice()),
        _ => (None, &[][..]),
    };
    one.into_iter().chain(many.iter().filter_map(Value::as_str))
}

/// `NumericDate` may have a fraction; it is cut. Negative and absurd dates are no dates.
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, ClaimsError> {
    /// 9999-12-31: later ones would overflow somebody's date type.
    const LATEST: u64 = 253_402_300_799;
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    // In range: checked by the filter.
    let whole = value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|f| (0.0..=LATEST as f64).contains(f))
            .map(|f| f.trunc() as u64)
    });
    whole
        .filter(|date| *date <= LATEST)
        .map(Some)
        .ok_or(ClaimsError::NotADate(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: &Value) -> Result<Claims, ClaimsError> {
        Claims::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn dates_are_numbers_or_the_token_is_refused() {
        assert_eq!(
            claims(&json!({"exp": 10, "nbf": 5.9})).unwrap().not_before(),
            Some(5)
        );
        assert_eq!(
            claims(&json!({"exp": 1.7e9})).unwrap().expires_at(),
            Some(1_700_000_000)
        );
        for bad in [
            json!("10"),
            json!(null),
            json!(-1),
            json!(1e300),
            json!([1]),
            json!(u64::MAX),
        ] {
            assert_eq!(claims(&json!({"exp": bad})), Err(ClaimsError::NotADate("exp")));
        }
        assert_eq!(
            claims(&json!({"exp": 5, "nbf": 5})),
            Err(ClaimsError::DatesOutOfOrder)
        );
        assert_eq!(
            claims(&json!({"exp": 5, "iat": 6})),
            Err(ClaimsError::DatesOutOfOrder)
        );
    }

    #[test]
    fn scopes_in_every_form_that_providers_use() {
        for scope in [
            json!({"scope": "a b"}),
            json!({"scope": ["a", "b"]}),
            json!({"scp": ["a b"]}),
            json!({"scp": "a b"}),
        ] {
            assert_eq!(
                claims(&scope).unwrap().scopes().collect::<Vec<_>>(),
                ["a", "b"],
                "{scope}"
            );
        }
        assert_eq!(claims(&json!({"scope": " a  b "})).unwrap().scopes().count(), 2);
        assert_eq!(claims(&json!({"scope": 7})).unwrap().scopes().count(), 0);
    }

    #[test]
    fn paths_descend_and_whole_names_win() {
        let c =
            claims(&json!({"realm_access": {"roles": ["x"]}, "https://a.b/c": 1, "a.b": 2, "a": {"b": 3}}))
                .unwrap();
        assert_eq!(c.at("realm_access.roles"), Some(&json!(["x"])));
        assert_eq!(c.at("https://a.b/c"), Some(&json!(1)));
        assert_eq!(c.at("a.b"), Some(&json!(2)));
        assert_eq!(c.at("a.c"), None);
        assert_eq!(c.at("realm_access.roles.0"), None);
    }

    #[test]
    fn debug_shows_names_only() {
        let shown = format!("{:?}", claims(&json!({"email": "secret@example.com"})).unwrap());
        assert!(shown.contains("email") && !shown.contains("secret"));
    }
}
