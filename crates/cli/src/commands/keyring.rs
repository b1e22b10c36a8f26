use splittoken_operator::request_rotation;
use splittoken_token::Keyring;
use zeroize::Zeroizing;

use super::{print, serving::control_runtime};
use crate::arguments::{KeyringCommand, RotateArguments};

/// Makes a keyring, or has one rotated.
pub(super) fn run(command: KeyringCommand) -> anyhow::Result<()> {
    match command {
        KeyringCommand::New => new(),
        KeyringCommand::Rotate(arguments) => rotate(&arguments),
    }
}

fn new() -> anyhow::Result<()> {
    let file = Keyring::generate()?.to_file();
    print(&Zeroizing::new(format!("{}\n", file.as_str())))
}

fn rotate(arguments: &RotateArguments) -> anyhow::Result<()> {
    control_runtime()?.block_on(request_rotation(
        arguments.namespace.as_deref(),
        &arguments.secret,
    ))?;
    print("asked for: the operator's log says how it goes\n")
}
