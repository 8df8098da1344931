//! Known attacks on authorization servers (RFC 9700, and what others were bitten by), our
//! countermeasure, and the test that proves it. The numbers are those of the coverage table
//! (`docs/coverage.md`), which counts every test; here stands the one that shows the point.
//!
//! Attacks on the tokens themselves are in [`crate::jose::vulns`].
//!
//! # Redirects and codes
//!
//! | attack | | countermeasure | test |
//! |---|---|---|---|
//! | F03 | a redirect URI that carries the response's own parameters | registered exactly: absolute, no fragment, no script scheme, `http` on loopback alone | `case_009_case_010_attack_f03_what_may_be_registered` |
//! | F04 | an authorization code used twice | one transaction takes it; a replay ends everything that it gave | `case_052_case_053_attack_f04_a_replay_ends_everything_that_the_code_gave` |
//! | F04 | a code redeemed by a hundred at once | the store decides, not the process | `case_053_attack_f04_of_a_hundred_redemptions_at_once_exactly_one_succeeds_and_its_tokens_die` |
//! | F05 | another client's code (CVE-2026-16089) | bound to client, server and redirect URI; what does not fit burns it | `case_055_case_056_case_049_attack_f05_attack_f07_attack_f08_what_does_not_fit_burns_the_code` |
//! | F06 | another single-use thing shown as a code | each kind has its own store and its own text | `attack_f06_a_code_is_no_other_thing_that_is_good_for_one_use` |
//! | F07 | a code that is late, or for another key | a minute to live; DPoP key bound at the request | `case_046_case_049_case_054_case_055_case_056_case_057_attack_f05_attack_f07_attack_f08_a_code_is_for_who_it_was_given_to` |
//! | F08 | PKCE left out, weakened or added later | S256 alone; a verifier without a challenge is a downgrade | `attack_f08_a_verifier_for_a_code_without_a_challenge_is_a_downgrade` |
//! | F08 | a challenge of another form | 43 characters of base64url, nothing else | `case_047_case_048_case_050_attack_f08_only_a_whole_s256_challenge_is_taken` |
//!
//! # Refresh tokens and revocation
//!
//! | attack | | countermeasure | test |
//! |---|---|---|---|
//! | F11 | a stolen refresh token used after its successor | the whole family dies, with its access tokens | `case_088_attack_f11_the_last_token_after_the_grace_ends_the_family` |
//! | F11 | an older one | at once, whatever the grace | `case_088_attack_f11_an_older_token_ends_the_family_at_once` |
//! | F11 | the race of honest callers, which must not look like theft | within the grace everybody gets the one successor | `case_089_attack_f11_a_hundred_callers_with_one_token_get_one_successor` |
//! | F11 | two nodes that rotate at once | compare and swap of the generation | `attack_f11_who_rotated_on_another_node_is_seen_here` |
//! | F12 | a refresh token shown by another client | refused; a stranger cannot end the owner's grant | `case_091_attack_f12_a_stranger_is_refused_and_the_grant_of_its_owner_lives` |
//! | F12 | wider scopes or resources on refresh | never beyond the grant | `case_093_attack_f12_nothing_beyond_the_grant_is_given_and_asking_costs_nothing` |
//! | F12 | what changed since the sign-in (GHSA-895x-rfqp-jh5c) | client, user, assignment and policy are looked at each time | `case_096_case_075_attack_f12_everything_is_looked_at_again` |
//! | F13 | a revoked token that lives on in a cache | the gate reads the table of revocations on every check | `attack_f13_a_client_gives_its_token_back_and_the_cached_verdict_dies_with_the_acknowledgement` |
//! | F13 | a revocation that a restart forgets | on disk before it is acknowledged | `attack_f13_case_115_what_is_revoked_is_dead_cached_or_not_and_after_a_restart` |
//! | F13 | somebody else's token revoked | answered alike, without effect | `attack_f13_case_116_attack_f42_a_token_of_another_or_none_at_all_is_answered_alike_without_effect` |
//! | F14 | introspection as an oracle | `active: false` and nothing else for who is not meant | `case_113_attack_f14_a_token_is_shown_to_its_client_and_to_the_servers_of_its_audience` |
//!
//! # Client authentication
//!
//! | attack | | countermeasure | test |
//! |---|---|---|---|
//! | F15 | two methods at once, so that each side checks another | refused (RFC 6749 section 2.3) | `case_062_attack_f15_two_ways_to_authenticate_are_refused` |
//! | F15 | a secret in another place than registered | counts in its registered place alone | `case_064_attack_f15_a_secret_counts_in_its_registered_place_alone` |
//! | F15 | loose decoding of Basic | strict base64 and form encoding | `case_061_attack_f15_loose_encodings_are_refused` |
//! | F15 | an empty secret | never matches, even if its hash were declared | `attack_f15_an_empty_secret_never_matches_even_if_its_hash_is_declared` |
//! | F16 | the time of a comparison | constant time, and as many for an unknown client | `case_063_attack_f16_whoever_asks_costs_the_same_number_of_comparisons` |
//! | F16 | error texts that tell who exists | one answer for every failed authentication | `case_063_case_075_attack_f15_attack_f16_every_failed_authentication_looks_alike` |
//! | F17 | an assertion replayed, also elsewhere or after a restart | its `jti` is used up in the store | `case_068_attack_f17_an_assertion_is_good_once_also_on_another_node_and_after_a_restart` |
//! | F17 | an assertion for another audience, of another subject, without end | each claim has its rule | `case_065_case_066_case_067_case_068_attack_f17_each_claim_has_its_rule` |
//! | F17 | `alg: none`, HMAC with a public key, a key in the header | the registered method and keys decide | `case_069_case_070_attack_f17_an_assertion_by_its_header` |
//! | F31 | a certificate-bound token with another certificate | `cnf` is that of the connection; no header is believed | `attack_f31_a_certificate_bound_token_names_the_certificate_of_the_connection` |
//! | F30 | a DPoP proof used twice, also on another node | remembered in the store until it is stale | `case_126_attack_f30_a_proof_counts_once_also_on_another_node_and_after_a_restart` |
//! | F30 | a proof that breaks a rule | every rule of RFC 9449 section 4.3 | `case_126_attack_f30_a_proof_that_breaks_a_rule_is_refused` |
//!
//! # Grants
//!
//! | attack | | countermeasure | test |
//! |---|---|---|---|
//! | F32 | token exchange that widens | scopes of the subject token at most, audiences of associated servers alone | `case_134_attack_f32_scope_audience_and_life_are_never_widened` |
//! | F33 | a grant that forgets a check of the others (CVE-2026-1609, CVE-2026-11800) | one function decides every grant | `case_058_case_096_attack_f33_user_client_and_policy_are_looked_at_when_the_code_is_redeemed` |
//! | F33 | a disabled user | gets nothing more by any grant | `case_096_attack_f33_a_user_of_the_store_who_is_disabled_gets_nothing_more` |
//! | F34 | a legacy grant by a back door (CVE-2026-9792) | given by name, or not at all | `case_085_attack_f34_no_other_client_gets_anything_by_password` |
//! | F40 | a hundred guesses at once, before any is counted | counted before they are verified | `case_086_attack_f40_a_hundred_guesses_at_once_are_all_counted_and_few_are_verified` |
//! | F40 | guesses as a flood of work | a bounded pool; who comes too late is told to come again | `attack_f40_more_than_can_wait_are_told_to_come_again` |
//!
//! # Registration and fetching
//!
//! | attack | | countermeasure | test |
//! |---|---|---|---|
//! | F18 | a `jwks_uri` that points inside | https alone, public addresses alone, judged before anything is sent | `attack_f18_schemes_and_literal_addresses_are_judged_before_anything_is_sent` |
//! | F18 | a name that resolves to the inside, now or later | the connection goes to an address that passed | `attack_f18_only_addresses_of_the_public_internet_are_public` |
//! | F19 | a client that registers itself more than it may have | neither trusted nor a resource server | `attack_f19_who_registers_itself_is_neither_trusted_nor_a_resource_server` |
//! | F19 | metadata that reactivates or assigns | disabled stays disabled | `attack_f19_disabled_stays_disabled_and_assignments_stay_whatever_metadata_says` |
//! | F20 | script in a client's name or URLs | URLs for people are https, names are plain text | `attack_f20_urls_for_people_are_https_and_names_cannot_turn_the_text_around` |
//! | F48 | `none` or HMAC for ID tokens | refused at registration | `attack_f48_what_would_weaken_or_is_not_honoured_is_refused` |
//! | F49 | an e-mail address that is two | one address, compared exactly | `attack_f49_an_email_is_one_address` |
//!
//! # The wire
//!
//! | attack | | countermeasure | test |
//! |---|---|---|---|
//! | F24 | pages in a frame | `frame-ancestors 'none'` on every answer | `attack_f24_every_answer_has_the_security_headers` |
//! | F26 | `Host` and `X-Forwarded-Host` | every URL comes from the configuration | `attack_f26_no_header_changes_the_issuer` |
//! | F38 | tokens in caches | `Cache-Control: no-store` | `case_078_case_081_attack_f38_a_service_gets_a_token_by_body_and_by_basic` |
//! | F39 | a parameter twice, for two readers | refused, but for `resource` and `audience` | `case_017_attack_f39_a_repeated_parameter_is_refused_but_for_resource` |
//! | F39 | secrets in the query | refused: it is logged everywhere | `case_060_attack_f39_the_query_is_no_place_for_parameters_and_get_no_method` |
//! | F42 | a token that is nearly one | no other spelling is the same token | `attack_f42_no_other_spelling_is_the_same_token` |
//!
//! # The store
//!
//! | attack | | countermeasure | test |
//! |---|---|---|---|
//! | F42 | a stolen database | no credential that could be used: digests, and keys sealed elsewhere | `attack_f42_a_dump_of_the_database_signs_nothing_and_names_no_secret` |
//! | F42 | guessing at passwords in a dump | Argon2id, a salt for each | `attack_f42_a_password_is_kept_as_argon2id_with_a_salt_of_its_own` |
//! | F44 | another team's object by its identifier | a role is bound to its authorization server | `case_155_each_role_may_do_what_the_table_says_and_nothing_else` |
//! | F45 | quotes and NUL in every field | parameters, never text of a statement | `attack_f45_quotes_in_every_field_are_values_to_the_database` |
//! | F45 | a cursor that somebody made up | refused | `attack_f45_a_cursor_that_somebody_made_up_is_refused` |
//! | F50 | insecure defaults in production | the process refuses to start | `attack_f50_what_is_insecure_is_refused_outside_dev` |
//!
//! # Without a surface
//!
//! There is no page to sign in at yet, and with it no authorization endpoint: no error is redirected
//! (F02), no session or consent can be forged or fixed (F09, F22, F23), no response mixed up (F10), no
//! form posted on (F21, F35, F36), no one logged out (F25, F47), no device phished (F27), no request
//! pushed or signed (F28, F29), no origin let in (F37), no cookie forged (F46), no password reset (F41,
//! F43), and no redirect URI compared (F01) but at registration.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_test_that_the_catalogue_names_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        sources(&root.join("src"), &mut paths);
        sources(&root.join("tests/it"), &mut paths);
        let texts: Vec<String> = paths
            .iter()
            .map(|path| fs::read_to_string(path).expect("source is text"))
            .collect();
        let rows: Vec<&str> = include_str!("vulns.rs")
            .lines()
            .filter(|line| line.starts_with("//! | F"))
            .collect();
        assert!(rows.len() > 40, "the rows are found");
        for row in rows {
            let name = row.rsplit('`').nth(1).expect("a row ends in a name");
            let definition = format!("fn {name}(");
            assert!(texts.iter().any(|text| text.contains(&definition)), "{row}");
        }
    }
}
