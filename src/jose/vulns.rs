//! Known attacks on signed tokens, what we do about each, and the test that holds it.
//!
//! There is no code here. A row is an attack that worked on somebody's library; the last column is
//! the name of a test of this room (or of `tests/it/wycheproof.rs`), and a test of this file fails
//! when a name leads nowhere.
//!
//! # The signature
//!
//! | attack | countermeasure | test |
//! |---|---|---|
//! | `alg: none` in any spelling (CVE-2015-9235, CVE-2018-1000531) | the algorithm is an enum without `none`; a token without a signature has not three parts | `attack_a01_edge_j01_the_none_family_is_refused_before_a_key_is_looked_for` |
//! | a public key taken for an HMAC secret (CVE-2016-5431, CVE-2022-29217) | a key serves one family, fixed by its type; a shared secret comes from the configuration alone | `attack_a02_edge_j01_a_public_key_is_no_hmac_secret` |
//! | the algorithm chosen by the token, where a key names none | the list of the authorization server, cut by the key's kind | `attack_a03_edge_j01_the_algorithms_come_from_key_and_configuration` |
//! | the algorithm in an unprotected header | the JSON serializations are not read | `attack_a04_json_serializations_are_no_tokens` |
//! | an unsigned token inside an encrypted one (CVE-2026-29000) | five parts are no token | `attack_a05_edge_j20_only_three_parts_are_a_token` |
//! | `r = s = 0` in ECDSA (CVE-2022-21449, "psychic signatures") | the library checks both numbers; vectors hold it to that | `attack_a07_attack_a08_edge_j22_an_ecdsa_signature_is_two_numbers_of_the_curves_length` |
//! | DER, or a length that fits another curve | the length is compared before the library is called | `attack_a07_attack_a08_edge_j22_an_ecdsa_signature_is_two_numbers_of_the_curves_length` |
//! | forged PKCS #1 v1.5 padding (Bleichenbacher 2006, CVE-2006-4339) | the padding is compared as a whole | `attack_a13_pkcs1_signatures_are_judged_as_labelled` |
//! | another salt length or mask function in PSS | the salt is as long as the hash, the mask uses the same hash | `attack_a14_pss_signatures_are_judged_as_labelled` |
//! | a second spelling of one token, to slip past a revocation or a cache | base64url is canonical; of an ECDSA signature and its twin the `jti` is the name | `attack_a31_edge_j21_unused_bits_have_no_second_spelling` |
//! | a signature that is cut or changed | nothing is compared but what was signed | `attack_a36_every_bit_flip_and_every_truncation_of_a_token_is_refused` |
//!
//! # The header
//!
//! | attack | countermeasure | test |
//! |---|---|---|
//! | the attacker's key in `jwk` (CVE-2018-0114), or its address in `jku`, `x5u` | not looked at; there is nothing here that could fetch | `attack_a17_edge_j03_a_key_in_the_header_is_not_looked_at` |
//! | `kid` as a path, a query or a format string | compared as a whole with the names of the set, and used for nothing else | `attack_a16_a_kid_is_compared_as_a_whole_and_does_nothing_else` |
//! | `crit` that is not understood (CVE-2025-59420), `b64: false` | any content of either refuses the token | `attack_a18_attack_a19_attack_a20_edge_j02_extensions_are_refused_whatever_they_hold` |
//! | decompression bombs in `zip` (CVE-2024-33664) | refused likewise; nothing is inflated | `attack_a18_attack_a19_attack_a20_edge_j02_extensions_are_refused_whatever_they_hold` |
//! | an endless key derivation by `p2c` (CVE-2023-6681) | password-based algorithms have no spelling | `attack_a21_a_password_based_algorithm_is_unknown_and_costs_nothing` |
//! | two members of one name, read differently by two readers | refused at every level, after escapes are read | `attack_a22_edge_j18_duplicate_members_are_refused_in_header_and_payload` |
//! | nesting that exhausts the stack, texts that exhaust memory (CVE-2026-48042) | 8 KiB, 16 levels, 2048 values, each checked before the work | `attack_a34_attack_a35_edge_j19_deep_and_wide_tokens_are_refused` |
//!
//! # The claims
//!
//! | attack | countermeasure | test |
//! |---|---|---|
//! | `exp` as a string, a float, something huge: "never expires" in lax readers | whole seconds from 0, or the token is refused | `attack_a24_attack_a25_edge_j09_times_are_whole_seconds_or_the_token_is_refused` |
//! | no `exp` at all | refused | `attack_a26_edge_j09_a_token_without_exp_is_refused` |
//! | `aud` as an empty list, a prefix, a mixture of types | exact; without a configured audience no token passes | `attack_a28_edge_j11_the_audience_is_compared_exactly` |
//! | an issuer that looks alike | byte for byte | `attack_a29_attack_a23_edge_j12_the_issuer_is_compared_exactly` |
//! | the key of another issuer under the same `kid` | a set belongs to one issuer, which the claims must name | `attack_a29_the_key_of_one_issuer_does_not_sign_for_another_under_the_same_kid` |
//! | an ID token, a logout token, a proof in place of an access token (RFC 8725 section 2.8) | `typ`, and where it says nothing the marks of the other kinds | `attack_a30_edge_j14_claims_that_mark_another_kind_are_noticed_where_typ_says_nothing` |
//! | a token inside a token | the payload is claims or nothing | `attack_a06_a_nested_token_is_never_opened` |
//! | learning from the error which part was wrong | one sentence outside; the reason goes to logs | `attack_a42_every_refusal_looks_alike_from_outside_and_has_its_own_detail` |
//!
//! # The keys
//!
//! | attack | countermeasure | test |
//! |---|---|---|
//! | points that lie on no curve (CVE-2017-16007) | the library checks P-256 and P-384 when it parses | `attack_a10_points_that_are_on_no_curve_are_refused` |
//! | Edwards points of small order: one signature for many messages | refused by name | `attack_a10_edwards_points_of_small_order_or_of_a_second_spelling_are_refused` |
//! | short moduli, an exponent of 1 | refused; the key is reported | `attack_a11_edge_j08_weak_rsa_keys_are_not_loaded` |
//! | ROCA (CVE-2017-15361) | the fingerprint is looked for | `attack_a11_a_power_of_65537_has_the_roca_fingerprint_and_its_neighbours_do_not` |
//! | moduli of 65536 bits, to make each verification take seconds | refused by the length of the text, before decoding | `attack_a12_oversized_rsa_keys_are_refused_by_the_length_of_their_text` |
//! | a shared secret that can be guessed | at least as long as the hash | `attack_a15_a_short_secret_is_refused_for_each_hash` |
//! | a private key in a public set: whoever reads it signs | the set is refused | `attack_b08_edge_j08_private_or_symmetric_material_anywhere_refuses_the_set` |
//! | two keys under one name, the old and the attacker's | the set is refused | `attack_b08_attack_b11_edge_j08_two_keys_under_one_kid_refuse_the_set` |
//! | a key for encryption used to verify | `use`, `key_ops` and `alg` are obeyed | `attack_b09_edge_j08_a_key_for_another_purpose_is_not_used` |
//! | one odd key that hides the good ones | skipped and reported | `attack_b12_edge_j08_one_key_that_cannot_be_used_does_not_take_the_others_with_it` |
//! | a flood of unknown `kid`s that causes fetches (attack B01) | a token that newer keys could not save is refused for its claims | `attack_b10_an_unknown_kid_is_told_apart_so_that_newer_keys_can_be_fetched` |
//!
//! # Proofs and certificates
//!
//! | attack | countermeasure | test |
//! |---|---|---|
//! | a proof for another request | verb and URL, the latter normalised and no further | `edge_x02_urls_are_equal_after_normalisation_without_their_query` |
//! | a proof for another token | `ath` | `edge_x04_the_proof_names_the_access_token` |
//! | a proof used again | fresh by `iat`; the caller remembers its `jti` until it is not | `edge_x05_a_proof_is_fresh_within_its_window_and_to_be_remembered_for_as_long` |
//! | a private, weak, foreign or symmetric key in the proof | the rules of a published key | `edge_x09_the_header_is_that_of_a_proof` |
//! | two proofs in one header | a comma is no part of a token | `edge_x08_two_proofs_joined_by_a_comma_are_none` |
//! | a `+` of base64 read as a space: another certificate's digest, or none | percent-decoding alone | `edge_x13_the_leaf_of_url_encoded_pem_is_hashed` |
//! | a client's own XFCC element passed on by a hop | one element or none is believed | `edge_x14_a_header_that_can_be_read_in_two_ways_is_refused` |

#[cfg(test)]
mod tests {
    #[test]
    fn every_test_that_the_catalogue_names_exists() {
        const TESTS: [&str; 9] = [
            include_str!("certificate/tests.rs"),
            include_str!("compact/tests.rs"),
            include_str!("dpop/tests.rs"),
            include_str!("key/strength.rs"),
            include_str!("key/tests.rs"),
            include_str!("sign/tests.rs"),
            include_str!("verify/tests.rs"),
            include_str!("verify/tests/claims.rs"),
            include_str!("../../tests/it/wycheproof.rs"),
        ];
        let rows: Vec<&str> = include_str!("vulns.rs")
            .lines()
            .filter(|line| line.starts_with("//! |") && line.contains(char::from(b'_')))
            .collect();
        assert!(rows.len() > 30, "the rows are found");
        for row in rows {
            let name = row.rsplit('`').nth(1).expect("a row ends in a name");
            let definition = format!("fn {name}(");
            assert!(TESTS.iter().any(|file| file.contains(&definition)), "{row}");
        }
    }
}
