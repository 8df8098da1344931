//! The local certificate authority of `dev: true`: made on first start, used again afterwards.
//!
//! It signs one certificate, for loopback. Whoever trusts `ca.pem` trusts whoever can read `ca.key`, so that keys are
//! readable by their owner alone, and the CA cannot sign other CAs. Outside `dev` nothing here runs.

use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use x509_parser::pem::Pem;

use crate::model::time::Timestamp;

/// The files of the local CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevCa {
    /// What clients may trust.
    pub ca_file: PathBuf,
    /// What the listener shows: the certificate and the CA's.
    pub certificate_file: PathBuf,
    /// The listener's key.
    pub key_file: PathBuf,
}

/// The local CA cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum DevCaError {
    /// A file or the folder cannot be read or written.
    #[error("cannot keep the local CA of `dev: true` in `{file}`: {source}", file = file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A key or certificate is broken.
    #[error("the local CA in `{folder}` is broken ({reason}): remove its files, and it is made anew", folder = folder.display())]
    Broken {
        /// The CA's folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A certificate that ends within this time is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a certificate of the listener holds: what browsers accept at most.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(397 * 24 * 3600);

/// Where the CA's own certificate is in this folder: what clients are told to trust.
#[must_use]
pub fn ca_file(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

/// The CA and the certificate in this folder, made if they are missing.
///
/// # Errors
/// [`DevCaError`] names the file or folder.
pub fn ensure(folder: &Path, now: Timestamp) -> Result<DevCa, DevCaError> {
    let files = DevCa {
        ca_file: ca_file(folder),
        certificate_file: folder.join("server.pem"),
        key_file: folder.join("server.key"),
    };
    let ca_key_file = folder.join("ca.key");
    let broken = |reason: String| DevCaError::Broken {
        folder: folder.to_owned(),
        reason,
    };
    fs::create_dir_all(folder).map_err(at(folder))?;
    if files.ca_file.exists() && files.certificate_file.exists() && files.key_file.exists() {
        let pem = fs::read(&files.certificate_file).map_err(at(&files.certificate_file))?;
        if ends_after(&pem, now.plus(RENEW_BEFORE)) {
            return Ok(files);
        }
    }
    let ca_params = ca_params();
    let ca_key = if files.ca_file.exists() && ca_key_file.exists() {
        let pem = fs::read_to_string(&ca_key_file).map_err(at(&ca_key_file))?;
        KeyPair::from_pem(&pem).map_err(|error| broken(error.to_string()))?
    } else {
        let key = KeyPair::generate().map_err(|error| broken(error.to_string()))?;
        let certificate = ca_params.self_signed(&key).map_err(|error| broken(error.to_string()))?;
        // The key first: a certificate without its key would be trusted for nothing.
        write(&ca_key_file, &key.serialize_pem(), 0o600)?;
        write(&files.ca_file, &certificate.pem(), 0o644)?;
        key
    };
    let issuer = Issuer::from_params(&ca_params, ca_key);
    let key = KeyPair::generate().map_err(|error| broken(error.to_string()))?;
    let certificate = server_params(now)
        .signed_by(&key, &issuer)
        .map_err(|error| broken(error.to_string()))?;
    let ca_pem = fs::read_to_string(&files.ca_file).map_err(at(&files.ca_file))?;
    write(&files.key_file, &key.serialize_pem(), 0o600)?;
    write(&files.certificate_file, &(certificate.pem() + &ca_pem), 0o644)?;
    Ok(files)
}

fn at(file: &Path) -> impl Fn(io::Error) -> DevCaError {
    move |source| DevCaError::File {
        file: file.to_owned(),
        source,
    }
}

/// Writes a file whole: under another name first, so that nobody reads half of it.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), DevCaError> {
    let draft = file.with_extension("new");
    let written = (|| {
        let _ = fs::remove_file(&draft);
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&draft)?;
        out.write_all(text.as_bytes())?;
        fs::rename(&draft, file)
    })();
    written.map_err(at(file))
}

fn ends_after(pem: &[u8], moment: Timestamp) -> bool {
    let Some(Ok(first)) = Pem::iter_from_buffer(pem).next() else {
        return false;
    };
    first
        .parse_x509()
        .is_ok_and(|certificate| certificate.validity().not_after.timestamp() > moment.unix_seconds())
}

/// The same each time: an issuer is put together from these and the key that was kept.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Scopegate local development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params
}

fn server_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.subject_alt_names = vec![
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
    ];
    if let Ok(name) = "localhost".try_into() {
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // A day of grace for clocks that are behind.
    let day = Duration::from_secs(24 * 3600);
    let epoch = date_time_ymd(1970, 1, 1);
    let since_epoch = |moment: Timestamp| Duration::from_secs(u64::try_from(moment.unix_seconds()).unwrap_or(0));
    params.not_before = epoch + since_epoch(now.minus(day));
    params.not_after = epoch + since_epoch(now.plus(CERTIFICATE_LIFETIME));
    params
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn is_made_once_kept_readable_by_its_owner_alone_and_renewed_under_the_same_ca() {
        let folder = tempfile::tempdir().expect("folder");
        let made = ensure(&folder.path().join("data"), NOW).expect("makes");
        let (ca, certificate) = (
            fs::read(&made.ca_file).expect("ca"),
            fs::read(&made.certificate_file).expect("server"),
        );
        for key in [made.key_file.clone(), folder.path().join("data/ca.key")] {
            assert_eq!(fs::metadata(key).expect("exists").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(ensure(&folder.path().join("data"), NOW), Ok(made.clone()));
        assert_eq!(
            fs::read(&made.certificate_file).expect("server"),
            certificate,
            "used again"
        );
        let later = NOW.plus(CERTIFICATE_LIFETIME);
        ensure(&folder.path().join("data"), later).expect("renews");
        assert_ne!(fs::read(&made.certificate_file).expect("server"), certificate);
        assert_eq!(fs::read(&made.ca_file).expect("ca"), ca);
    }

    #[test]
    fn the_certificate_is_signed_by_the_ca() {
        let folder = tempfile::tempdir().expect("folder");
        let made = ensure(folder.path(), NOW).expect("makes");
        let pem = fs::read(&made.certificate_file).expect("server");
        let chain: Vec<Pem> = Pem::iter_from_buffer(&pem).collect::<Result<_, _>>().expect("PEM");
        assert_eq!(chain.len(), 2);
        let (leaf, ca) = (chain[0].parse_x509().expect("leaf"), chain[1].parse_x509().expect("ca"));
        assert_eq!(leaf.issuer(), ca.subject());
        assert!(ca.is_ca() && !leaf.is_ca());
    }

    impl PartialEq for DevCaError {
        fn eq(&self, other: &Self) -> bool {
            self.to_string() == other.to_string()
        }
    }
}
