//! The page in a real Chromium. `SPLITTOKEN_SCREENSHOTS=folder` keeps what it looked like.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use splittoken_tests::browser;
use splittoken_tests::demo::Demo;

/// What is photographed, and with it what has to have come to its end.
const PICTURES: [&str; 9] = [
    "1280-dark-click-0-open",
    "1280-dark-click-4-done",
    "1280-light-keyboard-0-open",
    "1280-light-keyboard-4-done",
    "320-light-tap-0-open",
    "320-light-tap-4-done",
    "360-dark-keyboard-0-open",
    "360-dark-keyboard-4-done",
    "360-trouble",
];

/// The first bytes of a PNG file.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

#[test]
fn the_page_shows_the_flow_on_a_desktop_and_a_phone_by_pointer_and_by_keyboard() -> Result<()> {
    let demo = Demo::start()?;
    let temporary = tempfile::tempdir()?;
    let folder = std::env::var_os("SPLITTOKEN_SCREENSHOTS")
        .map_or_else(|| temporary.path().join("screenshots"), PathBuf::from);
    // The script runs in a folder of its own.
    let folder = std::path::absolute(folder)?;
    let said = browser::run(
        "demo.mjs",
        &[
            &demo.url("/"),
            folder.to_str().context("a folder whose name is not UTF-8")?,
        ],
    )?;
    println!("{said}");
    let printed = demo.lines()?;
    let mut commands = said.lines().filter_map(|line| line.strip_prefix("COMMAND "));
    assert!(
        commands.clone().count() > 1 && commands.all(|command| printed.iter().any(|line| line == command)),
        "the page shows other curl lines than those that the demo printed:\n{printed:#?}"
    );
    for name in PICTURES {
        let picture = fs::read(folder.join(format!("{name}.png"))).with_context(|| name.to_owned())?;
        assert!(picture.starts_with(PNG), "{name} is no picture");
    }
    assert!(
        !demo.text().contains("WARN") && !demo.text().contains("ERROR"),
        "the demo complains:\n{}",
        demo.text()
    );
    Ok(())
}

/// The script itself must be able to fail: it is shown a page that is not the demo's.
#[test]
fn the_visit_complains_about_another_page() -> Result<()> {
    let demo = Demo::start()?;
    let folder = tempfile::tempdir()?;
    let folder = folder.path().to_str().context("not UTF-8")?;
    let outcome = browser::run("demo.mjs", &[&demo.url("/demo/setup"), folder]);
    let complaint = outcome.err().context("it was content with another page")?;
    let words = format!("{complaint:#}");
    assert!(words.contains("demo.mjs: 1280-light-keyboard: "), "{words}");
    Ok(())
}
