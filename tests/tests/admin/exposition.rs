//! A strict reader of `OpenMetrics` 1.0 text, as far as the gateway uses it. What it does not know is an error.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

/// Everything that was exposed.
#[derive(Debug, PartialEq)]
pub struct Exposition {
    /// By name, without the suffixes of samples.
    pub families: BTreeMap<String, Family>,
}

/// One metric.
#[derive(Debug, Default, PartialEq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it is for.
    pub help: String,
    /// In their order.
    pub samples: Vec<Sample>,
}

/// One line with a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With its suffix.
    pub name: String,
    /// In their order.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub value: f64,
    /// The number as it is written.
    text: String,
}

impl Exposition {
    /// Reads the whole text.
    pub fn parse(text: &str) -> Result<Self> {
        let body = text
            .strip_suffix("# EOF\n")
            .context("it does not end with # EOF")?;
        let mut families: Vec<(String, Family)> = Vec::new();
        for line in body.split_terminator('\n') {
            read_line(line, &mut families).with_context(|| line.to_owned())?;
        }
        let number = families.len();
        let families: BTreeMap<_, _> = families.into_iter().collect();
        ensure!(families.len() == number, "a metric is there twice");
        for (name, family) in &families {
            family.check(name).with_context(|| name.clone())?;
        }
        Ok(Self { families })
    }

    /// The whole number of one series; 0 where it is not there yet.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let same = |((a, b), (c, d)): (&(String, String), &(&str, &str))| a == c && b == d;
        let is_it = |labels_of: &[(String, String)]| {
            labels_of.len() == labels.len() && labels_of.iter().zip(labels).all(same)
        };
        let mut found = self
            .samples()
            .filter(|sample| sample.name == name && is_it(&sample.labels));
        found.next().map_or(0, Sample::whole)
    }

    /// The sum of all series of this name, which are whole numbers.
    pub fn sum(&self, name: &str) -> u64 {
        let samples = self.samples().filter(|sample| sample.name == name);
        samples.map(Sample::whole).sum()
    }

    /// Every line with a number.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.values().flat_map(|family| &family.samples)
    }

    /// Names and labels of every line, without numbers.
    pub fn series(&self) -> BTreeSet<String> {
        self.samples()
            .map(|sample| format!("{} {:?}", sample.name, sample.labels))
            .collect()
    }
}

/// A comment opens a metric or says more of it; a sample belongs to the metric that was opened last.
fn read_line(line: &str, families: &mut Vec<(String, Family)>) -> Result<()> {
    if let Some(rest) = line.strip_prefix("# ") {
        let mut words = rest.splitn(3, ' ');
        let (Some(what), Some(name), Some(text)) = (words.next(), words.next(), words.next()) else {
            bail!("a comment of less than three words");
        };
        if families.last().is_none_or(|(last, _)| last != name) {
            families.push((name.to_owned(), Family::default()));
        }
        let Some((_, family)) = families.last_mut() else {
            bail!("no metric")
        };
        ensure!(family.samples.is_empty(), "a comment after the numbers");
        let place = match what {
            "HELP" => &mut family.help,
            "TYPE" => &mut family.kind,
            _ => bail!("an unknown comment"),
        };
        ensure!(place.is_empty(), "said twice");
        text.clone_into(place);
        return Ok(());
    }
    let sample = Sample::parse(line)?;
    let (name, family) = families.last_mut().context("a number before any metric")?;
    ensure!(
        sample.name.starts_with(name.as_str()),
        "a number of another metric"
    );
    family.samples.push(sample);
    Ok(())
}

impl Sample {
    fn parse(line: &str) -> Result<Self> {
        let end = line.find(['{', ' ']).context("no number")?;
        let (name, mut rest) = line.split_at(end);
        ensure!(is_name(name), "no name of a metric");
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"").context("no label")?;
                ensure!(is_name(label), "no name of a label");
                let (value, after) = quoted(after)?;
                ensure!(labels.iter().all(|(known, _)| known != label), "a label twice");
                labels.push((label.to_owned(), value));
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = &rest[1..];
        }
        let number = rest.strip_prefix(' ').context("no space before the number")?;
        let value = number.parse().context("no number, or more than one")?;
        Ok(Self {
            name: name.to_owned(),
            labels,
            value,
            text: number.to_owned(),
        })
    }

    /// The number, where it counts something.
    pub fn whole(&self) -> u64 {
        let whole = self.text.parse();
        whole.unwrap_or_else(|_| panic!("{} is {}, no whole number", self.name, self.text))
    }
}

/// A value up to its closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('"' | '\\'))) => escaped,
                _ => bail!("an unknown escape"),
            }),
            other => value.push(other),
        }
    }
    bail!("an open quote")
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl Family {
    fn check(&self, name: &str) -> Result<()> {
        ensure!(!self.help.is_empty(), "no HELP");
        let series: BTreeSet<_> = self.samples.iter().map(|s| (&s.name, &s.labels)).collect();
        ensure!(series.len() == self.samples.len(), "a series is there twice");
        match self.kind.as_str() {
            "counter" => self.samples.iter().try_for_each(|sample| {
                ensure!(
                    sample.name == format!("{name}_total"),
                    "{} is no counter's",
                    sample.name
                );
                ensure!(
                    sample.value >= 0.0 && sample.value.is_finite(),
                    "{} counts {}",
                    sample.name,
                    sample.value
                );
                Ok(())
            }),
            "gauge" => self.samples.iter().try_for_each(|sample| {
                ensure!(sample.name == name, "{} is no gauge's", sample.name);
                Ok(())
            }),
            "histogram" => self.check_histograms(name),
            other => bail!("a metric of the type {other:?}"),
        }
    }

    /// All histograms of one name, each with labels of its own.
    fn check_histograms(&self, name: &str) -> Result<()> {
        let own = |sample: &Sample| -> Vec<(String, String)> {
            let labels = sample.labels.iter();
            labels.filter(|(label, _)| label != "le").cloned().collect()
        };
        let all: BTreeSet<_> = self.samples.iter().map(own).collect();
        all.iter().try_for_each(|labels| {
            let samples = self.samples.iter().filter(|sample| own(sample) == *labels);
            check_histogram(name, &samples.collect::<Vec<_>>())
        })
    }
}

/// Buckets that grow, the last of which holds everything.
fn check_histogram(name: &str, samples: &[&Sample]) -> Result<()> {
    let of = |suffix: &'static str| {
        samples
            .iter()
            .filter(move |s| s.name == format!("{name}{suffix}"))
    };
    let (count, sum) = (
        of("_count").next().context("no count")?,
        of("_sum").next().context("no sum")?,
    );
    ensure!(sum.value >= 0.0 && of("_count").count() == 1 && of("_sum").count() == 1);
    let buckets: Vec<(f64, f64)> = of("_bucket")
        .map(|bucket| {
            let bound = bucket.labels.iter().find(|(name, _)| name == "le");
            let (_, bound) = bound.context("a bucket without bound")?;
            Ok((bound.parse()?, bucket.value))
        })
        .collect::<Result<_>>()?;
    ensure!(
        samples.len() == buckets.len() + 2,
        "more than buckets, count and sum"
    );
    ensure!(
        buckets
            .windows(2)
            .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1),
        "buckets out of order: {buckets:?}"
    );
    let last = buckets.last().context("no bucket")?;
    ensure!(
        last.0.is_infinite() && (last.1 - count.value).abs() < 0.5,
        "the last bucket is not all"
    );
    Ok(())
}

/// A checker that takes everything would let everything pass.
#[test]
fn what_is_no_exposition_is_refused() {
    let good = "# HELP a A.\n# TYPE a counter\na_total{b=\"c\\\"d\"} 1\n# EOF\n";
    assert!(Exposition::parse(good).is_ok());
    for (from, to) in [
        ("# EOF\n", ""),
        ("# HELP a A.\n", ""),
        ("counter", "summary"),
        ("a_total", "a"),
        ("a_total", "b_total"),
        ("} 1", "} -1"),
        ("} 1", "} x"),
        ("} 1", "}1"),
        ("b=", "B="),
        ("\\\"", "\""),
        ("\\\"", "\\t"),
        ("# EOF", "a_total{b=\"c\\\"d\"} 2\n# EOF"),
        ("# EOF", "# TYPE a gauge\n# EOF"),
        ("# EOF\n", "# EOF\n# EOF\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(Exposition::parse(&bad).is_err(), "{bad}");
    }
}
