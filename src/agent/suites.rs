//! What HTTPS is spoken with: what every server of the last ten years knows, and nothing else, for all of it is code in
//! the program.

use std::sync::{Arc, OnceLock};

use rustls::crypto::ring::{DEFAULT_KX_GROUPS, cipher_suite};
use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use rustls::{Error, SignatureScheme, SupportedCipherSuite};
use webpki::ring as signed_with;

use crate::id::random_bytes;

/// AES in both strengths, for either kind of certificate. ChaCha20 no server need have (RFC 8446, 9.1).
const SUITES: [SupportedCipherSuite; 6] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
];

/// The signatures that are verified: all that `rustls` verifies with this library. In TLS 1.2 a scheme leaves the curve
/// open.
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        signed_with::ECDSA_P256_SHA256,
        signed_with::ECDSA_P256_SHA384,
        signed_with::ECDSA_P384_SHA256,
        signed_with::ECDSA_P384_SHA384,
        signed_with::ED25519,
        signed_with::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        signed_with::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        signed_with::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        signed_with::RSA_PKCS1_2048_8192_SHA256,
        signed_with::RSA_PKCS1_2048_8192_SHA384,
        signed_with::RSA_PKCS1_2048_8192_SHA512,
        signed_with::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        signed_with::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        signed_with::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[signed_with::ECDSA_P384_SHA384, signed_with::ECDSA_P256_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[signed_with::ECDSA_P256_SHA256, signed_with::ECDSA_P384_SHA256],
        ),
        (SignatureScheme::ED25519, &[signed_with::ED25519]),
        (SignatureScheme::RSA_PSS_SHA512, &[signed_with::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[signed_with::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[signed_with::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[signed_with::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[signed_with::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[signed_with::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// What connections are encrypted and certificates are verified with.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| {
        Arc::new(CryptoProvider {
            cipher_suites: SUITES.to_vec(),
            kx_groups: DEFAULT_KX_GROUPS.to_vec(),
            signature_verification_algorithms: SIGNATURES,
            secure_random: &Kernel,
            key_provider: &NoKeys,
        })
    });
    Arc::clone(provider)
}

/// The kernel's chance.
#[derive(Debug)]
struct Kernel;

impl SecureRandom for Kernel {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        random_bytes(bytes);
        Ok(())
    }
}

/// We are never asked who we are: without keys of our own nothing that signs is linked in.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("rill has no keys of its own".to_owned()))
    }
}
