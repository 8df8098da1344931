//! Files and environment behind one trait: the only reader of the environment.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::yaml::TEXT_BYTES_MAX;

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
        let mut text = String::new();
        // one byte more than is allowed shows that there is more, without reading all of it
        let limit = TEXT_BYTES_MAX as u64 + 1;
        std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
        Ok(text)
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
        String::from_utf8(self.file(path)?.clone()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
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
    fn a_text_is_never_read_beyond_its_bound() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), " ".repeat(2 * TEXT_BYTES_MAX)).expect("written");
        assert_eq!(System.text(file.path()).expect("readable").len(), TEXT_BYTES_MAX + 1);
        assert!(System.secret(file.path()).is_err());
    }
}
