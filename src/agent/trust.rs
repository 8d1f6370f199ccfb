//! Who must have signed an HTTPS server's certificate: those whom browsers trust, which are built in, or the ones in the
//! file that the environment names.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::sync::OnceLock;

use ureq::Error;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{ConnectionDetails, Connector};

use super::suites::provider;
use crate::text::system_words;

/// Names a PEM file of certificates to trust instead of those built in, as for curl and whatever else uses OpenSSL.
const VARIABLE: &str = "SSL_CERT_FILE";

/// Whom we trust, read once in a process; or why nobody, which is the first link of every chain of connectors: said
/// before anyone is dialled, and only where a certificate is asked for.
#[derive(Clone, Debug)]
pub struct Trust(Result<RootCerts, String>);

impl Trust {
    /// As the environment has it.
    pub fn of_environment() -> &'static Self {
        static TRUST: OnceLock<Trust> = OnceLock::new();
        TRUST.get_or_init(|| Self::of(env::var_os(VARIABLE)))
    }

    fn of(file: Option<OsString>) -> Self {
        match file.filter(|file| !file.is_empty()) {
            None => Self(Ok(RootCerts::WebPki)),
            Some(file) => Self(read(&file).map_err(|why| {
                format!("the certificates in {VARIABLE}={} can't be used: {why}", file.display())
            })),
        }
    }

    /// The settings of TLS that go with it.
    pub fn settings(&self) -> TlsConfig {
        let roots = self.0.clone().unwrap_or(RootCerts::Specific(Vec::new().into()));
        let settings = TlsConfig::builder().root_certs(roots);
        settings.unversioned_rustls_crypto_provider(provider()).build()
    }
}

impl Connector<()> for Trust {
    type Out = ();

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<()>, Error> {
        match &self.0 {
            Err(why) if details.needs_tls() => Err(Error::Io(io::Error::other(why.clone()))),
            _ => Ok(None),
        }
    }
}

fn read(file: &OsStr) -> Result<RootCerts, String> {
    let bytes = fs::read(file).map_err(|error| system_words(&error))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&bytes) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    match certificates.len() {
        0 => Err("there are none".to_owned()),
        _ => Ok(RootCerts::from(certificates)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// Why a file with these bytes is refused, or how many certificates are in it.
    fn of(bytes: &[u8]) -> Result<usize, String> {
        let scratch = Scratch::new();
        let trust = Trust::of(Some(scratch.write("ca.pem", bytes).into()));
        trust.0.map(|roots| match roots {
            RootCerts::Specific(certificates) => certificates.len(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_file_of_certificates_is_trusted_instead() {
        assert!(matches!(Trust::of(None).0, Ok(RootCerts::WebPki)));
        assert!(matches!(Trust::of(Some(OsString::new())).0, Ok(RootCerts::WebPki)));
        let one = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(of(format!("a note\n{one}\n{one}").as_bytes()), Ok(2));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_the_reason() {
        let absent = Trust::of(Some("/nowhere/ca.pem".into())).0.unwrap_err();
        assert_eq!(
            absent,
            "the certificates in SSL_CERT_FILE=/nowhere/ca.pem can't be used: no such file or directory"
        );
        assert!(of(b"not a certificate").unwrap_err().ends_with("there are none"));
        let torn = of(b"-----BEGIN CERTIFICATE-----\nMAA=\n").unwrap_err();
        assert!(torn.contains("can't be used: "), "{torn}");
    }
}
