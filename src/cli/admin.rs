//! `scopegate admin`: what is done at the machine itself, without the management API.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use url::Url;

use crate::admin::bootstrap::bootstrap;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Settings;
use crate::issuer::management::SCOPES;
use crate::net::settings::ListenAddress;
use crate::store::open::open;

/// Administer at the machine itself.
#[derive(Debug, Args)]
pub struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    Bootstrap(BootstrapArgs),
}

/// Make the first administrator, and print its credentials: they are shown once.
///
/// It is a service app with the role of a super administrator. What is printed is one JSON object with its `client_id` and
/// its `private_key` (a JWK), as Okta's SDKs take them in their PrivateKey mode. Nobody keeps the private key but you.
/// It works while the server runs, which lets the administrator in within a moment.
#[derive(Debug, Args)]
pub struct BootstrapArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Make another one where there is an administrator already.
    #[arg(long)]
    pub again: bool,
}

/// Runs the command: exit code 0, or 1 where there is an administrator already.
///
/// # Errors
/// When the configuration has errors, the store does not open, or there is an administrator already.
pub fn run(args: &AdminArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let AdminCommand::Bootstrap(args) = &args.command;
    let settings = super::load(&args.config)?;
    let Some(issuer) = &settings.issuer else {
        bail!("the configuration declares no local authorization server, so there is nothing to administer");
    };
    let Some(store) = &settings.store else {
        bail!("the configuration names no `store`: that is where administrators are kept");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let made = runtime.block_on(async {
        let opened = open(store, settings.sealing_key.as_ref(), settings.dev)
            .await
            .context("the store")?;
        let now = SystemClock::start().now();
        let made = bootstrap(opened.store.as_ref(), now, args.again).await?;
        anyhow::Ok(made)
    })?;
    let private_key: Value = serde_json::from_str(made.private_key.expose_secret()).context("the key")?;
    let printed = json!({
        "org_url": api_url(&settings, &issuer.public_url),
        "client_id": made.client_id,
        "private_key": private_key,
        "scopes": SCOPES,
    });
    writeln!(out, "{printed:#}")?;
    writeln!(
        io::stderr(),
        "this is shown once: keep it where only the administrator reads it, and make other administrators with it"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Where the management API is reached: at its listener, under the host of the public URL if that is every address.
fn api_url(settings: &Settings, public_url: &Url) -> String {
    let mut url = public_url.clone();
    url.set_path("");
    if let Some(ListenAddress::Tcp(address)) = settings.listeners.admin.as_ref().map(|admin| &admin.address) {
        let named = address.ip().is_unspecified() || url.set_ip_host(address.ip()).is_ok();
        if !named || url.set_port(Some(address.port())).is_err() {
            return public_url.to_string();
        }
    }
    url.as_str().trim_end_matches('/').to_owned()
}
