use std::time::Duration;

use proptest::prelude::*;

use super::*;

const DIGEST: [u8; 32] = [0xfb; 32];

fn text(shown: Shown) -> String {
    let id = new_grant_id(GrantType::AuthorizationCode, "AZaz09-_");
    RefreshToken::text(&id, shown, &DIGEST).expose_secret().clone()
}

fn grant(generation: u32) -> GrantRecord {
    let at = Timestamp::from_unix_seconds;
    GrantRecord {
        id: new_grant_id(GrantType::Password, "abc"),
        server: AuthorizationServerId::parse("transfers").expect("valid"),
        client: ClientId::parse("mobile").expect("valid"),
        user: Some(UserId::parse("u1").expect("valid")),
        subject: Subject::parse("ada@bank.example").expect("valid"),
        scopes: ScopeSet::parse("a b").expect("valid"),
        resources: Vec::new(),
        auth_time: at(900),
        amr: vec!["pwd".to_owned()],
        acr: None,
        binding: None,
        created_at: at(900),
        expires_at: at(10_000),
        generation,
        rotated_at: at(1000),
        idle_expires_at: at(2000),
        revoked_at: None,
    }
}

fn rotation(rotates: bool, grace: u64) -> RefreshRotation {
    RefreshRotation {
        rotates,
        grace: Duration::from_secs(grace),
    }
}

#[test]
fn case_098_a_refresh_token_has_only_the_characters_of_the_rfc_and_reads_back() {
    for shown in [
        Shown::Generation(0),
        Shown::Generation(7),
        Shown::Generation(u32::MAX),
        Shown::Static,
    ] {
        let text = text(shown);
        assert!(text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{text}");
        let read = RefreshToken::parse(&text).expect("it reads back");
        assert_eq!((read.grant().as_str(), read.shown()), ("gcAZaz09-_", shown));
        assert!(read.matches(&DIGEST) && !read.matches(&[0; 32]));
    }
}

#[test]
fn attack_f42_no_other_spelling_is_the_same_token() {
    let good = text(Shown::Generation(10));
    let digest = good.rsplit('.').next().expect("a digest").to_owned();
    let mut bad = vec![
        String::new(),
        "..".to_owned(),
        format!("{good}."),
        format!("{good}="),
        format!("{good} "),
        format!(".{good}"),
        good.replace(".10.", ".010."),
        good.replace(".10.", ".+10."),
        good.replace(".10.", ".-1."),
        good.replace(".10.", ".4294967296."),
        good.replace(".10.", ".S."),
        good.replace(".10.", ".."),
        good.replace("gc", "gc\u{e9}"),
        good.replace("gc", "g c"),
        good.replacen("gcAZaz09-_", "", 1),
        "a".repeat(TEXT_BYTES_MAX + 1),
        // The last character of 43 has two bits that no byte needs: three other spellings of them.
        good.replace(&digest, &format!("{}t", &digest[..42])),
        good.replace(&digest, &digest[..42]),
    ];
    for length in 0..good.len() {
        bad.push(good[..length].to_owned());
    }
    for text in bad {
        let read = RefreshToken::parse(&text);
        assert!(read.is_none() || text == good, "{text:?} reads as {read:?}");
    }
}

proptest! {
    #[test]
    fn attack_f42_a_flipped_bit_names_another_token_or_none(index in 0usize..200, bit in 0u8..8) {
        let good = text(Shown::Generation(10));
        let mut bytes = good.clone().into_bytes();
        let index = index % bytes.len();
        bytes[index] ^= 1 << bit;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if let Some(read) = RefreshToken::parse(&text) {
            let same = read.grant().as_str() == "gcAZaz09-_" && read.shown() == Shown::Generation(10);
            prop_assert!(!same || !read.matches(&DIGEST), "{}", text);
        }
    }

    #[test]
    fn case_098_no_text_takes_the_reader_down_and_what_it_reads_is_canonical(text in "\\PC{0,80}|[a-z0-9._-]{0,80}") {
        if let Some(read) = RefreshToken::parse(&text) {
            let again = RefreshToken::text(read.grant(), read.shown(), &read.digest);
            prop_assert_eq!(again.expose_secret(), &text);
        }
    }
}

#[test]
fn case_087_case_088_case_095_what_a_token_is_depends_on_generation_and_time_alone() {
    use Presented as P;
    let usual = rotation(true, 30);
    let rows = [
        ("the current one", 5, 1000, usual, P::Current),
        ("until its idle time ends", 5, 1999, usual, P::Current),
        ("and no longer", 5, 2000, usual, P::IdleExpired),
        ("the last one at once", 4, 1000, usual, P::Grace),
        (
            "the last one before the rotation, by another clock",
            4,
            995,
            usual,
            P::Grace,
        ),
        ("until the grace ends", 4, 1029, usual, P::Grace),
        ("and no longer", 4, 1030, usual, P::Reused),
        ("no grace at all", 4, 1000, rotation(true, 0), P::Reused),
        ("an older one", 3, 1000, usual, P::Reused),
        ("the first one", 0, 1000, usual, P::Reused),
        (
            "reuse is told also when the current one has idled out",
            3,
            5000,
            usual,
            P::Reused,
        ),
        ("one that was never given", 6, 1000, usual, P::FromTheFuture),
        ("the grant's end comes first", 5, 10_000, usual, P::Expired),
        ("whatever is shown", 6, 10_000, usual, P::Expired),
        (
            "a client that does not rotate any more, current",
            5,
            1000,
            rotation(false, 30),
            P::Current,
        ),
        (
            "a client that does not rotate any more, older",
            3,
            1000,
            rotation(false, 30),
            P::Reused,
        ),
    ];
    for (name, generation, now, rotation, expected) in rows {
        let now = Timestamp::from_unix_seconds(now);
        let presented = present(&grant(5), Shown::Generation(generation), now, rotation);
        assert_eq!(presented, expected, "{name}");
    }
    let now = Timestamp::from_unix_seconds(1000);
    let mut revoked = grant(5);
    revoked.revoked_at = Some(now);
    for shown in [Shown::Generation(5), Shown::Generation(9), Shown::Static] {
        assert_eq!(present(&revoked, shown, now, usual), P::Revoked);
    }
}

#[test]
fn a_static_token_stays_good_only_while_the_client_does_not_rotate() {
    let at = |now, rotates| {
        present(
            &grant(40),
            Shown::Static,
            Timestamp::from_unix_seconds(now),
            rotation(rotates, 30),
        )
    };
    assert_eq!(at(1999, false), Presented::Current);
    assert_eq!(at(2000, false), Presented::IdleExpired);
    assert_eq!(at(1000, true), Presented::NotRotating);
    assert_eq!(current(&grant(40), rotation(false, 0)), Shown::Static);
    assert_eq!(current(&grant(40), rotation(true, 0)), Shown::Generation(40));
}

#[test]
fn a_grant_says_by_what_it_began() {
    for (grant, _) in BEGINNINGS {
        assert_eq!(began_by(&new_grant_id(grant, "x")), Some(grant));
    }
    for foreign in ["g", "g1", "session-1", "c"] {
        assert_eq!(began_by(&GrantId::parse(foreign).expect("valid")), None, "{foreign}");
    }
}
