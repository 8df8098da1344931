//! Files and environment behind one trait: the only reader of the environment.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::yaml::TEXT_BYTES_MAX;
use crate::model::finding::Finding;
use crate::model::location::Location;

/// The largest secret file that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where the configuration's texts come from.
pub trait Source {
    /// The text of the configuration file.
    ///
    /// # Errors
    /// What the file system says; `InvalidData` if the file is too large or no UTF-8.
    fn text(&self, path: &Path) -> io::Result<String>;

    /// The bytes of a secret file, without a line break at its end.
    ///
    /// # Errors
    /// What the file system says; `InvalidData` if the file is too large.
    fn secret(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>>;

    /// A variable of the environment, if it is set to a text that is not empty.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The process's own files and environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Source for System {
    fn text(&self, path: &Path) -> io::Result<String> {
        let mut bytes = Vec::new();
        // one byte more than is allowed shows that there is more, without reading all of it
        let limit = TEXT_BYTES_MAX as u64 + 1;
        std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        into_text(bytes)
    }

    fn secret(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(Vec::new());
        std::fs::File::open(path)?
            .take(SECRET_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > SECRET_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it has more than {SECRET_BYTES_MAX} bytes"),
            ));
        }
        trim_line_break(&mut bytes);
        Ok(bytes)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// Texts in memory: for tests, and for tools that hold a configuration without a file.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The files.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
}

impl Memory {
    /// One file and an empty environment.
    #[must_use]
    pub fn of(path: &Path, text: &str) -> Self {
        let mut memory = Self::default();
        memory.files.insert(path.to_owned(), text.as_bytes().to_owned());
        memory
    }

    fn file(&self, path: &Path) -> io::Result<&Vec<u8>> {
        self.files.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Source for Memory {
    fn text(&self, path: &Path) -> io::Result<String> {
        into_text(self.file(path)?.clone())
    }

    fn secret(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(self.file(path)?.clone());
        trim_line_break(&mut bytes);
        Ok(bytes)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

/// Bytes that are no text, and where the first of them stands.
#[derive(Debug, thiserror::Error)]
#[error("it is no UTF-8")]
struct NotUtf8 {
    location: Location,
}

fn into_text(bytes: Vec<u8>) -> io::Result<String> {
    if bytes.len() > TEXT_BYTES_MAX {
        // its reader refuses it for its size, whatever the bound cut in two
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let good = String::from_utf8_lossy(good);
        let count = |text: &str, what: fn(char) -> bool| {
            u32::try_from(text.chars().filter(|c| what(*c)).count()).unwrap_or(u32::MAX)
        };
        let location = Location {
            line: 1 + count(&good, |c| c == '\n'),
            column: 1 + count(good.rsplit('\n').next().unwrap_or_default(), |_| true),
        };
        io::Error::new(io::ErrorKind::InvalidData, NotUtf8 { location })
    })
}

/// What is said of a file that [`Source::text`] cannot read; `naming` is how the command line names it.
pub(super) fn unreadable(error: &io::Error, naming: &str) -> Finding {
    let not_utf8 = error.get_ref().and_then(|inner| inner.downcast_ref::<NotUtf8>());
    let hint = match not_utf8 {
        Some(_) => "save the file as UTF-8",
        None => naming,
    };
    let location = not_utf8.map(|not_utf8| not_utf8.location).unwrap_or_default();
    Finding::error("unreadable_file", location, format!("it cannot be read: {error}")).hint(hint)
}

/// Editors end a file with a line break, which is no part of the secret.
fn trim_line_break(bytes: &mut Vec<u8>) {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_loses_one_line_break_and_nothing_else() {
        for (file, secret) in [
            ("a b \n", "a b "),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            ("", ""),
        ] {
            let source = Memory::of(Path::new("s"), file);
            assert_eq!(
                source.secret(Path::new("s")).expect("present").as_slice(),
                secret.as_bytes()
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_pointed_at() {
        let path = Path::new("c");
        for (bytes, line, column) in [(&b"\xff"[..], 1, 1), (b"a: 1\nb: \xc3\xa4\xc3(", 2, 5)] {
            let mut source = Memory::default();
            source.files.insert(path.to_owned(), bytes.to_vec());
            let finding = unreadable(&source.text(path).expect_err("no UTF-8"), "another name");
            assert_eq!(finding.location, Location { line, column });
            assert_eq!(finding.hint.as_deref(), Some("save the file as UTF-8"));
        }
        let missing = unreadable(&Memory::default().text(path).expect_err("none"), "another name");
        assert_eq!(
            (missing.location, missing.hint.as_deref()),
            (Location::default(), Some("another name"))
        );
    }

    #[test]
    fn a_text_is_never_read_beyond_its_bound() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), " ".repeat(2 * TEXT_BYTES_MAX)).expect("written");
        assert_eq!(System.text(file.path()).expect("readable").len(), TEXT_BYTES_MAX + 1);
        assert!(System.secret(file.path()).is_err());
    }
}
