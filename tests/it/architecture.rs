//! The import table.
