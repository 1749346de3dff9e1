//! What a row of the key table says, and the words rows are written with.
//!
//! A row is a chain of `const` calls on [`Key`]; the macro in [`crate::keys`] writes the chain.

use std::fmt;

use crate::error::Problem;
use crate::value::{self, Value};

/// One key: everything that is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Kafka's name, or Odradek's own under `cores.` and `odradek.`.
    pub name: &'static str,
    /// Heading under which the reference page shows the key.
    pub group: &'static str,
    /// Type that DescribeConfigs reports.
    pub kind: Kind,
    /// What a number counts.
    pub unit: Unit,
    /// The value where nothing sets one.
    pub default: DefaultValue,
    /// Who may set the key, and when.
    pub scope: Scope,
    /// Whether setting the key has an effect.
    pub standing: Standing,
    /// Broker keys that give a topic key (or a broker key of a coarser unit) its value, in order
    /// of precedence.
    pub synonyms: &'static [Synonym],
    /// Kafka's broker key that gives the default and that Odradek does not have; shown as a synonym.
    pub stands_for: Option<&'static str>,
    /// What the key does; ends with a period.
    pub doc: &'static str,
    /// What the example file shows where there is no default.
    pub example: &'static str,
    pub(crate) check: Check,
}

/// Kafka's `ConfigDef.Type`, which clients see in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// Text.
    String,
    /// A 16-bit number.
    Short,
    /// A 32-bit number.
    Int,
    /// A 64-bit number.
    Long,
    /// A floating point number.
    Double,
    /// Comma-separated texts.
    List,
    /// Text that is never shown.
    Password,
}

/// What a number counts, for people who read the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number or no number at all.
    None,
    /// Milliseconds.
    Millis,
    /// Bytes.
    Bytes,
}

/// The value of a key that nothing sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DefaultValue {
    /// No value; DescribeConfigs shows null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number of any width.
    Int(i64),
    /// A floating point number.
    Double(f64),
    /// Text, or a list as Kafka writes it.
    Text(&'static str),
}

/// Who may set a key, and when; Kafka's update modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the file or on the command line, read once at start.
    Fixed,
    /// Also while running, for one broker.
    PerBroker,
    /// Also while running, for all brokers or for one.
    ClusterWide,
    /// On a topic.
    Topic,
    /// On a group.
    Group,
    /// On a telemetry subscription.
    Subscription,
}

/// Whether setting a key has an effect.
#[derive(Clone, Copy, Debug)]
pub enum Standing {
    /// The key does what its doc says.
    Honoured,
    /// Kafka has the key; here it changes nothing, for the reason given. Accepted and logged.
    Inert(&'static str),
    /// Any value but the default is refused by name.
    DefaultOnly(&'static str),
}

/// A broker key whose value stands in for a key that is not set itself.
#[derive(Clone, Copy, Debug)]
pub struct Synonym {
    /// Name of the broker key.
    pub name: &'static str,
    /// Factor from its unit to the unit of the key it stands in for.
    pub scale: i64,
}

/// Which values of the right type are accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    Any,
    Range {
        min: i64,
        max: i64,
    },
    /// Negative (no limit) or positive; zero is refused with the text given.
    NotZero(&'static str),
    /// Kafka's levels of gzip: 1 to 9, or -1 for the codec's own default.
    RangeOr {
        min: i64,
        max: i64,
        or: i64,
    },
    OneOf(&'static [&'static str]),
    /// Returns why the value is refused.
    With(fn(&Value) -> Result<(), Problem>, &'static str),
}

impl Key {
    pub(crate) const fn new(name: &'static str, kind: Kind, unit: Unit) -> Self {
        Self {
            name,
            group: "",
            kind,
            unit,
            default: DefaultValue::Null,
            scope: Scope::Topic,
            standing: Standing::Honoured,
            synonyms: &[],
            stands_for: None,
            doc: "",
            example: "",
            check: Check::Any,
        }
    }

    pub(crate) const fn described(mut self, group: &'static str, doc: &'static str) -> Self {
        self.group = group;
        self.doc = doc;
        self
    }

    pub(crate) const fn default(mut self, default: DefaultValue) -> Self {
        self.default = default;
        self
    }

    pub(crate) const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// Read once at start.
    pub(crate) const fn fixed(mut self) -> Self {
        self.scope = Scope::Fixed;
        self
    }

    /// May change while running, for all brokers or one.
    pub(crate) const fn dynamic(mut self) -> Self {
        self.scope = Scope::ClusterWide;
        self
    }

    pub(crate) const fn min(self, min: i64) -> Self {
        self.range(min, i64::MAX)
    }

    pub(crate) const fn range(mut self, min: i64, max: i64) -> Self {
        self.check = Check::Range { min, max };
        self
    }

    pub(crate) const fn range_or(mut self, min: i64, max: i64, or: i64) -> Self {
        self.check = Check::RangeOr { min, max, or };
        self
    }

    pub(crate) const fn not_zero(mut self, problem: &'static str) -> Self {
        self.check = Check::NotZero(problem);
        self
    }

    pub(crate) const fn one_of(mut self, names: &'static [&'static str]) -> Self {
        self.check = Check::OneOf(names);
        self
    }

    /// `allowed` says in words what `check` accepts.
    pub(crate) const fn checked(
        mut self,
        check: fn(&Value) -> Result<(), Problem>,
        allowed: &'static str,
    ) -> Self {
        self.check = Check::With(check, allowed);
        self
    }

    pub(crate) const fn from(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub(crate) const fn of_group(mut self) -> Self {
        self.scope = Scope::Group;
        self
    }

    /// Of a share group, where Kafka has this key of a broker for the default.
    pub(crate) const fn of_share_group(self, default: &'static str) -> Self {
        self.of_group().stands_for(default).inert("share groups are not built yet")
    }

    /// Of a streams group, likewise.
    pub(crate) const fn of_streams_group(self, default: &'static str) -> Self {
        self.of_group().stands_for(default).inert("streams groups are not built yet")
    }

    pub(crate) const fn of_subscription(mut self) -> Self {
        self.scope = Scope::Subscription;
        self
    }

    pub(crate) const fn stands_for(mut self, name: &'static str) -> Self {
        self.stands_for = Some(name);
        self
    }

    pub(crate) const fn inert(mut self, why: &'static str) -> Self {
        self.standing = Standing::Inert(why);
        self
    }

    pub(crate) const fn default_only(mut self, why: &'static str) -> Self {
        self.standing = Standing::DefaultOnly(why);
        self
    }

    /// Whether the value must never be shown.
    #[must_use]
    pub fn sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Whether the key is read once at start.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.scope == Scope::Fixed
    }

    /// The value where nothing sets one.
    #[must_use]
    pub fn default_value(&self) -> Value {
        match self.default {
            DefaultValue::Null => Value::Null,
            DefaultValue::Bool(value) => Value::Bool(value),
            DefaultValue::Int(value) => Value::Int(value),
            DefaultValue::Double(value) => Value::Double(value),
            DefaultValue::Text(text) => {
                value::parse(self.kind, text).expect("the table test parses every default")
            }
        }
    }

    /// Turns text into a value of this key's type and checks its range, in Kafka's words.
    ///
    /// What is valid but not built yet passes here: a cluster's metadata may hold it, and reading
    /// it as something else could lose data. [`Key::supports`] is asked when someone sets it.
    pub fn parse(&self, text: &str) -> Result<Value, Problem> {
        let value = value::parse(self.kind, text)?;
        self.check.test(&value)?;
        Ok(value)
    }

    /// Whether the (valid) value does here what it does in Kafka; else what is missing.
    pub fn supports(&self, value: &Value) -> Result<(), &'static str> {
        match self.standing {
            Standing::Honoured | Standing::Inert(_) => Ok(()),
            Standing::DefaultOnly(why) => (*value == self.default_value()).then_some(()).ok_or(why),
        }
    }

    /// What may be set, in words: `at least 1`, `one of a, b`, `true or false`.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self.check {
            Check::Any => self.kind.allowed().to_owned(),
            Check::Range { min, max: i64::MAX } => format!("at least {min}"),
            Check::Range { min, max } => format!("{min} to {max}"),
            Check::NotZero(_) => "at least 1, or -1 for no limit".to_owned(),
            Check::RangeOr { min, max, or } => format!("{min} to {max}, or {or}"),
            Check::OneOf(names) if self.kind == Kind::List => {
                format!("a list of {}", names.join(", "))
            }
            Check::OneOf(names) => format!("one of {}", names.join(", ")),
            Check::With(_, allowed) => allowed.to_owned(),
        }
    }
}

impl Check {
    fn test(&self, value: &Value) -> Result<(), Problem> {
        match (self, value) {
            (Self::Any, _) | (_, Value::Null) => Ok(()),
            (Self::Range { min, max }, Value::Int(n)) => within(*n, *min, *max),
            (Self::Range { min, max }, Value::Double(n)) => {
                // Only a ratio has a range, so its bounds are small whole numbers.
                if *n < *min as f64 {
                    Err(Problem::AtLeast(*min))
                } else if *n > *max as f64 {
                    Err(Problem::AtMost(*max))
                } else {
                    Ok(())
                }
            }
            (Self::NotZero(problem), Value::Int(0)) => Err(Problem::Text((*problem).to_owned())),
            (Self::NotZero(_), _) => Ok(()),
            (Self::RangeOr { min, max, or }, Value::Int(n)) => {
                if n == or || (min..=max).contains(&n) {
                    Ok(())
                } else {
                    Err(Problem::BetweenOr { min: *min, max: *max, or: *or })
                }
            }
            (Self::OneOf(names), Value::Text(text)) => one_of(text, names),
            (Self::OneOf(_), Value::List(parts)) if parts.iter().any(String::is_empty) => {
                Err(Problem::EmptyPart)
            }
            (Self::OneOf(names), Value::List(parts)) => {
                parts.iter().try_for_each(|part| one_of(part, names).map_err(|p| p.of_part(part)))
            }
            (Self::With(check, _), value) => check(value),
            (check, value) => unreachable!("{check:?} does not fit {value:?}"),
        }
    }
}

impl Kind {
    /// `ConfigDef.Type` as the protocol's DescribeConfigs response numbers it.
    #[must_use]
    pub fn id(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Password => 9,
        }
    }

    /// Kafka's name of the type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Password => "PASSWORD",
        }
    }

    fn allowed(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::String | Self::Password => "text",
            Self::Short => "a 16-bit number",
            Self::Int => "a 32-bit number",
            Self::Long => "a 64-bit number",
            Self::Double => "a number",
            Self::List => "a comma-separated list",
        }
    }
}

impl Synonym {
    /// A broker key in the same unit.
    pub(crate) const fn same(name: &'static str) -> Self {
        Self { name, scale: 1 }
    }

    /// A broker key whose value counts `scale` of the key's own units.
    pub(crate) const fn scaled(name: &'static str, scale: i64) -> Self {
        Self { name, scale }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn within(n: i64, min: i64, max: i64) -> Result<(), Problem> {
    if n < min {
        Err(Problem::AtLeast(min))
    } else if n > max {
        Err(Problem::AtMost(max))
    } else {
        Ok(())
    }
}

fn one_of(text: &str, names: &'static [&'static str]) -> Result<(), Problem> {
    if names.contains(&text) { Ok(()) } else { Err(Problem::OneOf { names, part: None }) }
}
