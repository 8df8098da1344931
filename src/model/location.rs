//! Where in a file something was written, so that an error can point at it.

/// A place in the configuration file: line and column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Location {
    /// The line, from 1; 0 for a value that stands in no file (a default, a test).
    pub line: u32,
    /// The column in characters, from 1; 0 for a value that stands in no file.
    pub column: u32,
}

/// A value together with the place that it was written at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The place.
    pub location: Location,
}

impl<T> Located<T> {
    /// A value of this place.
    pub fn new(value: T, location: Location) -> Self {
        Self { value, location }
    }

    /// A value that stands in no file: a default, a test.
    pub fn nowhere(value: T) -> Self {
        Self {
            value,
            location: Location::default(),
        }
    }
}
