//! Any text as every kind of id: what is accepted obeys its rule, prints, and parses to itself again.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use watertight::{ApiKeyId, ClaimPath, CompoundId, Issuer, Namespace, TenantId, UserId};

fn round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str, rule: impl Fn(&str) -> bool)
where
    T::Err: Debug,
{
    let Ok(id) = text.parse::<T>() else {
        assert!(!rule(text), "refused though it obeys the rule");
        return;
    };
    assert!(rule(text), "accepted though it breaks the rule");
    let printed = id.to_string();
    assert_eq!(printed, text);
    assert_eq!(printed.parse::<T>().unwrap(), id);
}

fn visible(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| (0x21..=0x7e).contains(&b))
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    round_trip::<TenantId>(text, |t| {
        (1..=128).contains(&t.len()) && t.chars().all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c))
    });
    round_trip::<Issuer>(text, visible);
    round_trip::<Namespace>(text, |t| {
        (1..=64).contains(&t.len())
            && t.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && t.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    });

    let tenant = |t: &str| t.parse::<TenantId>().is_ok();
    round_trip::<CompoundId>(text, |t| t.split_once(':').is_some_and(|(before, after)| tenant(before) && visible(after)));
    round_trip::<ApiKeyId>(text, |t| t.len() == 16 && t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    if let Ok(path) = ClaimPath::pointer(text) {
        assert_eq!(path.to_string(), text);
    }
    // A name is never read as a path.
    match ClaimPath::pointer(&ClaimPath::from(text).to_string()) {
        Ok(path) => assert_eq!(path, ClaimPath::from(text)),
        Err(_) => assert!(text.len() > 127, "escaped, it is too long for a name"),
    }

    let user = UserId::new(Issuer::authority(), text);
    assert_eq!(user.is_ok(), visible(text));
    if let Ok(user) = user {
        let stored: Value = serde_json::to_value(&user).unwrap();
        assert_eq!(serde_json::from_value::<UserId>(stored).unwrap(), user);
    }
});
