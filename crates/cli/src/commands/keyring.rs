use splittoken_token::Keyring;
use zeroize::Zeroizing;

use super::print;

/// Prints a new keyring.
pub(super) fn run() -> anyhow::Result<()> {
    let file = Keyring::generate()?.to_file();
    print(&Zeroizing::new(format!("{}\n", file.as_str())))
}
