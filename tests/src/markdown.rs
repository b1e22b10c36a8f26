//! Fenced blocks, tables and links of a Markdown text, as far as this repository's own texts use them.

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands behind the opening fence: `sh`, `console`, `yaml`, or nothing.
    pub language: String,
    /// The lines between the fences, each with its line end.
    pub text: String,
    /// The last heading before it, without the number signs; empty before the first of level two.
    pub section: String,
}

/// All fenced blocks, in order.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut section = String::new();
    let mut inside = false;
    for line in markdown.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(Block {
                    language: language.to_owned(),
                    text: String::new(),
                    section: section.clone(),
                });
            }
        } else if inside {
            if let Some(block) = blocks.last_mut() {
                block.text.push_str(line);
                block.text.push('\n');
            }
        } else if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
    }
    blocks
}

/// The lines of a shell block as commands: a line that ends with `\` or `|` goes on in the next one.
pub fn commands(block: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in block.lines() {
        match commands.last_mut().filter(|_| goes_on) {
            Some(command) => {
                command.push('\n');
                command.push_str(line);
            }
            None => commands.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\') || line.ends_with('|');
    }
    commands
}

/// The rows of the table whose first heading is `first`, without that row and the line below it.
pub fn table(markdown: &str, first: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_matches('|');
        // `\|` is a bar in a cell and not between two.
        let line = line.replace("\\|", "\u{1}");
        line.split('|')
            .map(|cell| cell.trim().replace('\u{1}', "|"))
            .collect()
    };
    let rows = markdown
        .lines()
        .skip_while(|line| !(line.starts_with('|') && cells(line)[0] == first));
    rows.take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect()
}

/// The targets of all links.
pub fn links(markdown: &str) -> Vec<String> {
    let after = markdown.split("](").skip(1);
    after
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()))
        .collect()
}

/// What links to headings name them by.
pub fn anchors(markdown: &str) -> Vec<String> {
    let mut inside = false;
    let mut anchors = Vec::new();
    for line in markdown.lines() {
        inside ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        if inside || title.len() == line.len() {
            continue;
        }
        let kept = title
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
        anchors.push(anchor);
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "one\n```sh\na \\\n  b # c\nd\n```\n## Two\n| k | v |\n|---|---|\n| `a\\|b` | [x](y/z) |\n\n```\nplain\n```\n";

    #[test]
    fn finds_what_a_text_has() {
        let found = blocks(TEXT);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].language.as_str(), found[0].section.as_str()),
            ("sh", "")
        );
        assert_eq!(commands(&found[0].text), ["a \\\n  b # c", "d"]);
        assert_eq!(
            (found[1].text.as_str(), found[1].section.as_str()),
            ("plain\n", "Two")
        );
        assert_eq!(table(TEXT, "k"), [["`a|b`", "[x](y/z)"]]);
        assert_eq!(links(TEXT), ["y/z"]);
        assert_eq!(
            anchors("## Two, `of` them\n```\n# none\n```\n# A"),
            ["two-of-them", "a"]
        );
    }
}
