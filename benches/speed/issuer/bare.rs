//! What a signature costs without anything around it: aws-lc-rs with a key pair that is parsed once.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};

/// A key that signs.
pub(super) enum Bare {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl Bare {
    pub(super) fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    pub(super) fn rs256() -> Self {
        Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    /// Processor time of one signature, in microseconds: of so many, in a thread that does nothing else.
    pub(super) fn cost(&self, count: usize) -> f64 {
        let spent = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let before = of_this_thread();
                    for number in 0..count {
                        self.sign(number);
                    }
                    of_this_thread() - before
                })
                .join()
        });
        spent.expect("no panic") / count as f64
    }

    fn sign(&self, number: usize) {
        // As long as what is signed of an access token.
        let message = format!("{number:0>450}");
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) => {
                std::hint::black_box(pair.sign(&random, message.as_bytes()).expect("signs"));
            }
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                    .expect("signs");
                std::hint::black_box(signature);
            }
        }
    }
}

/// Processor time of the calling thread so far, in microseconds.
fn of_this_thread() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds: u64 = text
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .expect("a number");
    nanoseconds as f64 / 1000.0
}
