use std::fmt;

use serde_json::Value;
use serde_saphyr::Spanned;
use thiserror::Error;

/// A file of YAML or JSON documents, already read.
#[derive(Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// What to call it in messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// One object of a file.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// The file's name.
    pub file: String,
    /// Where in the file it begins, from 1; 0 if unknown.
    pub line: u64,
    /// The object as it is written.
    pub object: Value,
}

/// A file that is no YAML, or that says something twice.
#[derive(Debug, Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ManifestError {
    /// The file's name.
    pub file: String,
    /// Line, from 1; 0 if unknown.
    pub line: u64,
    /// Column, from 1; 0 if unknown.
    pub column: u64,
    /// The fault, without an excerpt of the file: it may hold secrets.
    pub message: String,
}

impl ManifestError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        "yaml"
    }
}

impl ManifestFile {
    /// The objects of the file, in their order; those of a `v1` `List` one by one, as `kubectl` does.
    ///
    /// Empty documents count for nothing. A key that is there twice is an error. What YAML 1.1 reads as true
    /// or false (`yes`, `on`) is no text here either, as for `kubectl`.
    pub fn documents(&self) -> Result<Vec<Document>, ManifestError> {
        let options = serde_saphyr::options! {
            with_snippet: false,
            legacy_octal_numbers: true,
        };
        let roots: Vec<Spanned<Value>> = serde_saphyr::from_multiple_with_options(&self.text, options)
            .map_err(|error| self.error(&error))?;
        let mut documents = Vec::new();
        for root in roots {
            let line = root.referenced.line();
            for object in items(root.value) {
                documents.push(Document {
                    file: self.name.clone(),
                    line,
                    object,
                });
            }
        }
        Ok(documents)
    }

    fn error(&self, error: &serde_saphyr::Error) -> ManifestError {
        let location = error.location();
        ManifestError {
            file: self.name.clone(),
            line: location.map_or(0, |l| l.line()),
            column: location.map_or(0, |l| l.column()),
            message: message_of(error.without_snippet()),
        }
    }
}

/// The parser's own error is not kept as a source, and some of its messages are not taken: they hold excerpts. Where a
/// colon or a quote is missing, a key or a tag may be a secret.
fn message_of(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::DuplicateMappingKey { .. } => "a key is there twice".to_owned(),
        serde_saphyr::Error::UnsupportedTag { .. } => "this tag is not supported".to_owned(),
        other => {
            let message = other.to_string();
            let message = message.lines().next().unwrap_or_default();
            message.split(" at line ").next().unwrap_or(message).to_owned()
        }
    }
}

fn items(mut object: Value) -> Vec<Value> {
    let is_list = object["kind"] == "List" && object["apiVersion"] == "v1";
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        Some(other) => {
            object["items"] = other;
            vec![object]
        }
        None => vec![object],
    }
}

/// Without the text: it may hold secrets.
impl fmt::Debug for ManifestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManifestFile({}, {} bytes)", self.name, self.text.len())
    }
}

/// Without the object: it may be a Secret.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}:{})", self.file, self.line)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Vec<Value>, ManifestError> {
        let file = ManifestFile {
            name: "a.yaml".into(),
            text: text.into(),
        };
        Ok(file.documents()?.into_iter().map(|d| d.object).collect())
    }

    #[test]
    fn many_documents_empty_ones_and_lists() {
        let text = "# nothing\n---\na: 1\n---\n---\nkind: List\napiVersion: v1\nitems: [{b: 2}, {c: 3}]\n";
        assert_eq!(
            read(text).unwrap(),
            [json!({"a": 1}), json!({"b": 2}), json!({"c": 3})]
        );
        assert_eq!(read("").unwrap(), Vec::<Value>::new());
        assert_eq!(
            read("{\"a\": {\"b\": [1, \"2\", null, 1.5]}}").unwrap(),
            [json!({"a": {"b": [1, "2", null, 1.5]}})]
        );
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let file = ManifestFile {
            name: "a.yaml".into(),
            text: "a: 1\n---\n# x\nb: 2\n".into(),
        };
        let lines: Vec<_> = file.documents().unwrap().iter().map(|d| d.line).collect();
        assert_eq!(lines, [1, 4]);
    }

    #[test]
    fn faults_name_the_place_and_quote_nothing() {
        for (text, line, column) in [
            ("a: 1\nkey: hunter2\nkey: hunter2\n", 3, 1),
            ("a: 1\n---\nb: [hunter2\n", 3, 4),
            ("a: &x [hunter2]\nb: *y\n", 2, 4),
            ("a: 1\nb: {hunter2: 1, hunter2: 2}\n", 2, 17),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn scalars_are_what_kubectl_reads() {
        let text = "a: yes\nb: \"yes\"\nc: 010\nd: 1e3\ne: ~\nf: v1\n";
        let expected = json!({"a": true, "b": "yes", "c": 8, "d": 1000.0, "e": null, "f": "v1"});
        assert_eq!(read(text).unwrap(), [expected]);
    }

    #[test]
    fn aliases_do_not_explode() {
        let level = |n: usize| {
            let list = vec![format!("*a{}", n - 1); 10].join(", ");
            format!("a{n}: &a{n} [{list}]\n")
        };
        let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        let text: String = std::iter::once(first).chain((1..10).map(level)).collect();
        assert!(read(&text).is_err());
    }

    #[test]
    fn debug_shows_no_content() {
        let file = ManifestFile {
            name: "s.yaml".into(),
            text: "data: hunter2".into(),
        };
        assert!(!format!("{file:?} {:?}", file.documents().unwrap()).contains("hunter2"));
    }
}
