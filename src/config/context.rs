//! What every part of the check knows: the file's folder, `dev`, and the findings so far.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::decode::{Problems, shown};
use super::scalar::FilePath;
use super::source::Source;
use crate::model::finding::Finding;
use crate::model::id::InvalidIdentifier;
use crate::model::location::{Located, Location};

/// The code of the warning that a secret file cannot be read, which stops `serve`.
pub(crate) const SECRET_FILE_UNREADABLE: &str = "secret_file_unreadable";

pub(crate) struct Context<'a> {
    pub(crate) dev: bool,
    pub(crate) folder: PathBuf,
    pub(crate) source: &'a dyn Source,
    pub(crate) problems: Problems,
}

impl Context<'_> {
    /// Notes an error with a way out.
    pub(crate) fn error(&mut self, code: &'static str, at: Location, message: impl Into<String>, hint: &str) {
        self.problems.push(Finding::error(code, at, message).hint(hint));
    }

    /// Notes a warning with a way out.
    pub(crate) fn warn(&mut self, code: &'static str, at: Location, message: impl Into<String>, hint: &str) {
        self.problems.push(Finding::warning(code, at, message).hint(hint));
    }

    /// A file that is read, seen from where the process runs.
    pub(crate) fn path(&self, path: &FilePath) -> PathBuf {
        self.folder.join(&path.0)
    }

    /// The same for a file that may be left out.
    pub(crate) fn optional_path(&self, path: Option<&FilePath>) -> Option<PathBuf> {
        path.map(|path| self.path(path))
    }

    /// An identifier, or an error at its place.
    pub(crate) fn identifier<T>(
        &mut self,
        text: &Located<String>,
        parse: impl FnOnce(&str) -> Result<T, InvalidIdentifier>,
    ) -> Option<Located<T>> {
        match parse(&text.value) {
            Ok(identifier) => Some(Located::new(identifier, text.location)),
            Err(error) => {
                let message = format!("`{}` is no identifier: {error}", shown(&text.value));
                self.problems
                    .push(Finding::error("invalid_identifier", text.location, message));
                None
            }
        }
    }

    /// The bytes of a secret file. One that cannot be read is a warning, so that a file can be
    /// checked where its secrets are not; `serve` makes it an error.
    pub(crate) fn secret(&mut self, file: &Located<FilePath>) -> Option<Zeroizing<Vec<u8>>> {
        let path = self.path(&file.value);
        match self.source.secret(&path) {
            Ok(secret) if secret.is_empty() => {
                let message = format!("the secret file `{}` is empty", display(&path));
                self.error("empty_secret", file.location, message, "put the secret into it");
                None
            }
            Ok(secret) => Some(secret),
            Err(error) => {
                let message = format!("the secret file `{}` cannot be read here: {error}", display(&path));
                let hint = "`serve` needs it: put it there, or let this process read it";
                self.warn(SECRET_FILE_UNREADABLE, file.location, message, hint);
                None
            }
        }
    }
}

fn display(path: &Path) -> String {
    shown(&path.display().to_string())
}
