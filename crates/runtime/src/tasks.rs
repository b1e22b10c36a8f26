use tokio::task::JoinError;

/// What a task gave; its panic goes on here.
pub fn joined<T>(outcome: Result<T, JoinError>) -> T {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
