//! What people write into files: it says what is wrong, and comes out the same each time.

use splittoken_api::{ManifestFile, check};
use splittoken_fuzz::run;

#[test]
fn compile() {
    run("compile", |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        let file = || ManifestFile {
            name: "routes.yaml".into(),
            text: text.into(),
        };
        let said = |report: splittoken_api::Report| {
            report
                .findings
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(said(check(&[file()])), said(check(&[file()])));
    });
}
