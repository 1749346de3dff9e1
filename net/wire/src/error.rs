//! What can be wrong with bytes to decode, or with a value to encode.

/// The bytes are not a valid message: always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Innermost field being read; empty outside a message.
    pub field: &'static str,
    /// What is wrong there.
    pub fault: DecodeFault,
}

impl DecodeError {
    /// Names the field, unless a field inside it has been named already.
    #[must_use]
    pub fn within(mut self, field: &'static str) -> Self {
        if self.field.is_empty() {
            self.field = field;
        }
        self
    }
}

impl From<DecodeFault> for DecodeError {
    fn from(fault: DecodeFault) -> Self {
        Self { field: "", fault }
    }
}

impl std::error::Error for DecodeError {}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            self.fault.fmt(f)
        } else {
            write!(f, "{}: {}", self.field, self.fault)
        }
    }
}

/// The kinds of [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeFault {
    /// A value reaches past the end of its window.
    #[error("needs {needed} bytes, {left} are left")]
    Truncated {
        /// Bytes the value takes.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// An array claims more elements than the bytes left could hold.
    #[error("{count} elements cannot fit the {left} bytes left")]
    Count {
        /// Elements claimed.
        count: usize,
        /// Bytes left in the window.
        left: usize,
    },
    /// More array elements than the reader takes in one message.
    #[error("{count} elements are too many: {left} more would be taken")]
    TooMany {
        /// Elements of the array in question.
        count: usize,
        /// What was left of the limit for the whole message.
        left: usize,
    },
    /// A length below −1.
    #[error("length {0} is negative")]
    NegativeLength(i32),
    /// A string longer than the protocol allows.
    #[error("length {len} is over the limit of {max}")]
    TooLong {
        /// Declared length in bytes.
        len: usize,
        /// The protocol's limit in bytes.
        max: usize,
    },
    /// Null where this version has no null.
    #[error("is null, which this version does not allow")]
    Null,
    /// A string that is not UTF-8.
    #[error("is not UTF-8")]
    Utf8,
    /// A variable-length integer with too many bytes or bits.
    #[error("variable-length integer is too long")]
    Varint,
    /// Bytes follow where a message, or a tagged field, should have ended.
    #[error("{0} unexpected bytes at the end")]
    Trailing(usize),
    /// The message does not exist in this version.
    #[error("version {version} is outside {min}..={max}")]
    UnsupportedVersion {
        /// Version asked for.
        version: i16,
        /// Lowest version known here.
        min: i16,
        /// Highest version known here.
        max: i16,
    },
    /// No API of this key is known here.
    #[error("unknown API key {0}")]
    UnknownApiKey(i16),
}

/// The value cannot be written in this version: always the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The field is set, the version has no such field, and the schema does not let it be dropped.
    #[error("{field} is set, which version {version} cannot say")]
    NotInVersion {
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// The field is null, which the version does not allow.
    #[error("{field} is null, which version {version} does not allow")]
    Null {
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string, array or frame longer than its length prefix can say.
    #[error("{field} has length {len}, over the limit of {max}")]
    TooLong {
        /// The field; empty outside a message.
        field: &'static str,
        /// Its length, in bytes or elements.
        len: usize,
        /// The protocol's limit.
        max: usize,
    },
    /// The message does not exist in this version.
    #[error("version {version} is outside {min}..={max}")]
    UnsupportedVersion {
        /// Version asked for.
        version: i16,
        /// Lowest version known here.
        min: i16,
        /// Highest version known here.
        max: i16,
    },
}

impl EncodeError {
    /// Names the field, unless a field inside it has been named already.
    #[must_use]
    pub fn within(mut self, name: &'static str) -> Self {
        if let Self::TooLong { field, .. } = &mut self
            && field.is_empty()
        {
            *field = name;
        }
        self
    }
}
