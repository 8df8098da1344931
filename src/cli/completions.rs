//! `scopegate completions` and `scopegate man`: what the command line says of itself, for shells and
//! for readers.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

/// Print the completions of a shell: `scopegate completions bash > /etc/bash_completion.d/scopegate`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page; with a folder, write a page for each command.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this folder instead.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs `completions`.
///
/// # Errors
/// What writing to `out` says.
pub fn completions(args: &CompletionsArgs, mut command: Command, out: &mut impl Write) -> io::Result<ExitCode> {
    // Into memory first: the generator panics where nobody reads on.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "scopegate", &mut text);
    out.write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `man`.
///
/// # Errors
/// What writing to `out` or into the folder says.
pub fn man(args: &ManArgs, command: Command, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match &args.folder {
        None => clap_mangen::Man::new(command).render(out)?,
        Some(folder) => clap_mangen::generate_to(command, folder).with_context(|| format!("`{}`", folder.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_and_the_manual_know_every_command() {
        let command = || super::super::command();
        let names: Vec<String> = command()
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .collect();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut out = Vec::new();
            completions(&CompletionsArgs { shell }, command(), &mut out).expect("written");
            let text = String::from_utf8(out).expect("UTF-8");
            for name in &names {
                assert!(text.contains(name), "{shell}: {name}");
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let args = ManArgs {
            folder: Some(folder.path().to_owned()),
        };
        man(&args, command(), &mut Vec::new()).expect("written");
        for name in &names {
            assert!(folder.path().join(format!("scopegate-{name}.1")).exists(), "{name}");
        }
    }
}
