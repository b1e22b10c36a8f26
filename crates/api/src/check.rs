use std::{collections::BTreeMap, fmt};

use crate::{
    compile::{CompileOptions, Compiled, compile},
    grants::Grants,
    installation::Installation,
    manifest::{Document, ManifestFile},
    object::ObjectName,
    resources::{Inserted, Resources},
    services::NoServices,
    verdict::Verdict,
};

/// Files put together into one set of resources, and what was found on the way.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// What is in the files.
    pub resources: Resources,
    findings: Vec<Finding>,
    /// Where each object stands.
    places: BTreeMap<ObjectName, (String, u64)>,
}

/// Everything there is to say about some files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By file, then by place in the file.
    pub findings: Vec<Finding>,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// Where the object begins, or where the fault is if there is no object; 0 if unknown.
    pub line: u64,
    /// `kind/namespace/name`; empty if it cannot be told.
    pub object: String,
    /// `spec.rules[0].name`; empty if the object as a whole is meant.
    pub field: String,
    /// From the closed sets of field errors, conditions and warnings.
    pub reason: &'static str,
    /// The thing in plain words. Quotes no secret.
    pub message: String,
    /// How bad.
    pub severity: Severity,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It will not be served.
    Error,
    /// It refers to something that is not in the files and may be in the cluster.
    Unresolved,
    /// It will be served, and somebody should know.
    Warning,
}

/// Reads and compiles `files` as they would be in a cluster, every class for itself, and says what it finds.
pub fn check(files: &[ManifestFile]) -> Report {
    // Nobody sees these revisions.
    let (_, report) = gather(files).compile(None, &[0; 32]);
    report
}

/// Reads `files`. What cannot be read is a finding, not an error: the others are read all the same.
pub fn gather(files: &[ManifestFile]) -> Gathered {
    let mut gathered = Gathered::default();
    for file in files {
        match file.documents() {
            Ok(documents) => documents.iter().for_each(|document| gathered.add(document)),
            Err(error) => gathered.findings.push(Finding {
                file: file.name.clone(),
                line: error.line,
                object: String::new(),
                field: String::new(),
                reason: error.reason(),
                message: format!("line {}, column {}: {}", error.line, error.column, error.message),
                severity: Severity::Error,
            }),
        }
    }
    gathered
}

impl Gathered {
    /// Compiles what was gathered, as where there is nothing else: everything is allowed, and no Service is known.
    /// `class` and `revision_key` as in [`CompileOptions`]. The report says everything: what reading found, and every
    /// verdict.
    pub fn compile(&self, class: Option<&str>, revision_key: &[u8; 32]) -> (Compiled, Report) {
        let options = CompileOptions {
            class,
            installation: &Installation::open(),
            services: &NoServices,
            grants: &Grants::default(),
            revision_key,
        };
        let compiled = compile(&self.resources, &options);
        let mut findings = self.findings.clone();
        for verdict in &compiled.verdicts {
            self.report(verdict, &mut findings);
        }
        if let Some(class) = class {
            findings.extend(self.of_other_classes(class));
        }
        findings.sort();
        (compiled, Report { findings })
    }

    /// What is left alone because another installation serves it: in a cluster that is usual, in files seldom meant.
    fn of_other_classes(&self, class: &str) -> impl Iterator<Item = Finding> {
        let routes = self.resources.routes.iter();
        let routes = routes.filter_map(|(name, route)| Some((name, &route.as_ref().ok()?.spec.class_name)));
        let issuers = self.resources.issuers.iter();
        let issuers =
            issuers.filter_map(|(name, issuer)| Some((name, &issuer.as_ref().ok()?.spec.class_name)));
        let others = routes.chain(issuers).filter(move |(_, own)| *own != class);
        others.map(move |(name, own)| {
            let (file, line) = self.places.get(name).cloned().unwrap_or_default();
            Finding {
                file,
                line,
                object: name.to_string(),
                field: "spec.className".to_owned(),
                reason: "OtherClass",
                message: format!("is of class {own}: only {class} is served here"),
                severity: Severity::Warning,
            }
        })
    }

    fn add(&mut self, document: &Document) {
        let name = ObjectName::of(&document.object);
        let finding = |field: String, reason, message, severity| Finding {
            file: document.file.clone(),
            line: document.line,
            object: name.as_ref().map(ToString::to_string).unwrap_or_default(),
            field,
            reason,
            message,
            severity,
        };
        match self.resources.insert(&document.object) {
            Ok(Inserted::Taken(name)) => {
                self.places.insert(name, (document.file.clone(), document.line));
            }
            Ok(Inserted::Ignored) => {
                let message = "nothing here refers to this kind: ignored".to_owned();
                self.findings.push(finding(
                    "kind".to_owned(),
                    "ignored_kind",
                    message,
                    Severity::Warning,
                ));
            }
            Err(errors) => self.findings.extend(errors.into_iter().map(|e| {
                let reason = e.reason();
                finding(e.field, reason, e.message, Severity::Error)
            })),
        }
    }

    fn report(&self, verdict: &Verdict, findings: &mut Vec<Finding>) {
        let (file, line) = self.places.get(&verdict.object).cloned().unwrap_or_default();
        let finding = |field: &String, reason, message: &String, severity| Finding {
            file: file.clone(),
            line,
            object: verdict.object.to_string(),
            field: field.clone(),
            reason,
            message: message.clone(),
            severity,
        };
        findings.extend(verdict.problems.iter().map(|p| {
            let severity = if p.unresolved {
                Severity::Unresolved
            } else {
                Severity::Error
            };
            finding(&p.field, p.reason.name(), &p.message, severity)
        }));
        let warnings = verdict.warnings.iter();
        findings.extend(warnings.map(|w| finding(&w.field, w.reason.name(), &w.message, Severity::Warning)));
    }
}

impl Report {
    /// Whether the files are no good: an error, or with `strict` a reference that is not resolved.
    pub fn fails(&self, strict: bool) -> bool {
        self.findings.iter().any(|finding| match finding.severity {
            Severity::Error => true,
            Severity::Unresolved => strict,
            Severity::Warning => false,
        })
    }
}

impl Severity {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Unresolved => "unresolved",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} {}",
            self.file,
            self.line,
            self.severity.name(),
            self.reason
        )?;
        for part in [&self.object, &self.field]
            .into_iter()
            .filter(|part| !part.is_empty())
        {
            write!(f, " {part}")?;
        }
        write!(f, ": {}", self.message)
    }
}
