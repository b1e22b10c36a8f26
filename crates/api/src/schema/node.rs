use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;
use thiserror::Error;

/// A schema that the walker cannot hold objects against.
#[derive(Debug, Error)]
pub(crate) enum SchemaError {
    /// A keyword that it does not know would be a check that it silently leaves out.
    #[error("{path} uses the keyword {keyword}, which the checker does not know")]
    Keyword { path: String, keyword: String },
    /// A keyword has a value that means nothing.
    #[error("{path} has no usable {keyword}")]
    Value { path: String, keyword: String },
    /// A pattern does not compile.
    #[error("{path} has a pattern that does not compile")]
    Pattern {
        path: String,
        #[source]
        source: regex::Error,
    },
}

/// One node of a structural schema.
#[derive(Debug)]
pub(crate) struct Node {
    pub(super) kind: Kind,
    pub(super) default: Option<Value>,
}

/// What a value must be.
#[derive(Debug)]
pub(super) enum Kind {
    Object(ObjectNode),
    Array(ArrayNode),
    String(StringNode),
    Integer { min: i64, max: i64 },
    Boolean,
}

#[derive(Debug)]
pub(super) struct ObjectNode {
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) required: Vec<String>,
    /// What entries without a declared name must be; `None` where there may be none.
    pub(super) additional: Option<Box<Node>>,
    pub(super) properties_range: (usize, usize),
}

#[derive(Debug)]
pub(super) struct ArrayNode {
    pub(super) items: Box<Node>,
    pub(super) items_range: (usize, usize),
    pub(super) list: ListType,
}

#[derive(Debug)]
pub(super) enum ListType {
    Atomic,
    Set,
    Map(Vec<String>),
}

#[derive(Debug)]
pub(super) struct StringNode {
    pub(super) length_range: (usize, usize),
    pub(super) pattern: Option<Regex>,
    pub(super) allowed: Vec<String>,
}

impl Node {
    /// Reads the schema at `path`, a field path for messages.
    pub(crate) fn parse(schema: &Value, path: &str) -> Result<Self, SchemaError> {
        let reader = Reader { schema, path };
        let kind = match reader.text("type")? {
            "object" => Kind::Object(reader.object()?),
            "array" => Kind::Array(reader.array()?),
            "string" => Kind::String(reader.string()?),
            "integer" => reader.integer()?,
            "boolean" => reader.boolean()?,
            _ => return Err(reader.unusable("type")),
        };
        Ok(Self {
            kind,
            default: schema.get("default").cloned(),
        })
    }

    /// The node of a property, if it is declared.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Object(object) => object.properties.get(name).or(object.additional.as_deref()),
            _ => None,
        }
    }
}

/// Keywords that any node may have and that this checker takes from elsewhere or needs not.
const EVERYWHERE: &[&str] = &[
    "type",
    "default",
    "description",
    "title",
    "x-kubernetes-validations",
];

struct Reader<'a> {
    schema: &'a Value,
    path: &'a str,
}

impl<'a> Reader<'a> {
    fn object(&self) -> Result<ObjectNode, SchemaError> {
        self.only(&[
            "properties",
            "required",
            "additionalProperties",
            "minProperties",
            "maxProperties",
        ])?;
        let mut properties = BTreeMap::new();
        for (name, schema) in self.schema["properties"].as_object().into_iter().flatten() {
            properties.insert(
                name.clone(),
                Node::parse(schema, &format!("{}.{name}", self.path))?,
            );
        }
        let additional = match self.schema.get("additionalProperties") {
            Some(schema) => Some(Box::new(Node::parse(schema, &format!("{}.*", self.path))?)),
            None => None,
        };
        let properties_range = self.range("minProperties", "maxProperties")?;
        Ok(ObjectNode {
            properties,
            required: self.texts("required")?,
            additional,
            properties_range,
        })
    }

    fn array(&self) -> Result<ArrayNode, SchemaError> {
        self.only(&[
            "items",
            "minItems",
            "maxItems",
            "x-kubernetes-list-type",
            "x-kubernetes-list-map-keys",
        ])?;
        let list = match self.schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            None | Some("atomic") => ListType::Atomic,
            Some("set") => ListType::Set,
            Some("map") => ListType::Map(self.texts("x-kubernetes-list-map-keys")?),
            Some(_) => return Err(self.unusable("x-kubernetes-list-type")),
        };
        let items = Box::new(Node::parse(&self.schema["items"], &format!("{}[]", self.path))?);
        Ok(ArrayNode {
            items,
            items_range: self.range("minItems", "maxItems")?,
            list,
        })
    }

    fn string(&self) -> Result<StringNode, SchemaError> {
        self.only(&["minLength", "maxLength", "pattern", "enum", "format"])?;
        let pattern = match self.schema.get("pattern").and_then(Value::as_str) {
            Some(pattern) => Some(Regex::new(pattern).map_err(|source| SchemaError::Pattern {
                path: self.path.to_owned(),
                source,
            })?),
            None => None,
        };
        let length_range = self.range("minLength", "maxLength")?;
        Ok(StringNode {
            length_range,
            pattern,
            allowed: self.texts("enum")?,
        })
    }

    fn integer(&self) -> Result<Kind, SchemaError> {
        self.only(&["minimum", "maximum", "format"])?;
        let bound = |keyword: &str, default: i64| match self.schema.get(keyword) {
            None => Ok(default),
            Some(value) => whole(value).ok_or_else(|| self.unusable(keyword)),
        };
        Ok(Kind::Integer {
            min: bound("minimum", i64::MIN)?,
            max: bound("maximum", i64::MAX)?,
        })
    }

    fn boolean(&self) -> Result<Kind, SchemaError> {
        self.only(&[])?;
        Ok(Kind::Boolean)
    }

    fn only(&self, known: &[&str]) -> Result<(), SchemaError> {
        let mut keywords = self
            .schema
            .as_object()
            .into_iter()
            .flatten()
            .map(|(keyword, _)| keyword.as_str());
        match keywords.find(|keyword| !EVERYWHERE.contains(keyword) && !known.contains(keyword)) {
            None => Ok(()),
            Some(keyword) => Err(SchemaError::Keyword {
                path: self.path.to_owned(),
                keyword: keyword.to_owned(),
            }),
        }
    }

    fn text(&self, keyword: &str) -> Result<&'a str, SchemaError> {
        self.schema
            .get(keyword)
            .and_then(Value::as_str)
            .ok_or_else(|| self.unusable(keyword))
    }

    fn texts(&self, keyword: &str) -> Result<Vec<String>, SchemaError> {
        let list = self.schema.get(keyword).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|text| {
                text.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| self.unusable(keyword))
            })
            .collect()
    }

    fn range(&self, min: &str, max: &str) -> Result<(usize, usize), SchemaError> {
        let bound = |keyword: &str, default: usize| match self.schema.get(keyword) {
            None => Ok(default),
            Some(value) => whole(value)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| self.unusable(keyword)),
        };
        Ok((bound(min, 0)?, bound(max, usize::MAX)?))
    }

    fn unusable(&self, keyword: &str) -> SchemaError {
        SchemaError::Value {
            path: self.path.to_owned(),
            keyword: keyword.to_owned(),
        }
    }
}

/// A bound as a whole number: the CRD types keep bounds of numbers as floats.
fn whole(value: &Value) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation)] // A float without fraction in the range of `i32`.
    let from_float = |f: f64| (f.fract() == 0.0 && f.abs() <= f64::from(i32::MAX)).then_some(f as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(from_float))
}
