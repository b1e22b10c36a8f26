//! No token in any log, metric, trace, error or URL.
//!
//! A gateway at TRACE with its access log on is led through everything that it does with tokens, good and bad, and
//! through every fault. Each secret that takes part is kept in mind, and at the end all that anybody wrote is searched
//! for all of them: the log, the admin pages, the answers, Redis' content and what MONITOR saw.

mod calls;
mod distrust;
mod edits;
mod faults;
mod lies;
mod refusals;
mod routes;
mod secrets;
mod stage;
mod starts;
mod tokens;
mod written;

use anyhow::{Result, ensure};

use stage::{Password, Stage};
use written::text_of;

#[test]
fn nothing_is_written_in_text_with_the_store_s_password_in_a_file() -> Result<()> {
    let stage = everything("text", Password::InAFile)?;
    let log = stage.gateway.output();
    // Otherwise hardly anything was searched.
    for said in [" TRACE ", " DEBUG ", " INFO access: ", " WARN ", " ERROR "] {
        ensure!(text_of(&log).contains(said), "no{said}in the log");
    }
    Ok(())
}

#[test]
fn nothing_is_written_in_json_with_the_store_s_password_in_the_url() -> Result<()> {
    let stage = everything("json", Password::InTheUrl)?;
    let mut lines = 0;
    for line in text_of(&stage.gateway.output()).lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        lines += usize::from(line["target"] == "access");
    }
    ensure!(lines > 100, "{lines} lines of an access log");
    Ok(())
}

/// The whole play, and then the search.
fn everything(format: &str, password: Password) -> Result<Stage> {
    let mut stage = Stage::set(format, password)?;
    stage.admin_pages()?;
    let held = tokens::good(&stage)?;
    ensure!(held.len() > 5, "{} tokens", held.len());
    calls::all(&stage, &held)?;
    refusals::all(&stage)?;
    lies::all(&stage)?;
    distrust::all(&stage)?;
    faults::upstreams(&stage, &held)?;
    edits::all(&stage)?;
    starts::all(&stage)?;
    stage.admin_pages()?;
    stage.redis_s_content()?;
    let last = faults::redis(&mut stage, &held)?;
    stage.admin_pages()?;
    faults::drain(&mut stage, &last)?;
    stage.what_was_seen()?;
    stage.can_be_found()?;
    stage.is_nowhere()?;
    Ok(stage)
}
