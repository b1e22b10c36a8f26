//! What Redis answers, and what its errors mean to us.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::{Outage, StoreError};

/// The answer to `GET`.
pub(super) fn record(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::ServerError(error) => Err(failure(error.into())),
        _ => Err(nonsense("GET gave neither a string nor nothing")),
    }
}

/// The answer to `SET`, with or without a condition.
pub(super) fn was_set(value: Value) -> Result<bool, StoreError> {
    match value {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        Value::ServerError(error) => Err(failure(error.into())),
        _ => Err(nonsense("SET gave neither OK nor nothing")),
    }
}

/// The answer to a command of which only success matters.
pub(super) fn accepted(value: Value) -> Result<(), StoreError> {
    match value {
        Value::ServerError(error) => Err(failure(error.into())),
        _ => Ok(()),
    }
}

/// `maxmemory-policy` in the answer to `INFO memory`, if it is there.
pub(super) fn eviction_policy(value: Value) -> Option<String> {
    let text: String = redis::from_redis_value(value).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("maxmemory_policy:"))?;
    Some(line.trim_end().to_owned())
}

pub(super) fn nonsense(what: &'static str) -> StoreError {
    failure(RedisError::from((ErrorKind::UnexpectedReturnType, what)))
}

/// What an error of the client or the server means.
pub(super) fn failure(error: RedisError) -> StoreError {
    let why = match error.kind() {
        ErrorKind::Io if error.is_timeout() => Outage::Deadline,
        ErrorKind::Io => Outage::ConnectionLost,
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
            return StoreError::Denied(Arc::new(error));
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => Outage::Loading,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Outage::ReadOnly,
        ErrorKind::Server(
            ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown | ServerErrorKind::TryAgain,
        ) => Outage::Refusing,
        _ => match error.code() {
            Some("OOM") => return StoreError::Full(Arc::new(error)),
            Some("WRONGPASS" | "NOAUTH") => return StoreError::Denied(Arc::new(error)),
            Some("BUSY" | "MISCONF" | "NOREPLICAS") => Outage::Refusing,
            Some("ERR")
                if error
                    .detail()
                    .is_some_and(|text| text.starts_with("max number of clients")) =>
            {
                Outage::Refusing
            }
            _ => return StoreError::Protocol(Arc::new(error)),
        },
    };
    StoreError::unavailable_by(why, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(line: &str) -> StoreError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        record(value).unwrap_err()
    }

    #[test]
    fn the_server_s_errors_are_told_apart() {
        for (line, reason, transient) in [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                "full",
                true,
            ),
            ("NOPERM this user has no permissions", "denied", false),
            ("NOAUTH Authentication required.", "denied", false),
            ("WRONGPASS invalid username-password pair", "denied", false),
            (
                "READONLY You can't write against a read only replica.",
                "read_only",
                true,
            ),
            ("LOADING Redis is loading the dataset in memory", "loading", true),
            ("MASTERDOWN Link with MASTER is down", "refusing", true),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                "refusing",
                true,
            ),
            ("ERR max number of clients reached", "refusing", true),
            ("ERR unknown command", "protocol", false),
            ("WRONGTYPE Operation against a key", "protocol", false),
        ] {
            let error = server_error(line);
            assert_eq!(
                (error.reason(), error.is_transient()),
                (reason, transient),
                "{line}"
            );
            assert!(!error.outcome_unknown(), "{line}");
        }
    }

    #[test]
    fn a_cut_connection_leaves_the_outcome_open() {
        for (kind, reason) in [
            (std::io::ErrorKind::BrokenPipe, "connection_lost"),
            (std::io::ErrorKind::ConnectionReset, "connection_lost"),
            (std::io::ErrorKind::TimedOut, "deadline"),
        ] {
            let error = failure(RedisError::from(std::io::Error::from(kind)));
            assert_eq!(error.reason(), reason);
            assert!(error.outcome_unknown() && error.is_transient());
        }
    }

    #[test]
    fn the_eviction_policy_is_found() {
        let info = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        let value = Value::BulkString(info.as_bytes().to_vec());
        assert_eq!(eviction_policy(value).as_deref(), Some("allkeys-lru"));
        assert_eq!(eviction_policy(Value::Nil), None);
    }
}
