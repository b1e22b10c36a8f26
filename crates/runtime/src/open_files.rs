use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files to what the process may have at most, and says how many that is; `None` for any
/// number.
///
/// The limit that a process starts with is often 1,024, for the sake of programs that use `select`; a server needs two
/// for each request. Nothing happens where it cannot be raised.
pub fn raise_open_files() -> Option<u64> {
    let given = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: given.maximum,
        maximum: given.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => given.maximum,
        Err(_) => given.current,
    }
}
