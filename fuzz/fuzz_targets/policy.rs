//! Any bytes as a policy: decoding gives a policy that could have been made or a typed error, and what the gate makes of it
//! is what reading its rules one by one gives.
//!
//! The input is taken as a record, as the body of a record, and as a list of steps that make a policy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watertight::{Effect, ErrorKind, Issuer, Namespace, Policy, Principal, Role, Scopes, UserId, policies};

const PERMISSIONS: [Scopes; 4] = [Scopes::READ, Scopes::WRITE, Scopes::DELETE, Scopes::ADMIN];
const NAMES: [&str; 6] = ["a", "a.b", "a.b.c", "ab", "b", "0123456789012345678901234567890123456789012345678901234567890123"];
const USERS: [&str; 3] = ["alice", "bob", "carol"];
const GROUPS: [&str; 2] = ["staff", "guests"];

fn user(name: &str) -> UserId {
    UserId::new(Issuer::authority(), name).unwrap()
}

/// The rules one by one.
fn plainly(policy: &Policy, user: &UserId, groups: &[String], permission: Scopes, namespace: Option<&Namespace>) -> bool {
    let mine = |to: &Principal| match to {
        Principal::User(other) => other == user,
        Principal::Group { issuer, name } => issuer == user.issuer() && groups.contains(name),
        Principal::Everyone => true,
        _ => false,
    };
    let held = |name: &str| policy.assignments().any(|(to, role)| role == name && mine(to));
    let built_in = held("owner")
        || held("admin")
        || held("member") && permission != Scopes::ADMIN
        || held("reader") && permission == Scopes::READ;
    let (mut allowed, mut denied) = (built_in, false);
    for role in policy.roles().filter(|role| held(role.name())) {
        allowed |= role.granted().contains(permission);
        for rule in role.rules().iter().filter(|rule| rule.permissions.contains(permission)) {
            if namespace.is_some_and(|namespace| rule.namespaces.matches(namespace)) {
                match rule.effect {
                    Effect::Allow => allowed = true,
                    Effect::Deny => denied = true,
                }
            }
        }
    }
    allowed && !denied
}

fn check(policy: &Policy) {
    let record = policies::to_record(policy).unwrap();
    assert_eq!(&policies::from_record(&record).unwrap(), policy);
    let groups = GROUPS.map(str::to_owned);
    for name in USERS.map(user) {
        for groups in [&groups[..], &[]] {
            for namespace in NAMES.iter().map(|name| Some(Namespace::new(name).unwrap())).chain([None]) {
                let fast = policies::allowed(policy, &name, groups, namespace.as_ref());
                for permission in PERMISSIONS {
                    let expected = plainly(policy, &name, groups, permission, namespace.as_ref());
                    assert_eq!(fast.contains(permission), expected);
                    let why = policy.explain(&name, groups, permission, namespace.as_ref());
                    assert_eq!((why.allowed, why.refusal.is_none()), (expected, expected));
                }
            }
        }
        // Whoever changes it, somebody is left who may change it again.
        if let Ok(next) = policies::successor(None, policy, &name, &groups) {
            assert_eq!(next.version(), 1);
            let is_admin = |user: &UserId, groups| policies::allowed(&next, user, groups, None).contains(Scopes::ADMIN);
            let named = |(to, _): (&Principal, &str)| matches!(to, Principal::User(user) if is_admin(user, &[]));
            assert!(is_admin(&name, &groups[..]) || next.assignments().any(named));
        }
    }
}

/// A policy made by steps of three bytes each; steps that are refused are left out.
fn made(bytes: &[u8]) -> Policy {
    let mut policy = Policy::new();
    for step in bytes.chunks_exact(3) {
        let (what, which, how) = (step[0], usize::from(step[1]), step[2]);
        let scopes = PERMISSIONS.iter().enumerate().filter(|(at, _)| how >> at & 1 == 1);
        let scopes = scopes.fold(Scopes::NONE, |all, (_, one)| all | *one);
        let name = format!("role-{}", what >> 4 & 3);
        let role = policy.roles().find(|role| role.name() == name).cloned();
        let role = role.unwrap_or_else(|| Role::new(&name).unwrap());
        let namespace = NAMES[which % NAMES.len()];
        let cut = namespace.get(..usize::from(how >> 4).min(namespace.len())).unwrap_or("");
        let pattern = if how & 0x10 == 0 { namespace.to_owned() } else { format!("{cut}*") };
        let next = match what & 7 {
            0 => role.allow(scopes, &pattern).and_then(|role| policy.clone().role(role)),
            1 => role.deny(scopes, &pattern).and_then(|role| policy.clone().role(role)),
            2 => policy.clone().role(role.permissions(scopes)),
            3 => role.action(namespace).and_then(|role| policy.clone().role(role)),
            4 => Ok(policy.clone().without_role(&name)),
            _ => {
                let to = match which % 6 {
                    at @ 0..3 => Principal::user(user(USERS[at])),
                    at @ 3..5 => Principal::group(Issuer::authority(), GROUPS[at - 3]).unwrap(),
                    _ => Principal::Everyone,
                };
                let role = ["owner", "admin", "member", "reader", &name][usize::from(how) % 5];
                if what & 7 == 5 { Ok(policy.clone().unassign(&to, role)) } else { policy.clone().assign(to, role) }
            }
        };
        policy = next.unwrap_or(policy);
    }
    policy
}

fuzz_target!(|data: &[u8]| {
    for bytes in [data.to_vec(), [&[1, 45, 1], data].concat()] {
        match policies::from_record(&bytes) {
            Ok(policy) => check(&policy),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Incompatible), "{error}"),
        }
    }
    if data.len() <= 300 {
        check(&made(data));
    }
    // A policy that was made, with damage.
    if let Some((&[at, to], rest)) = data.split_first_chunk::<2>()
        && rest.len() <= 60
    {
        let mut record = policies::to_record(&made(rest)).unwrap();
        let at = usize::from(at) % record.len();
        record[at] = to;
        if let Ok(policy) = policies::from_record(&record) {
            check(&policy);
        }
    }
});
