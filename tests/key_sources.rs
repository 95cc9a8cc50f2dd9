//! Where keys come from: a value, a file that is read again when somebody says so, and a fetcher that is asked seldom.

#[path = "support/tokens.rs"]
mod tokens;

use std::collections::VecDeque;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokens::Signer;
use watertight::{ErrorKind, Issuer, Jwks, JwtVerifier, KeyFetchError, KeyFetcher, KeySource, Reason, Timestamp};

const NOW: u64 = 1_800_000_000;

fn verifier(keys: impl Into<KeySource>) -> JwtVerifier {
    JwtVerifier::new(Issuer::new("https://login.example.org/").unwrap(), "api", keys).unwrap()
}

fn claims() -> Value {
    json!({"iss": "https://login.example.org/", "aud": "api", "sub": "alice", "tenant_id": "acme",
           "iat": NOW - 10, "exp": NOW + 80_000})
}

/// A token at so many seconds after the beginning.
fn accepts_at(verifier: &JwtVerifier, signer: &Signer, seconds: u64) -> bool {
    match verifier.check(&signer.token(&claims()), Timestamp::from_seconds(NOW + seconds)) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.reason(), &Reason::TokenRefused);
            false
        }
    }
}

#[derive(Debug, Clone)]
enum Answer {
    Keys(String),
    Fails,
    Panics,
    /// With something whose destruction panics again.
    PanicsTwice,
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("while it is dropped");
    }
}

/// Gives its answers one after the other, the last one for ever.
#[derive(Debug)]
struct Login {
    answers: Mutex<VecDeque<Answer>>,
    calls: AtomicUsize,
}

impl Login {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), calls: AtomicUsize::new(0) })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl KeyFetcher for Login {
    fn fetch(&self) -> Result<String, KeyFetchError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
        };
        match answer {
            Answer::Keys(json) => Ok(json),
            Answer::Fails => Err(KeyFetchError),
            Answer::Panics => panic!("the fetcher's own fault"),
            Answer::PanicsTwice => resume_unwind(Box::new(Bomb)),
        }
    }
}

fn set(signers: &[&Signer]) -> Answer {
    Answer::Keys(json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string())
}

#[test]
fn a_file_is_read_when_somebody_says_so_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let (old, new) = (Signer::ed25519("old", 1), Signer::ed25519("new", 2));
    std::fs::write(&path, old.jwks_json()).unwrap();
    let verifier = verifier(KeySource::file(&path).unwrap());
    let clone = verifier.clone();
    assert!(accepts_at(&verifier, &old, 0));

    std::fs::write(&path, new.jwks_json()).unwrap();
    assert!(!accepts_at(&verifier, &new, 40_000), "nobody watches the file");
    verifier.reload().unwrap();
    for it in [&verifier, &clone] {
        assert!(accepts_at(it, &new, 0) && !accepts_at(it, &old, 0));
    }

    let secret = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
    let private = {
        let mut key = old.jwk();
        key["d"] = json!("AQ");
        key
    };
    for (attack, text) in [
        ("emptied", String::new()),
        ("cut short", new.jwks_json()[..40].to_owned()),
        ("without keys", json!({"keys": []}).to_string()),
        ("a secret smuggled in", json!({"keys": [new.jwk(), secret]}).to_string()),
        ("a private key left in", json!({"keys": [new.jwk(), private]}).to_string()),
        ("one id for two keys", json!({"keys": [new.jwk(), Signer::ed25519("new", 3).jwk()]}).to_string()),
        ("huge", " ".repeat(1 << 20)),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(verifier.reload().unwrap_err().kind(), ErrorKind::InvalidInput, "{attack}");
        assert_eq!(clone.key_ids(), ["new"], "{attack}");
        assert!(accepts_at(&clone, &new, 0), "{attack}");
    }
    directory.close().unwrap();
    assert_eq!(verifier.reload().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(accepts_at(&verifier, &new, 0));
    assert_eq!(KeySource::file(&path).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_value_comes_from_nowhere_else() {
    let signer = Signer::ed25519("k", 1);
    let verifier = verifier(Jwks::from_json(&signer.jwks_json()).unwrap());
    assert_eq!(verifier.reload().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(accepts_at(&verifier, &signer, 0));
}

#[test]
fn a_fetched_set_is_fetched_at_the_first_token_and_when_it_is_old() {
    let signer = Signer::ed25519("k", 1);
    let login = Login::new([set(&[&signer])]);
    let verifier = verifier(KeySource::fetched(login.clone()));
    assert_eq!((login.calls(), verifier.key_ids().len()), (0, 0));
    for seconds in 0..3_600 {
        assert!(accepts_at(&verifier, &signer, seconds));
    }
    assert_eq!(login.calls(), 1);
    assert!(accepts_at(&verifier, &signer, 3_600));
    assert_eq!(login.calls(), 2);
    assert!(accepts_at(&verifier.clone(), &signer, 3_601));
    assert_eq!(login.calls(), 2);
}

#[test]
fn a_withdrawn_key_is_refused_once_the_set_was_fetched_again() {
    let (old, new) = (Signer::ed25519("old", 1), Signer::ed25519("new", 2));
    let login = Login::new([set(&[&old]), set(&[&new])]);
    let verifier = verifier(KeySource::fetched(login.clone()).age_max(Duration::from_secs(600)));
    assert!(accepts_at(&verifier, &old, 0));
    assert!(accepts_at(&verifier, &old, 599));
    assert!(!accepts_at(&verifier, &old, 600));
    assert!(accepts_at(&verifier, &new, 600));
    assert_eq!(login.calls(), 2);
}

#[test]
fn an_unknown_key_id_is_fetched_for_and_no_flood_of_them_is() {
    let (old, new) = (Signer::ed25519("old", 1), Signer::ed25519("new", 2));
    let login = Login::new([set(&[&old]), set(&[&old]), set(&[&old, &new])]);
    let verifier = verifier(KeySource::fetched(login.clone()).refetch_after(Duration::from_secs(30)).unwrap());
    assert!(accepts_at(&verifier, &old, 0));
    let flood = |seconds| {
        for number in 0..1_000 {
            assert!(!accepts_at(&verifier, &Signer::ed25519(&format!("made up {number}"), 3), seconds));
        }
    };
    flood(29);
    assert_eq!(login.calls(), 1);
    flood(30);
    assert_eq!(login.calls(), 2);
    // The issuer has a new key by now, and half a minute later it is known.
    assert!(!accepts_at(&verifier, &new, 59));
    assert!(accepts_at(&verifier, &new, 60));
    assert!(accepts_at(&verifier, &old, 60));
    assert_eq!(login.calls(), 3);
}

/// A forged signature under a known id is no reason to fetch.
#[test]
fn a_forgery_under_a_known_key_id_fetches_nothing() {
    let signer = Signer::ed25519("k", 1);
    let login = Login::new([set(&[&signer])]);
    let verifier = verifier(KeySource::fetched(login.clone()));
    assert!(accepts_at(&verifier, &signer, 0));
    for seconds in 0..3_000 {
        assert!(!accepts_at(&verifier, &Signer::ed25519("k", 2), seconds));
    }
    assert_eq!(login.calls(), 1);
}

#[test]
fn whatever_goes_wrong_with_a_fetch_keeps_the_old_set() {
    let signer = Signer::ed25519("k", 1);
    let bad = |json: Value| Answer::Keys(json.to_string());
    let faults = [
        Answer::Fails,
        Answer::Panics,
        Answer::PanicsTwice,
        Answer::Keys(String::new()),
        Answer::Keys("<html>maintenance</html>".into()),
        Answer::Keys(" ".repeat(1 << 20)),
        bad(json!({"keys": []})),
        bad(json!({"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]})),
        bad(json!({"keys": [signer.jwk(), signer.jwk()]})),
    ];
    for fault in faults {
        let login = Login::new([set(&[&signer]), fault.clone(), set(&[&signer])]);
        let verifier = verifier(KeySource::fetched(login.clone()).age_max(Duration::from_secs(600)));
        assert!(accepts_at(&verifier, &signer, 0));
        // Old, and a fetch that fails: once in a minute, and nobody is turned away.
        for seconds in 600..660 {
            assert!(accepts_at(&verifier, &signer, seconds), "{fault:?}");
        }
        assert_eq!(login.calls(), 2, "{fault:?}");
        assert!(accepts_at(&verifier, &signer, 660));
        assert!(accepts_at(&verifier, &signer, 1_200));
        assert_eq!(login.calls(), 3, "{fault:?}");
    }
}

#[test]
fn without_any_keys_the_caller_is_told_when_to_come_again() {
    let signer = Signer::ed25519("k", 1);
    let token = signer.token(&claims());
    for fault in [Answer::Fails, Answer::Panics, Answer::PanicsTwice, Answer::Keys("{}".into())] {
        let login = Login::new([fault, set(&[&signer])]);
        let verifier = verifier(KeySource::fetched(login.clone()));
        for seconds in 0..60 {
            let refused = verifier.check(&token, Timestamp::from_seconds(NOW + seconds)).unwrap_err();
            assert_eq!((refused.kind(), refused.reason()), (ErrorKind::RetryLater, &Reason::KeysUnavailable));
            assert_eq!(refused.retry_after(), Some(Duration::from_secs(60)));
        }
        assert_eq!(login.calls(), 1);
        assert!(accepts_at(&verifier, &signer, 60));
    }
}

#[test]
fn a_reload_fetches_at_once_and_says_what_went_wrong() {
    let (old, new) = (Signer::ed25519("old", 1), Signer::ed25519("new", 2));
    let login = Login::new([set(&[&old]), Answer::Fails, Answer::Keys("{}".into()), set(&[&new])]);
    let verifier = verifier(KeySource::fetched(login.clone()));
    verifier.reload().unwrap();
    assert_eq!(verifier.reload().unwrap_err().kind(), ErrorKind::RetryLater);
    assert_eq!(verifier.reload().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(verifier.key_ids(), ["old"]);
    verifier.reload().unwrap();
    assert_eq!((verifier.key_ids(), login.calls()), (vec!["new".to_owned()], 4));
}

#[test]
fn many_threads_share_one_fetch() {
    let (old, new) = (Signer::ed25519("old", 1), Signer::ed25519("new", 2));
    let login = Login::new([set(&[&old]), set(&[&old, &new])]);
    let verifier = verifier(KeySource::fetched(login.clone()));
    for (signer, seconds, calls) in [(&old, 0, 1), (&new, 60, 2)] {
        let start = Barrier::new(16);
        std::thread::scope(|threads| {
            for _ in 0..16 {
                threads.spawn(|| {
                    start.wait();
                    assert!(accepts_at(&verifier, signer, seconds));
                });
            }
        });
        assert_eq!(login.calls(), calls);
    }
}

/// While one caller fetches because the set is old, the others go on with it.
#[test]
fn nobody_waits_for_a_set_that_is_only_old() {
    #[derive(Debug)]
    struct Slow(Answer, AtomicUsize, Barrier, Barrier);
    impl KeyFetcher for Slow {
        fn fetch(&self) -> Result<String, KeyFetchError> {
            if self.1.fetch_add(1, Ordering::SeqCst) == 1 {
                self.2.wait();
                self.3.wait();
            }
            let Answer::Keys(json) = &self.0 else { return Err(KeyFetchError) };
            Ok(json.clone())
        }
    }
    let signer = Signer::ed25519("k", 1);
    let login = Arc::new(Slow(set(&[&signer]), AtomicUsize::new(0), Barrier::new(2), Barrier::new(2)));
    let verifier = verifier(KeySource::fetched(login.clone()));
    assert!(accepts_at(&verifier, &signer, 0));
    std::thread::scope(|threads| {
        let fetching = threads.spawn(|| accepts_at(&verifier, &signer, 3_600));
        login.2.wait();
        assert!(accepts_at(&verifier, &signer, 3_600));
        login.3.wait();
        assert!(fetching.join().unwrap());
    });
    assert_eq!(login.1.load(Ordering::SeqCst), 2);
}

#[test]
fn a_bomb_is_one() {
    assert!(catch_unwind(|| drop(Bomb)).is_err());
}
